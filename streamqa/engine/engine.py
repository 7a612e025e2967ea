"""The engine: take frames of several sources, ask the model everything due on them in one batch, emit answers.

It decides nothing by itself: the schedule says what is due, `batching` how many frames go together, `views` which
part of a frame a question sees, the gate what need not be asked, the answer kinds what a generation means, the
window what the readings decide. What is left is to keep the account: one answer for every due question, also when
the model fails, or when the frame is too old to be asked about.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import NamedTuple, Protocol

from streamqa.capture.buffer import Choose, Offer
from streamqa.engine.asking import Outcome, ask, lost
from streamqa.engine.batching import Candidate, Costs, Load, Room, batch_size
from streamqa.engine.flight import Flight
from streamqa.engine.inbox import Inbox, Single
from streamqa.engine.schedule import Schedule
from streamqa.engine.tracks import Job, Stamps, Tracks
from streamqa.engine.views import work_of
from streamqa.engine.window import BETWEEN
from streamqa.metrics import Metrics
from streamqa.model.base import VisionModel
from streamqa.records import Answer
from streamqa.types import Frame, Question, Request, utc_now

_LOOK_UP_S = 0.2  # how often an idle engine looks at its stop event


class FrameSupply(Protocol):
    """What the engine needs of a `FrameBuffer`."""

    def take(self, choose: Choose, timeout_s: float) -> list[Frame]:
        """The first so many frames as `choose` says, waiting up to `timeout_s` for one."""
        ...

    def wake(self) -> None:
        """Let `take` return at once."""
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


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What can be chosen about an engine."""

    max_frames: int | None = None  # pictures in one batch; None: as many as fit into the model's memory
    clocks: Clocks = SYSTEM_CLOCKS
    seed: int = 0  # of the change gate's audits
    patience_s: float = 4.0  # after a stop, until what is still in flight is reported as failed
    keep_evidence: bool = False  # answers carry their picture where it is worth keeping

    def __post_init__(self) -> None:
        if self.max_frames is not None and self.max_frames < 1:
            raise ValueError(f"max_frames must be at least 1, got {self.max_frames}")


DEFAULT_SETTINGS = EngineSettings()


class _Batch(NamedTuple):
    """What goes into the model together; jobs of which everything is reused or too old send nothing."""

    jobs: tuple[Job, ...]
    requests: tuple[Request, ...]  # those of all jobs, in order
    most: int  # requests at once
    asked_ns: int
    single: Single | None = None  # then it is of nobody's questions


class _Landing(NamedTuple):
    """What came out of the model, and when."""

    outcome: Outcome
    answered_ns: int
    answered_at: datetime


class Engine:
    """Answers standing questions on the frames it is given. One thread owns it."""

    def __init__(
        self,
        questions: Sequence[Question],
        model: VisionModel,
        emit: Callable[[Sequence[Answer]], None],
        metrics: Metrics,
        settings: EngineSettings = DEFAULT_SETTINGS,
    ) -> None:
        self.schedule = Schedule(questions)
        self._tracks = Tracks(questions, metrics, settings.seed, settings.keep_evidence, model.info.name)
        self._model = model
        self._emit = emit
        self._metrics = metrics
        self._settings = settings
        self._clocks = settings.clocks
        self._room = Room(min(settings.max_frames or model.info.max_frames, model.info.max_frames))
        self._costs, self._load = Costs(), Load()
        self._inside: Counter[str] = Counter()  # frames in flight, by source
        self._supply: FrameSupply | None = None  # while it runs
        self.inbox = Inbox(self._wake)
        metrics.batch_limit.set(self._room.limit)

    def run(self, buffer: FrameSupply, stop: threading.Event) -> None:
        """Answer frame after frame until `buffer` is exhausted or `stop` is set; what is answered is emitted.

        Up to `ModelInfo.in_flight` batches are in the model at once. Whoever closes a buffer sets `stop` first. What
        `emit` raises ends the run: answers that cannot be handed on must not go on silently. Between batches it does
        what is in its inbox.
        """
        flight = Flight(self._answered, self._model.info.in_flight, buffer.wake)
        self._supply = buffer
        try:
            while not stop.is_set():
                self.inbox.run_calls()
                if not flight.full and (single := self.inbox.next_single()) is not None:
                    flight.hand_over(self._single(single))
                full = flight.full
                frames = [] if full else buffer.take(self.choose, 0 if self.inbox.waiting else _LOOK_UP_S)
                if frames:
                    flight.hand_over(self._planned(frames))
                elif buffer.exhausted:
                    break
                self._hand_on(flight.landed(_LOOK_UP_S if full else 0))
            self._land(flight, stop)
        finally:
            self._supply = None
            self.inbox.close()
            flight.close()

    def set_questions(self, questions: Sequence[Question]) -> None:
        """Ask these from the next frame on. For the thread that runs it (see `inbox`), or before it runs.

        Of a question that is gone or changed nothing is emitted any more once this returns.
        """
        self.schedule.replace(questions)
        self._tracks.replace(questions)

    def forget(self, source: str) -> None:
        """Free what is remembered of a source that was removed. For the same thread."""
        self._tracks.forget(source)

    def renew(self, source: str) -> None:
        """Forget what a source that was changed has shown before. For the same thread."""
        self._tracks.renew(source)

    def is_busy_with(self, source: str) -> bool:
        """Whether frames of `source` are in the model. For the same thread."""
        return self._inside[source] > 0

    def step(self, frames: Sequence[Frame]) -> list[Answer]:
        """Every answer due on `frames`, in their order; none where nothing is due.

        One model call where all goes well. A model that fails gives answers in state `error`, never an exception.
        """
        batch = self._planned(frames)
        return self._read(batch, self._answered(batch))

    def choose(self, offers: Sequence[Offer]) -> int:
        """How many of `offers`, from the first on, make the next batch."""
        now_ns, cost = self._clocks.monotonic_ns(), self._costs.predict
        needed = cache(lambda priority: self._load.needed(priority, now_ns, cost))
        return batch_size(self._candidates(offers, now_ns), self._room.limit, now_ns, cost, needed)

    def _candidates(self, offers: Iterable[Offer], now_ns: int) -> Iterator[Candidate]:
        """What `offers` ask for, up to the first that has to wait for an answer before it."""
        gated: set[str] = set()
        for frame, priority, live in offers:
            due = self.schedule.peek(frame)
            if not live and (any(question.gate for question in due) or self.schedule.follows(frame.source)):
                # What is reused must not depend on which frames happened to be there: a replay would differ.
                if frame.source in gated or self._inside[frame.source]:
                    return
                gated.add(frame.source)
            every_ns = min((question.every_ns for question in due), default=0)
            work = self._tracks.work(frame, due, now_ns)
            candidate = Candidate(priority, frame.received_ns + every_ns if live else None, work)
            if live and work.prompts:
                self._load.saw(frame.source, candidate, every_ns, now_ns)
            yield candidate

    def _wake(self) -> None:
        if (supply := self._supply) is not None:
            supply.wake()

    def _single(self, single: Single) -> _Batch:
        return _Batch((), single.requests, self._room.limit, self._clocks.monotonic_ns(), single)

    def _planned(self, frames: Sequence[Frame]) -> _Batch:
        """Everything due on `frames`; from here on an answer is owed for each."""
        now_ns = self._clocks.monotonic_ns()
        jobs = tuple(
            self._tracks.plan(frame, due, now_ns) for frame in frames if (due := self.schedule.due(frame))
        )
        self._inside.update(job.frame.source for job in jobs)
        for job in jobs:
            if job.frame.is_live:
                self._metrics.buffer_wait_seconds.observe((now_ns - job.frame.received_ns) / 1e9)
        requests = tuple(request for job in jobs for request in job.requests)
        return _Batch(jobs, requests, self._room.limit, self._clocks.monotonic_ns())

    def _answered(self, batch: _Batch) -> _Landing:
        """What the model says to a batch. The only part that may run on another thread: it changes nothing here."""
        outcome = ask(self._model, batch.requests, self._clocks.monotonic_ns, batch.most)
        return _Landing(outcome, self._clocks.monotonic_ns(), self._clocks.utc())

    def _read(self, batch: _Batch, landing: _Landing) -> list[Answer]:
        if not batch.jobs:
            return []
        if batch.requests:
            self._learn(batch, landing)
        stamps = Stamps(batch.asked_ns, landing.answered_ns, landing.answered_at, self._model.info.label)
        said = iter(landing.outcome.said)
        answers: list[Answer] = []
        for job in batch.jobs:
            self._inside[job.frame.source] -= 1
            waited_ns = landing.answered_ns - job.frame.received_ns
            self._metrics.frame_to_answer_seconds.observe(waited_ns / 1e9)
            if job.frame.wall and waited_ns > min(p.due.question.every_ns for p in job.plans):
                self._metrics.deadlines_missed.labels(job.frame.source).inc()
            answers += self._tracks.read(job, [next(said) for _ in job.asked], stamps)
        for answer in answers:
            if answer.decision.reason != BETWEEN:  # then what was decided last still stands
                self.schedule.decided(answer.question, answer.source, answer.decision.value, answer.t_ns)
        return answers

    def _learn(self, batch: _Batch, landing: _Landing) -> None:
        """What a batch says about the next ones, and its counts."""
        outcome, took_ns = landing.outcome, landing.answered_ns - batch.asked_ns
        self._metrics.model_seconds.observe(took_ns / 1e9)
        self._metrics.batch_pictures.observe(len(batch.requests))
        for cause, count in outcome.halved.items():
            self._metrics.batches_halved.labels(cause).inc(count)
        if outcome.failed:
            self._metrics.model_errors.inc()
        else:
            self._costs.observe(work_of(batch.requests), took_ns)
            self._room.held()
        if outcome.fits is not None:
            self._room.shrink(outcome.fits)
        self._metrics.batch_limit.set(self._room.limit)

    def _hand_on(self, landed: Iterable[tuple[_Batch, _Landing]]) -> None:
        for batch, landing in landed:
            if batch.single is not None:
                batch.single.said.set_result(landing.outcome.said)
            elif answers := self._read(batch, landing):
                self._emit(answers)

    def _land(self, flight: Flight[_Batch, _Landing], stop: threading.Event) -> None:
        """Read what is in flight; once stopped, what takes too long is reported as failed."""
        stopped_s: float | None = None
        while flight.flying:
            self._hand_on(flight.landed(_LOOK_UP_S))
            if stop.is_set():
                stopped_s = time.monotonic() if stopped_s is None else stopped_s
                if time.monotonic() - stopped_s > self._settings.patience_s:
                    break
        for batch in flight.abandon():
            outcome = lost(batch.requests, "stopped before the model had answered")
            self._hand_on([(batch, _Landing(outcome, self._clocks.monotonic_ns(), self._clocks.utc()))])
