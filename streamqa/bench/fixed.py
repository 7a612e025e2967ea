"""A model of a known cost, so that what everything else costs can be seen."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

from streamqa.types import NS_PER_S, Generation, ModelInfo, Prompt, Request, Task

_INFO = ModelInfo("fixed", "1", "none", "none", frozenset(get_args(Task)), "answers nothing, for a set time")


@dataclass(frozen=True, slots=True)
class Cost:
    """How long a batch takes, in seconds."""

    per_frame_s: float
    per_batch_s: float = 0.0

    def __post_init__(self) -> None:
        if self.per_frame_s < 0 or self.per_batch_s < 0:
            raise ValueError("a cost must not be negative")

    def of(self, frames: int) -> int:
        """Nanoseconds for a batch of `frames`."""
        return round((self.per_batch_s + frames * self.per_frame_s) * NS_PER_S) if frames else 0


class Call(NamedTuple):
    """One batch in the model, on the monotonic clock."""

    begin_ns: int
    end_ns: int
    frames: int


class FixedCostModel:
    """A `VisionModel` that holds its caller for a set time, and leaves the CPU to others, as a GPU would."""

    def __init__(self, cost: Cost, keep: int = 100_000) -> None:
        """`keep`: how many of the latest calls `calls` remembers."""
        self._cost = cost
        self.calls: deque[Call] = deque(maxlen=keep)

    @property
    def info(self) -> ModelInfo:
        """`fixed@1`."""
        return _INFO

    def answer(self, requests: Sequence[Request]) -> list[list[Generation]]:
        """The first option of a closed prompt, the same text for a free one; a batch that is only checked is free."""
        begin_ns = time.monotonic_ns()
        looked_at = sum(not request.check_only for request in requests)
        said = [[_said(prompt) for prompt in request.prompts] for request in requests]
        rest_ns = begin_ns + self._cost.of(looked_at) - time.monotonic_ns()
        if rest_ns > 0:
            time.sleep(rest_ns / NS_PER_S)
        if looked_at:
            self.calls.append(Call(begin_ns, time.monotonic_ns(), looked_at))
        return said

    def close(self) -> None:
        """Nothing is held."""


def _said(prompt: Prompt) -> Generation:
    if prompt.options:
        rest = 0.1 / max(1, len(prompt.options) - 1)
        return Generation("", 0, "scored", option_probs=(0.9, *(rest for _ in prompt.options[1:])))
    return Generation("the same as ever", 4, "eos", logprob=-0.1)
