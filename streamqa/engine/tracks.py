"""What is remembered of each (question, source), and how a due question becomes an answer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from streamqa.answers import prompt_for, read_answer
from streamqa.engine import gate
from streamqa.engine.batching import Work
from streamqa.engine.gate import Seen
from streamqa.engine.views import View, Views
from streamqa.engine.window import Window
from streamqa.metrics import Metrics
from streamqa.records import Answer
from streamqa.types import Due, Frame, Generation, Prompt, Question, Reading, Request, State, Value, Zone

TOO_OLD = Reading(value=None, confidence=None, state="stale", reason="too_old")


def is_stale(frame: Frame, question: Question, now_ns: int) -> bool:
    """Whether a live frame is too old for `question`; `now_ns` is the clock of `received_ns`.

    Its age is the time since it was received and, where that is known, the time that it took to come.
    """
    if frame.wall is None:
        return False
    return now_ns - frame.received_ns + frame.delay_ns > question.age_limit_ns


class Plan(NamedTuple):
    """How a due question will be answered."""

    due: Due
    prompt: Prompt | None = None  # what the model is asked; None: `seen` is reused, or the frame is too old
    seen: Seen | None = None  # the answer that is reused, or that an audit is held against

    @property
    def is_stale(self) -> bool:
        """Whether the frame is too old for it."""
        return self.prompt is None and self.seen is None


class Job(NamedTuple):
    """A frame and everything that is due on it."""

    frame: Frame
    plans: tuple[Plan, ...]
    views: Mapping[Zone | None, View]  # of the questions that are due
    asked: Mapping[Zone | None, Request]  # what the model is asked, in the order in which it answers

    @property
    def requests(self) -> tuple[Request, ...]:
        """One for each zone of which something is asked."""
        return tuple(self.asked.values())


class Stamps(NamedTuple):
    """When a batch was handed over and answered, on the monotonic clock and the wall's, and by whom."""

    asked_ns: int
    answered_ns: int
    answered_at: datetime
    model: str


@dataclass(slots=True, eq=False)
class _Track:
    """What is remembered of one (question, source)."""

    window: Window
    chance: random.Random  # of audits; one for each track, so that no other source changes what it draws
    previous: tuple[Value, State] | None = None
    said: str = ""  # the newest generated text: in a quiet scene the next one is the same
    seen: Seen | None = None  # the last real answer, where it may be reused
    asked: int = 0  # times that it is in the model now


class Tracks:
    """Plans and reads. Whoever plans jobs reads them in the same order: a window's time never goes back."""

    def __init__(self, questions: Sequence[Question], metrics: Metrics, seed: int) -> None:
        self._prompts = {question.id: prompt_for(question) for question in questions}
        self._tracks: dict[tuple[str, str], _Track] = {}  # (question id, source)
        self._views = Views()
        self._metrics = metrics
        self._seed = seed

    def work(self, frame: Frame, questions: Sequence[Question], now_ns: int) -> Work:
        """What `questions` would ask of the model about `frame` at `now_ns`; the gate may spare some of it."""
        return self._views.work(frame, (q for q in questions if not is_stale(frame, q, now_ns)))

    def plan(self, frame: Frame, due: Sequence[Due], now_ns: int) -> Job:
        """What to ask about `frame`, for which `due` is not empty, at `now_ns` on the monotonic clock."""
        views = {d.question.zone: self._views.of(frame, d.question.zone) for d in due}
        plans = tuple(self._plan(frame, d, views[d.question.zone], now_ns) for d in due)
        prompts: dict[Zone | None, list[Prompt]] = {}
        for plan in plans:
            if plan.prompt is not None:
                prompts.setdefault(plan.due.question.zone, []).append(plan.prompt)
        asked = {z: Request(views[z].image, tuple(these), frame.detail) for z, these in prompts.items()}
        return Job(frame, plans, views, asked)

    def read(self, job: Job, said: Sequence[Sequence[Generation]], stamps: Stamps) -> list[Answer]:
        """The answers to a planned job, in the order of its plans.

        `said` holds, for each of the job's requests, a generation for each of its prompts.
        """
        generations = {zone: iter(these) for zone, these in zip(job.asked, said, strict=True)}
        return [self._read(job, plan, generations, stamps) for plan in job.plans]

    def _plan(self, frame: Frame, due: Due, view: View, now_ns: int) -> Plan:
        question, track = due.question, self._track(due.question, frame.source)
        if is_stale(frame, question, now_ns):
            return Plan(due)
        seen: Seen | None = None
        # While it is in the model, what it will say is not known, and an older answer is not its last one.
        if question.gate is not None and not track.asked:
            verdict = gate.verdict(question.gate, track.seen, view.thumbnail, frame.t_ns, track.chance)
            if verdict == "reuse":
                return Plan(due, None, track.seen)
            seen = track.seen if verdict == "audit" else None
        track.asked += 1
        prompt = self._prompts[question.id]
        draft = "" if prompt.options else track.said
        return Plan(due, replace(prompt, draft=draft) if draft else prompt, seen)

    def _read(
        self,
        job: Job,
        plan: Plan,
        generations: Mapping[Zone | None, Iterator[Generation]],
        stamps: Stamps,
    ) -> Answer:
        if plan.prompt is not None:
            return self._asked(job, plan, next(generations[plan.due.question.zone]), stamps)
        return (
            self._too_old(job, plan, stamps)
            if plan.seen is None
            else self._reused(job, plan, plan.seen, stamps)
        )

    def _asked(self, job: Job, plan: Plan, generation: Generation, stamps: Stamps) -> Answer:
        question, frame = plan.due.question, job.frame
        track, view = self._track(question, frame.source), job.views[question.zone]
        track.asked -= 1
        track.said = generation.text
        reading = read_answer(question, view.in_frame(generation))
        if plan.seen is not None and reading.state != "error":
            self._metrics.gate_audits.labels(frame.source, question.id).inc()
            if not gate.agrees(reading, plan.seen):
                self._metrics.gate_disagreements.labels(frame.source, question.id).inc()
        reusable = reading.state == "ok" and question.gate is not None
        track.seen = Seen(frame.t_ns, view.thumbnail, reading) if reusable else None
        return self._answer(frame, plan.due, reading, stamps)

    def _reused(self, job: Job, plan: Plan, seen: Seen, stamps: Stamps) -> Answer:
        self._metrics.answers_reused.labels(job.frame.source, plan.due.question.id).inc()
        answer = self._answer(job.frame, plan.due, seen.reading, stamps)
        return replace(answer, reused=True, model_ms=0.0)

    def _too_old(self, job: Job, plan: Plan, stamps: Stamps) -> Answer:
        # As an unsure answer: what was said before it is not the last that is known any more.
        self._track(plan.due.question, job.frame.source).seen = None
        return replace(self._answer(job.frame, plan.due, TOO_OLD, stamps), model_ms=0.0)

    def _answer(self, frame: Frame, due: Due, reading: Reading, stamps: Stamps) -> Answer:
        question = due.question
        track = self._track(question, frame.source)
        decision = track.window.add(frame.t_ns, reading)
        now = (decision.value, decision.state)
        changed, track.previous = now != track.previous, now
        self._metrics.answers.labels(frame.source, question.id, decision.state).inc()
        self._metrics.ticks_skipped.labels(frame.source, question.id).inc(due.skipped)
        self._metrics.ticks_inactive.labels(frame.source, question.id).inc(due.inactive)
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
            answered_at=stamps.answered_at,
            skipped=due.skipped,
            inactive=due.inactive,
            changed=changed,
            queue_ms=(stamps.asked_ns - frame.received_ns) / 1e6,
            model_ms=(stamps.answered_ns - stamps.asked_ns) / 1e6,
            total_ms=(stamps.answered_ns - frame.received_ns) / 1e6,
            model=stamps.model,
        )

    def _track(self, question: Question, source: str) -> _Track:
        key = (question.id, source)
        if key not in self._tracks:
            chance = random.Random(f"{self._seed} {question.id} {source}")
            self._tracks[key] = _Track(Window(question), chance)
        return self._tracks[key]
