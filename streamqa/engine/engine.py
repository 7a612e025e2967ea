"""The engine: take frames, ask the model everything that is due on them in one batch, emit answers.

It decides nothing by itself: the schedule says what is due, the answer kinds what a generation means, the
window what the readings decide. What is left is to keep the account: one answer for every due question, also
when the model fails.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple, Protocol

from streamqa.answers import prompt_for, read_answer
from streamqa.engine.schedule import Schedule
from streamqa.engine.window import Window
from streamqa.errors import ModelError
from streamqa.metrics import Metrics
from streamqa.model.base import VisionModel
from streamqa.types import Answer, Due, Frame, Generation, Prompt, Question, Request, State, Value, utc_now

_LOOK_UP_S = 0.2  # how often an idle engine looks at its stop event
_log = logging.getLogger(__name__)


class FrameSupply(Protocol):
    """What the engine needs of a `FrameBuffer`."""

    def take(self, max_frames: int, timeout_s: float) -> list[Frame]:
        """Up to `max_frames` frames, waiting up to `timeout_s` for the first."""
        ...

    @property
    def exhausted(self) -> bool:
        """Whether no frame will ever come again."""
        ...


@dataclass(frozen=True, slots=True)
class Clocks:
    """The two clocks of a running engine."""

    monotonic_ns: Callable[[], int] = time.monotonic_ns  # the one of `Frame.received_ns`
    utc: Callable[[], datetime] = utc_now


SYSTEM_CLOCKS = Clocks()


class _Job(NamedTuple):
    """A frame and everything that is due on it."""

    frame: Frame
    due: tuple[Due, ...]


class _Batch(NamedTuple):
    """When a batch went into the model and came out, on the monotonic clock and the wall's."""

    asked_ns: int
    answered_ns: int
    answered_at: datetime
    model: str


@dataclass(slots=True)
class _Track:
    """What is remembered of one (question, source)."""

    window: Window
    previous: tuple[Value, State] | None = None
    said: str = ""  # the newest generated text: in a quiet scene the next one is the same


class Engine:
    """Answers standing questions on the frames it is given. One thread owns it."""

    def __init__(
        self,
        questions: Sequence[Question],
        model: VisionModel,
        emit: Callable[[Sequence[Answer]], None],
        metrics: Metrics,
        *,
        max_frames: int = 16,
        clocks: Clocks = SYSTEM_CLOCKS,
    ) -> None:
        if max_frames < 1:
            raise ValueError(f"max_frames must be at least 1, got {max_frames}")
        self.schedule = Schedule(questions)
        self._prompts = {question.id: prompt_for(question) for question in questions}
        self._tracks: dict[tuple[str, str], _Track] = {}  # (question id, source)
        self._model = model
        self._emit = emit
        self._metrics = metrics
        self._max_frames = max_frames
        self._clocks = clocks

    def run(self, buffer: FrameSupply, stop: threading.Event) -> None:
        """Answer frame after frame until `buffer` is exhausted or `stop` is set; what is answered is emitted.

        Whoever closes a buffer sets `stop` first. What `emit` raises ends the run: answers that cannot be
        handed on must not go on silently.
        """
        while not stop.is_set():
            frames = buffer.take(self._max_frames, _LOOK_UP_S)
            if answers := self.step(frames):
                self._emit(answers)
            if not frames and buffer.exhausted:
                return

    def step(self, frames: Sequence[Frame]) -> list[Answer]:
        """Every answer due on `frames`, in their order, after one model call; none where nothing is due.

        A model that fails gives answers in state `error`, never an exception.
        """
        jobs = [_Job(f, due) for f in frames if (due := self.schedule.due(f.source, f.t_ns))]
        if not jobs:
            return []
        asked_ns = self._clocks.monotonic_ns()
        generations = self._ask(jobs)
        answered_ns, answered_at = self._clocks.monotonic_ns(), self._clocks.utc()
        batch = _Batch(asked_ns, answered_ns, answered_at, self._model.info.label)
        self._metrics.model_seconds.observe((answered_ns - asked_ns) / 1e9)
        answers = []
        for job, said in zip(jobs, generations, strict=True):
            self._metrics.frame_to_answer_seconds.observe((answered_ns - job.frame.received_ns) / 1e9)
            answers += [self._answer(job.frame, d, g, batch) for d, g in zip(job.due, said, strict=True)]
        return answers

    def _ask(self, jobs: Sequence[_Job]) -> list[list[Generation]]:
        """One generation for every due question of every job, whatever happens."""
        requests = [
            Request(job.frame.image, tuple(self._prompt(d.question, job.frame) for d in job.due))
            for job in jobs
        ]
        try:
            said = self._model.answer(requests)
            if [len(generations) for generations in said] != [len(job.due) for job in jobs]:
                raise ModelError("the model gave another number of answers than it was asked for")
            return said
        except ModelError as error:
            detail = str(error)
        # The supervisor of the model: whatever it raises is reported in every answer of the batch.
        except Exception as error:
            _log.debug("the model failed", exc_info=True)
            detail = f"{type(error).__name__}: {error}"
        self._metrics.model_errors.inc()
        failed = Generation(text="", tokens=0, finish="error", error=detail)
        return [[failed] * len(job.due) for job in jobs]

    def _prompt(self, question: Question, frame: Frame) -> Prompt:
        prompt, track = self._prompts[question.id], self._tracks.get((question.id, frame.source))
        return replace(prompt, draft=track.said) if track and track.said and not prompt.options else prompt

    def _answer(self, frame: Frame, due: Due, generation: Generation, batch: _Batch) -> Answer:
        question = due.question
        track = self._tracks.setdefault((question.id, frame.source), _Track(Window(question)))
        reading = read_answer(question, generation)
        track.said = generation.text
        decision = track.window.add(frame.t_ns, reading)
        now = (decision.value, decision.state)
        changed, track.previous = now != track.previous, now
        self._metrics.answers.labels(frame.source, question.id, decision.state).inc()
        self._metrics.ticks_skipped.labels(frame.source, question.id).inc(due.skipped)
        return Answer(
            source=frame.source,
            question=question.id,
            kind=question.kind,
            decision=decision,
            reading=reading,
            frame=frame.index,
            t_ns=frame.t_ns,
            captured_at=frame.captured_at,
            clock=frame.clock,
            answered_at=batch.answered_at,
            skipped=due.skipped,
            changed=changed,
            queue_ms=(batch.asked_ns - frame.received_ns) / 1e6,
            model_ms=(batch.answered_ns - batch.asked_ns) / 1e6,
            total_ms=(batch.answered_ns - frame.received_ns) / 1e6,
            model=batch.model,
        )
