"""What `streamqa bench engine` holds for one dtype: model, baseline, pictures, questions, the drafts of each row."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from streamqa.bench.grid import APPROXIMATE, Cell, CellKind
from streamqa.bench.plain import Plain
from streamqa.bench.products import Work
from streamqa.bench.weights import (
    FIRST_WORD,
    WordTokenizer,
    config_of,
    picture_size,
    random_model,
    random_weights,
)
from streamqa.errors import StreamQAError
from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.prompts import query
from streamqa.types import Generation, Option, Precision, Prompt, Request

if TYPE_CHECKING:
    from streamqa.types import Image

YES_NO = (Option(True, ("Yes",)), Option(False, ("No",)))
_COMPARED = 4  # questions about a picture whose tokens are compared with the baseline's
_DRAFT_TRIALS = 3
Texts = list[list[str]]  # for each picture, of each question


class Subject(NamedTuple):
    """What rows that get the same answers have in common, but for how much of them they ask."""

    kind: CellKind
    crops: int
    frames: int
    question_tokens: int


class Rig:
    """One model of random weights, and the plain baseline over the same tensors."""

    def __init__(self, size: str, dtype: torch.dtype, device: torch.device, seed: int = 0) -> None:
        self.config = config_of(size)
        self.device, self.dtype, self.seed = device, dtype, seed
        self.plain = Plain(random_weights(self.config, dtype, device, seed), self.config)
        self.models: dict[Precision, Moondream] = {}
        self.tokenizer = WordTokenizer(self.config.text.vocab_size)
        self.answers: dict[
            Subject, Texts
        ] = {}  # said without drafts, as long and as many as any row asks for
        self.drafts: dict[Cell, Texts] = {}
        self._pictures: dict[tuple[int, int], Image] = {}

    def model(self, kind: CellKind) -> Moondream:
        """The one that answers such rows, of their precision; made when it is first asked for.

        Raises:
            ModelError: the device cannot compute with that precision.
        """
        precision: Precision = kind if kind in ("int8", "fp8") else "exact"
        if precision not in self.models:
            self.models[precision] = random_model(self.config, self.plain.weights, precision)
        return self.models[precision]

    def picture(self, crops: int, index: int) -> Image:
        """Noise, uint8 (H, W, 3), of the size that is read as so many crops; always the same."""
        if (crops, index) not in self._pictures:
            rng = np.random.default_rng((self.seed, crops, index))
            size = (*picture_size(crops, self.config), 3)
            self._pictures[crops, index] = rng.integers(0, 256, size, dtype=np.uint8)
        return self._pictures[crops, index]

    def question(self, tokens: int, index: int) -> str:
        """Question `index` of `tokens` random words; the same of every picture."""
        rng = np.random.default_rng((self.seed, tokens, index))
        return self.tokenizer.decode(
            [*rng.integers(FIRST_WORD, self.config.text.vocab_size, tokens).tolist()]
        )

    def prompt_ids(self, question: str) -> tuple[int, ...]:
        """As the model reads it, template included."""
        return query(self.config, self.tokenizer.encode(question)).ids

    def work(self, cell: Cell) -> Work:
        """What one call of a row has to compute."""
        return cell.work(len(self.prompt_ids("")))

    def requests(self, cell: Cell) -> list[Request]:
        """One call of a row, with its drafts where it has been `prepare`d."""
        drafts = self.drafts.get(cell)
        found = []
        for frame, count in enumerate(self.work(cell).per_frame):
            prompts = [
                self._prompt(cell, index, drafts[frame][index] if drafts else "") for index in range(count)
            ]
            picture = self.picture(cell.crops, frame)
            found.append(Request(picture, tuple(prompts), "fast" if cell.kind == "detail-fast" else "full"))
        return found

    def call(self, cell: Cell, requests: Sequence[Request]) -> tuple[float, list[list[Generation]]]:
        """Seconds of one call of the product's verb, and what it said.

        Raises:
            StreamQAError: a prompt was not answered in full, so its time would mean nothing.
        """
        model = self.model(cell.kind)
        self._wait()
        start_s = time.perf_counter()
        said = model.answer(requests)
        self._wait()
        took_s = time.perf_counter() - start_s
        for generation in (g for group in said for g in group):
            _check(cell, generation)
        return took_s, said

    def prepare(self, cells: Sequence[Cell]) -> None:
        """Ask everything once without drafts; from the answers come the drafts of each row."""
        spoken = sorted((cell for cell in cells if cell.answer_tokens), key=_subject)
        for subject, group in groupby(spoken, _subject):
            alike = list(group)
            largest = replace(
                alike[0],
                questions=max(cell.questions for cell in alike),
                answer_tokens=max(cell.answer_tokens for cell in alike),
            )
            self.drafts.pop(largest, None)
            self.answers[subject] = _texts(self.call(largest, self.requests(largest))[1])
            for cell in alike:
                self.drafts[cell] = self._drafts_of(cell)

    def warm(self, cell: Cell) -> float:
        """Calls before the first that counts; seconds of the last.

        In low precision a replayed answer may turn into another one. That is the next draft then, as on a stream.
        """
        for _ in range(_DRAFT_TRIALS):
            took_s, said = self.call(cell, self.requests(cell))
            if cell.draft_acceptance == 0.0 or self.held(cell, said) in (1.0, None):
                break
            self.drafts[cell] = _texts(said)
        return took_s

    def held(self, cell: Cell, said: list[list[Generation]]) -> float | None:
        """The share of a row's answers that were their draft; None without drafts."""
        if cell not in self.drafts:
            return None
        pairs = [
            p for a, b in zip(_texts(said), self.drafts[cell], strict=True) for p in zip(a, b, strict=True)
        ]
        return sum(a == b for a, b in pairs) / len(pairs)

    def compare(self, subject: Subject) -> dict[str, Any]:
        """The model's tokens about the first picture against the baseline's choice at each place of them."""
        encoded = self.plain.encode(self.picture(subject.crops, 0))
        leads: list[float] = []
        flips: list[float] = []
        for index, answer in enumerate(self.answers[subject][0][:_COMPARED]):
            prompt = self.prompt_ids(self.question(subject.question_tokens, index))
            ids = self.tokenizer.encode(answer)
            for theirs, (mine, lead) in zip(ids, self.plain.follow(encoded, prompt, ids), strict=True):
                (leads if mine == theirs else flips).append(round(lead, 4))
        return {
            "crops": subject.crops,
            "tokens": len(leads) + len(flips),
            "flips": len(flips),
            "flip_margins": flips,
            "median_margin": median(leads or [0.0]),
        }

    def changed(self, cell: Cell) -> dict[str, Any] | None:
        """How an approximate row's answers differ from the exact ones to the same; None for an exact row."""
        if cell.kind not in APPROXIMATE:
            return None
        exact = replace(cell, kind="exact")
        theirs, ours = (self.call(c, self.requests(c))[1] for c in (cell, exact))
        pairs = [pair for a, b in zip(theirs, ours, strict=True) for pair in zip(a, b, strict=True)]
        moved = [abs(p - q) for a, b in pairs for p, q in zip(_scores(a), _scores(b), strict=True)]
        return {
            "answers": len(pairs),
            "changed": sum(a.text != b.text for a, b in pairs),
            "max_score_moved": max(moved, default=None),
            "note": "unvalidated without weights",
        }

    def close(self) -> None:
        """Free the weights, so that those of another dtype fit."""
        for model in self.models.values():
            model.close()
        self.plain.weights = {}

    def _prompt(self, cell: Cell, index: int, draft: str) -> Prompt:
        text = self.question(cell.question_tokens, index)
        if cell.answer_tokens == 0:
            return Prompt(text, options=YES_NO)
        return Prompt(text, max_tokens=cell.answer_tokens, draft=draft)

    def _drafts_of(self, cell: Cell) -> Texts:
        """The answers, or words of which none is where it is in the answer."""
        rng = np.random.default_rng(self.seed)
        known = self.answers[_subject(cell)]
        counts = self.work(cell).per_frame
        wrong = cell.draft_acceptance == 0.0
        drafts = []
        for row, count in zip(known, counts, strict=True):
            ids = [self.tokenizer.encode(answer)[: cell.answer_tokens] for answer in row[:count]]
            drafts.append(
                [self.tokenizer.decode([self._another(t, rng) if wrong else t for t in one]) for one in ids]
            )
        return drafts

    def _another(self, token: int, rng: np.random.Generator) -> int:
        words = self.config.text.vocab_size - FIRST_WORD
        return FIRST_WORD + (token - FIRST_WORD + int(rng.integers(1, words))) % words

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _subject(cell: Cell) -> Subject:
    return Subject(cell.kind, cell.crops, cell.frames_in_flight, cell.question_tokens)


def _texts(said: list[list[Generation]]) -> Texts:
    return [[generation.text for generation in group] for group in said]


def _scores(generation: Generation) -> list[float]:
    """Of the options, one with another; random weights give all of them together next to nothing."""
    mass = sum(generation.option_probs) or 1.0
    return [probability / mass for probability in generation.option_probs]


def _check(cell: Cell, generation: Generation) -> None:
    finish = "length" if cell.answer_tokens else "scored"
    if generation.finish != finish or generation.tokens != cell.answer_tokens:
        raise StreamQAError(f"bench: a row has no answer to measure ({cell.name}): {generation}")
