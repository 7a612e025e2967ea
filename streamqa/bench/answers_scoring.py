"""`streamqa bench answers --part scoring`: what scoring all options of a closed question costs over one token.

moondream2 at its full size with random weights, and the embedded model. Ways of asking take turns, in rounds that go
forth and back; a figure is the median of the rounds' own ratios, so that what slows a whole round down slows both.
Counted is the process's CPU time, which what else the machine does changes least.
A free answer of one token is the cheapest thing that can be asked: one pass, and the likeliest token is taken. An
option of one token costs no row of that pass; one of several costs one for each of them but the last. Which words are
one token is the tokenizer's business: here each word is, as short ones are to moondream2's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
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

ONE_TOKEN, TWO_WORDS = "one token", "choice of six, two words each"
_TARGET = Target("<=", 2.0)
_QUESTIONS = 4  # on the picture, as in the engine's bench; all of one way of asking
_LEAST_CALL_S = 0.5  # a round of one way is as many calls as take so long


@dataclass(frozen=True, slots=True)
class Subject:
    """A model and a picture for it."""

    name: str
    model: Moondream
    image: Image
    is_small: bool  # a call takes milliseconds


def embedded() -> Subject:
    """The embedded model, about one of its own scenes."""
    model = open_model("tiny")
    if not isinstance(model, Moondream):
        raise StreamQAError("bench answers: the embedded model is of another make than this measures")
    return Subject("tiny", model, GateScene(7).image(20.0), is_small=True)


def random(size: str) -> Subject:
    """moondream2 of `size` (full or small) with random weights, about noise that is read as one crop."""
    config, device = config_of(size), torch.device("cpu")
    text = replace(
        config.text, vocab_size=MoondreamConfig().text.vocab_size
    )  # fewer, and words would be alike
    config = replace(config, text=text)
    model = random_model(config, random_weights(config, best_dtype(device), device))
    noise = np.random.default_rng(0).integers(0, 256, (*picture_size(1, config), 3), dtype=np.uint8)
    return Subject("moondream2" if size == "full" else f"moondream2, {size}", model, noise, size != "full")


def ways(long_options: bool = True) -> dict[str, tuple[Prompt, ...]]:
    """Ways of asking the same questions of a picture: a free answer of one token, and each closed kind.

    `long_options`: also with options of two words.
    """
    every_ns, choices = NS_PER_S, tuple(COLOURS)
    closed = {
        "yes or no": Question("q", "", "yes_no", every_ns),
        "choice of six": Question("q", "", "choice", every_ns, choices=choices),
        TWO_WORDS: Question(
            "q", "", "choice", every_ns, choices=tuple(f"{colour} paint" for colour in choices)
        ),
        "number up to 9": Question("q", "", "number", every_ns, max=9),
    }
    asked = [f"What is the colour of car number {n} in this picture?" for n in range(_QUESTIONS)]
    found = {ONE_TOKEN: tuple(Prompt(text, max_tokens=1) for text in asked)}
    for name, question in closed.items():
        options = prompt_for(question).options
        found[name] = tuple(Prompt(text, options=options, max_tokens=1) for text in asked)
    if not long_options:
        del found[TWO_WORDS]
    return found


def measure(size: str, rounds: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Rows, JSON-ready: seconds of each round of each way of asking; the small model has five times the rounds.

    Raises:
        StreamQAError: a model did not answer.
    """
    found = []
    for make, times in ((embedded, 5), (lambda: random(size), 1)):
        subject = make()
        try:
            found += _rows_of(subject, times * rounds, say)
        finally:
            subject.model.close()
    return found


def _rows_of(subject: Subject, rounds: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    say(f"scoring: {subject.name}")
    asked = ways(long_options=subject.is_small)
    requests = {name: [Request(subject.image, prompts)] for name, prompts in asked.items()}
    calls = {name: _calls(_seconds(subject.model, these)) for name, these in requests.items()}
    most = max(calls.values())

    def task(name: str) -> Callable[[int], float]:
        return lambda _: sum(_seconds(subject.model, requests[name]) for _ in range(most)) / most

    seconds = interleaved(
        {name: task(name) for name in requests}, range(rounds), lambda _: None, lambda: True
    )
    return [
        {**row, "rows": _more_rows(subject.model, asked[row["what"]])} for row in rows(subject.name, seconds)
    ]


def _more_rows(model: Moondream, prompts: Sequence[Prompt]) -> int:
    """Tokens of options that go through the decoder behind the questions: all but the last of each written form."""
    tokenizer = model.tokenizer
    return 0 if tokenizer is None else sum(build_trie(p.options, tokenizer.encode).n_fed for p in prompts)


def _calls(took_s: float) -> int:
    return max(1, round(_LEAST_CALL_S / max(took_s, 1e-4)))


def _seconds(model: Moondream, requests: Sequence[Request]) -> float:
    """CPU time of one call. Raises StreamQAError: something in it was not answered, so its time means nothing."""
    start_s = time.process_time()
    said = model.answer(requests)
    took_s = time.process_time() - start_s
    for generation in (one for group in said for one in group):
        if generation.finish == "error":
            raise StreamQAError(f"bench answers: {generation.error}")
    return took_s


def rows(model: str, seconds: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """Of one model: each closed way of asking against one token, round by round, JSON-ready."""
    base = seconds[ONE_TOKEN]
    return [
        {
            "model": model,
            "what": name,
            "questions": _QUESTIONS,
            "one_token_s": [round(one, 6) for one in base],
            "scored_s": [round(one, 6) for one in these],
            "more_percent": [round(100 * (a / b - 1), 3) for a, b in zip(these, base, strict=True)],
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
            None if row["what"] == TWO_WORDS else _TARGET,
        )
        for row in table
    ]


def markdown(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows as `rows` gives them, as a table for people."""
    lines = [
        f"| Scoring, {_QUESTIONS} questions a frame | model | tokens more | one token, CPU ms | scored, CPU ms"
        " | more % (half of the rounds) |",
        "|---|---|---|---|---|---|",
    ]
    for row in table:
        low, middle, high = (float(np.percentile(row["more_percent"], share)) for share in (25, 50, 75))
        once, scored = (1e3 * float(np.median(row[key])) for key in ("one_token_s", "scored_s"))
        lines.append(
            f"| {row['what']} | {row['model']} | {row['rows']} | {once:.1f} | {scored:.1f}"
            f" | {middle:+.1f} ({low:+.1f} to {high:+.1f}) |"
        )
    return lines
