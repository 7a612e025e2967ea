"""Stand-ins for tests of streamqa and of what is built on it: a model that follows a script, made-up frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import numpy as np

from streamqa.types import (
    NS_PER_S,
    Box,
    Clock,
    Frame,
    Generation,
    ModelInfo,
    Option,
    Point,
    Prompt,
    Request,
    Task,
    Value,
)

if TYPE_CHECKING:
    from streamqa.types import Image

Script: TypeAlias = "Callable[[Image | None, Prompt], Generation | Value]"


class ScriptedModel:
    """A `VisionModel` that says what `script(image, prompt)` returns.

    The script returns the value that a closed prompt shall score highest (None: something off the list), the
    text, points or boxes of a free one, or a whole `Generation`. What it raises, the whole batch raises.

    `refuses` says why a prompt could not be answered, "" when it can: told where only that is asked. `info`:
    fields of its `ModelInfo`.
    """

    def __init__(
        self,
        script: Script,
        delay_s: float = 0.0,
        *,
        refuses: Callable[[Prompt], str] = lambda _: "",
        **info: Any,
    ) -> None:
        self._script = script
        self._delay_s = delay_s  # how long each batch takes
        self._refuses = refuses
        known = ModelInfo("scripted", "1", "cpu", "none", frozenset(get_args(Task)), note="follows a script")
        self._info = replace(known, **info)
        self.batches: list[list[int]] = []  # of every call: the number of prompts of each request
        self.closed = False

    @property
    def info(self) -> ModelInfo:
        """`scripted@1`, unless told otherwise."""
        return self._info

    def answer(self, requests: Sequence[Request]) -> list[list[Generation]]:
        """What the script says, prompt by prompt."""
        if any(request.check_only for request in requests):
            return [[self._checked(prompt) for prompt in request.prompts] for request in requests]
        self.batches.append([len(request.prompts) for request in requests])
        if self._delay_s:
            time.sleep(self._delay_s)
        return [[generate(p, self._script(r.image, p)) for p in r.prompts] for r in requests]

    def _checked(self, prompt: Prompt) -> Generation:
        why = self._refuses(prompt)
        return Generation("", 0, "error" if why else "eos", error=why)

    def close(self) -> None:
        """Nothing to free; `closed` says that it was called."""
        self.closed = True


def generate(prompt: Prompt, said: Generation | Value) -> Generation:
    """The generation by which a model would say `said`: 0.9 of an option's probability, 0.8 of a free token's.

    Raises:
        ValueError: `said` is none of the prompt's options, or of a type that no model says.
    """
    if isinstance(said, Generation):
        return said
    if prompt.options:
        return Generation("", 0, "scored", option_probs=_option_probs(prompt.options, said))
    if isinstance(said, str):
        return Generation(said, max(1, len(said.split())), "eos", logprob=float(np.log(0.8)))
    if isinstance(said, tuple):
        points = tuple(p for p in said if isinstance(p, Point))
        boxes = tuple(b for b in said if isinstance(b, Box))
        return Generation("", 2 * len(said), "eos", logprob=float(np.log(0.8)), points=points, boxes=boxes)
    raise ValueError(f"a free prompt is answered by text, points or boxes, got {said!r}")


def _option_probs(options: Sequence[Option], said: Value) -> tuple[float, ...]:
    values = [option.value for option in options]
    if said is None:
        return tuple(0.1 / len(values) for _ in values)
    if said not in values:
        raise ValueError(f"{said!r} is not among the options {values}")
    rest = 0.08 / max(1, len(values) - 1)
    return tuple(0.9 if value == said else rest for value in values)


def make_frame(
    source: str = "cam",
    t_s: float = 0.0,
    *,
    index: int = 0,
    fill: int = 0,
    captured_at: datetime | None = None,
    **fields: Any,
) -> Frame:
    """A small frame of one grey level `fill`; recorded, unless `captured_at` makes it live."""
    clock: Clock = "media" if captured_at is None else "arrival"
    known: dict[str, Any] = {
        "source": source,
        "index": index,
        "t_ns": round(t_s * NS_PER_S),
        "captured_at": captured_at,
        "clock": clock,
        "received_ns": time.monotonic_ns(),
        "image": np.full((24, 32, 3), fill, np.uint8),
    }
    return Frame(**(known | fields))
