"""Asking the model so that one bad frame never takes its neighbours with it, and asking it beforehand.

A batch that fails is halved and tried again, down to single pictures. Only a model whose process died is not asked
again about what was in it: one of these frames may be what killed it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from streamqa.answers import prompt_for
from streamqa.errors import ModelError, ModelLost
from streamqa.model.base import VisionModel
from streamqa.types import NS_PER_S, Generation, Question, Request

_PATIENCE_NS = 30 * NS_PER_S  # a model that fails slowly must not hold up all answers for ever
_MEMORY_WORDS = ("out of memory", "not enough memory", "allocate memory")  # also as told by another process
_MISCOUNTED = "the model gave another number of answers than it was asked for"
_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Outcome:
    """What became of a batch."""

    said: list[list[Generation]]  # for every request one generation for each prompt
    failed: bool = False  # whether some call failed
    halved: dict[str, int] = field(default_factory=dict)  # how often, by cause: "memory" or "error"
    fits: int | None = None  # after memory ran out, or a death: the most pictures to hand over next


def ask(
    model: VisionModel,
    requests: Sequence[Request],
    now_ns: Callable[[], int] = time.monotonic_ns,
    most: int | None = None,
) -> Outcome:
    """One generation for every prompt of every request, whatever happens; never raises.

    One call, or as many as it takes to hand over at most `most` requests at once: a single frame can have more
    zones than fit into the model's memory. A failing call of n requests becomes at most 2n - 1, and no new call is
    made 30 s after the first failure.
    """
    asking, said = _Asking(model, now_ns), list[list[Generation]]()
    step = most or max(1, len(requests))
    for first in range(0, len(requests), step):
        said += asking.pieces(requests[first : first + step])
    return Outcome(said, asking.failed, asking.halved, asking.fits)


def lost(requests: Sequence[Request], why: str) -> Outcome:
    """The outcome of a batch about which nothing will come back."""
    return Outcome(_failures(requests, why), failed=True)


def refuse_unanswerable(model: VisionModel, questions: Sequence[Question]) -> None:
    """Ask `model`, without a picture, whether it could answer `questions`.

    Raises:
        ModelError: some it could not (prompt and answer beyond its context, a task that it has not); one line
            that names each with its reason.
    """
    if questions:
        refuse_refused(model.info.label, questions, model.answer([would_answer(questions, model.info.name)]))


def would_answer(questions: Sequence[Question], model: str) -> Request:
    """What asks a model of that name, without a picture, whether it could answer `questions`."""
    return Request(None, tuple(prompt_for(question, model) for question in questions), check_only=True)


def refuse_refused(model: str, questions: Sequence[Question], said: Sequence[Sequence[Generation]]) -> None:
    """Judge what `model` said to `would_answer(questions)`.

    Raises:
        ModelError: as `refuse_unanswerable`.
    """
    if [len(generations) for generations in said] != [len(questions)]:
        raise ModelError(_MISCOUNTED)
    wrong = [
        f"question {question.id!r}: {' '.join(generation.error.split())}"
        for question, generation in zip(questions, said[0], strict=True)
        if generation.finish == "error"
    ]
    if wrong:
        raise ModelError(f"{model} cannot answer " + "; ".join(wrong))


class _Asking:
    """One batch on its way through a model that may fail."""

    def __init__(self, model: VisionModel, now_ns: Callable[[], int]) -> None:
        self._model, self._now_ns = model, now_ns
        self._until_ns: int | None = None  # when to give up, once something has failed
        self._largest = 0  # pictures of the largest call that was answered
        self._memory = self._alone = False  # whether memory ran out; whether it did for a single picture
        self._died_of = 0  # pictures in the largest call that the model did not survive
        self.failed = False
        self.halved: dict[str, int] = {}

    @property
    def fits(self) -> int | None:
        """The most pictures that went through, where memory ran out because of their number.

        A single picture that does not fit was too large itself, and says nothing about smaller ones. What a process
        died of nobody knows; it may have been killed for its memory, and the same again would kill the next one.
        """
        if self._died_of > 1:
            return self._died_of // 2
        return max(1, self._largest) if self._memory and not self._alone else None

    def pieces(self, requests: Sequence[Request]) -> list[list[Generation]]:
        """Ask about all; where that fails, about each half."""
        if self._until_ns is not None and self._now_ns() >= self._until_ns:
            return _failures(requests, "given up, trying smaller batches had failed for 30 s")
        try:
            said = self._model.answer(requests)
            if [len(generations) for generations in said] != [len(r.prompts) for r in requests]:
                raise ModelError(_MISCOUNTED)
        except ModelLost as error:
            self.failed = True
            self._died_of = max(self._died_of, len(requests))
            return _failures(requests, str(error))
        # The supervisor of the model: whatever it raises is reported in the answers of the frames at fault.
        except Exception as error:
            _log.debug("the model failed on %d pictures", len(requests), exc_info=True)
            return self._failed(requests, error)
        self._largest = max(self._largest, len(requests))
        return said

    def _failed(self, requests: Sequence[Request], error: Exception) -> list[list[Generation]]:
        self.failed = True
        memory = _is_memory(error)
        self._memory |= memory
        if self._until_ns is None:
            self._until_ns = self._now_ns() + _PATIENCE_NS
        if len(requests) == 1:
            self._alone |= memory
            return _failures(
                requests, str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
            )
        cause = "memory" if memory else "error"
        self.halved[cause] = self.halved.get(cause, 0) + 1
        half = len(requests) // 2
        return self.pieces(requests[:half]) + self.pieces(requests[half:])


def _is_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _MEMORY_WORDS)


def _failures(requests: Sequence[Request], why: str) -> list[list[Generation]]:
    failure = Generation(text="", tokens=0, finish="error", error=why)
    return [[failure] * len(request.prompts) for request in requests]
