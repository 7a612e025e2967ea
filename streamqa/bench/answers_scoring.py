"""`streamqa bench answers --part scoring`: what scoring all options of a closed question costs over one token.

Ways of asking take turns, in rounds that go forth and back; a figure is the median of the rounds' own differences, in
CPU time of the process, which what else the machine does changes least. A free answer of one token is the cheapest
thing that can be asked: one pass, and the likeliest token is taken; that nothing follows it takes a step more to see,
as the embedded model's own one-token answers show.

An option of one token adds no row to that pass; one of several adds one for each of them but the last. Which words
are one token is the tokenizer's business: with random weights each word is, as short ones are to moondream2's own.
Scoring then differs from one token only in what is read from the last hidden states. So that is measured with
moondream2 at its full width and vocabulary but a few layers, where noise does not bury it, as a part of what the
whole model takes. The embedded model spells number words, and what begins with a space or a capital, in pieces.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from streamqa.answers import prompt_for
from streamqa.bench.figures import Figure, Target
from streamqa.bench.rounds import interleaved
from streamqa.bench.weights import config_of, picture_size, random_model, random_weights
from streamqa.errors import StreamQAError
from streamqa.model.base import open_model
from streamqa.model.moondream.config import MoondreamConfig
from streamqa.model.moondream.device import best_dtype
from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.scoring import build_trie
from streamqa.scenes.script import GateScene
from streamqa.scenes.world import COLOURS
from streamqa.types import NS_PER_S, Prompt, Question, Request

if TYPE_CHECKING:
    from streamqa.types import Image

ONE_TOKEN, ENDED = "one token", "free, one token and its end"
TWO_WORDS = "choice of six, two words each"
_NO_TARGET = (ENDED, TWO_WORDS)
_TARGET = Target("<=", 2.0)
# On the picture, as many as in the engine's bench; the embedded model answers each with one token.
_ASKED = tuple(f"How many {what} are there?" for what in ("cars", "people", "vehicles", "persons"))
_ROUND_S = 0.5  # of one way is as many calls as take so long
_LAYERS = 2  # of each tower, where only a part of the model is needed
_WHOLE_CALLS = 3


@dataclass(frozen=True, slots=True)
class Subject:
    """A model and a picture for it."""

    name: str
    model: Moondream
    image: Image
    whole_s: float | None = None  # CPU time of one token of the whole model; None: `model` is the whole
    ends: bool = False  # its answers end by themselves, as those of random weights never do


def embedded() -> Subject:
    """The embedded model, about one of its own scenes."""
    model = open_model("tiny")
    if not isinstance(model, Moondream):
        raise StreamQAError("bench answers: the embedded model is of another make than this measures")
    return Subject("tiny", model, GateScene(7).image(20.0), ends=True)


def random(size: str, layers: int | None = None) -> Subject:
    """moondream2 of `size` (full or small) with random weights, about noise that is read as one crop.

    `layers`: of the vision tower and of the decoder; None: all.
    """
    config, device = config_of(size), torch.device("cpu")
    text = replace(config.text, vocab_size=MoondreamConfig().text.vocab_size)  # of fewer, some would be alike
    if layers is not None:
        text = replace(text, n_layers=layers)
        config = replace(config, vision=replace(config.vision, enc_n_layers=layers))
    config = replace(config, text=text)
    model = random_model(config, random_weights(config, best_dtype(device), device))
    noise = np.random.default_rng(0).integers(0, 256, (*picture_size(1, config), 3), dtype=np.uint8)
    return Subject("moondream2" if size == "full" else f"moondream2, {size}", model, noise)


def ways() -> dict[str, tuple[Prompt, ...]]:
    """Ways of asking the same questions of a picture: a free answer of one token, and each closed kind."""
    every_ns, choices = NS_PER_S, tuple(COLOURS)
    two_words = tuple(f"{colour} paint" for colour in choices)
    closed = {
        "yes or no": Question("q", "", "yes_no", every_ns),
        "choice of six": Question("q", "", "choice", every_ns, choices=choices),
        "number up to 4": Question("q", "", "number", every_ns, max=4),
        "number up to 9": Question("q", "", "number", every_ns, max=9),
    }
    closed[TWO_WORDS] = Question("q", "", "choice", every_ns, choices=two_words)
    found = {ONE_TOKEN: tuple(Prompt(text, max_tokens=1) for text in _ASKED)}
    for name, question in closed.items():
        options = prompt_for(question).options
        found[name] = tuple(Prompt(text, options=options, max_tokens=1) for text in _ASKED)
    return found


def measure(size: str, rounds: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Rows, JSON-ready: seconds of each round of each way of asking, of each model.

    Raises:
        StreamQAError: a model did not answer.
    """
    say("scoring: tiny")
    found = _rows_of(embedded(), rounds)
    say("scoring: moondream2, one token of all layers")
    whole_s = _whole_s(random(size))
    say("scoring: moondream2, a few layers")
    return found + _rows_of(replace(random(size, _LAYERS), whole_s=whole_s), rounds)


def _whole_s(subject: Subject) -> float:
    """The best of a few calls: other work on the machine can only make one slower."""
    request = [Request(subject.image, ways()[ONE_TOKEN])]
    with closing(subject.model) as model:
        return min(_seconds(model, request) for _ in range(_WHOLE_CALLS))


def _rows_of(subject: Subject, rounds: int) -> list[dict[str, Any]]:
    asked = ways()
    if subject.ends:
        asked[ENDED] = tuple(Prompt(text) for text in _ASKED)
    if subject.whole_s is not None:
        del asked[TWO_WORDS]  # its rows cost in every layer
    requests = {name: [Request(subject.image, prompts)] for name, prompts in asked.items()}
    with closing(subject.model) as model:
        took_s = [_seconds(model, these) for these in requests.values()]  # warms up
        calls = max(1, round(_ROUND_S / max(*took_s, 1e-3)))

        def task(name: str) -> Callable[[int], float]:
            return lambda _: sum(_seconds(model, requests[name]) for _ in range(calls)) / calls

        tasks = {name: task(name) for name in requests}
        seconds = interleaved(tasks, range(rounds), lambda _: None, lambda: True)
        found = rows(subject.name, seconds, subject.whole_s)
        return [{**row, "rows": _more_rows(model, asked[row["what"]])} for row in found]


def _more_rows(model: Moondream, prompts: Sequence[Prompt]) -> int:
    """Tokens of options that go through the decoder behind the questions: all but the last of each written form."""
    tokenizer = model.tokenizer
    return (
        0
        if tokenizer is None
        else sum(build_trie(p.options, tokenizer.encode).n_fed for p in prompts if p.options)
    )


def _seconds(model: Moondream, requests: Sequence[Request]) -> float:
    """CPU time of one call. Raises StreamQAError: something in it was not answered, so its time means nothing."""
    start_s = time.process_time()
    said = model.answer(requests)
    took_s = time.process_time() - start_s
    for generation in (one for group in said for one in group):
        if generation.finish == "error":
            raise StreamQAError(f"bench answers: {generation.error}")
    return took_s


def rows(
    model: str, seconds: Mapping[str, Sequence[float]], whole_s: float | None = None
) -> list[dict[str, Any]]:
    """Of one model: each other way of asking against one token, round by round, JSON-ready.

    `whole_s`: what one token takes in all, where `seconds` are of a part of the model.
    """
    base = seconds[ONE_TOKEN]
    return [
        {
            "model": model,
            "what": name,
            "questions": len(_ASKED),
            "whole_s": None if whole_s is None else round(whole_s, 6),
            "one_token_s": [round(one, 6) for one in base],
            "asked_s": [round(one, 6) for one in these],
            "more_percent": [
                round(100 * (a - b) / (whole_s or b), 3) for a, b in zip(these, base, strict=True)
            ],
        }
        for name, these in seconds.items()
        if name != ONE_TOKEN
    ]


def figures(table: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """What scoring costs more than one token, in percent of the time of a frame with its questions."""
    return [
        Figure(
            f"scoring, {row['model']}: {row['what']}",
            "% more",
            tuple(row["more_percent"]),
            None if row["what"] in _NO_TARGET else _TARGET,
        )
        for row in table
    ]


def markdown(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows as `rows` gives them, as a table for people."""
    lines = [
        f"| Asking {len(_ASKED)} questions of a frame | model | rows more | one token, CPU ms"
        " | more % (half of the rounds) |",
        "|---|---|---|---|---|",
    ]
    for row in table:
        low, middle, high = (float(np.percentile(row["more_percent"], share)) for share in (25, 50, 75))
        once_ms = 1e3 * (row["whole_s"] or float(np.median(row["one_token_s"])))
        lines.append(
            f"| {row['what']} | {row['model']} | {row['rows']} | {once_ms:.1f}"
            f" | {middle:+.1f} ({low:+.1f} to {high:+.1f}) |"
        )
    return lines
