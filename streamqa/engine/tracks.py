"""What is remembered of each (question, source), and how a due question becomes an answer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from streamqa.answers import prompt_for, read_answer
from streamqa.engine import gate
from streamqa.engine.gate import Seen, Thumbnail
from streamqa.engine.window import Window
from streamqa.metrics import Metrics
from streamqa.types import Answer, Due, Frame, Generation, Prompt, Question, Reading, State, Value


class Plan(NamedTuple):
    """How a due question will be answered."""

    due: Due
    prompt: Prompt | None  # what the model is asked; None: `seen` is reused
    seen: Seen | None  # the answer that is reused, or that an audit is held against


class Job(NamedTuple):
    """A frame and everything that is due on it."""

    frame: Frame
    plans: tuple[Plan, ...]
    thumbnail: Thumbnail | None  # only where some question due is gated

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """What the model is asked about it."""
        return tuple(plan.prompt for plan in self.plans if plan.prompt is not None)


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
        self._metrics = metrics
        self._seed = seed

    def plan(self, frame: Frame, due: Sequence[Due]) -> Job:
        """What to ask about `frame`, for which `due` is not empty."""
        small = gate.thumbnail(frame.image) if any(d.question.gate for d in due) else None
        return Job(frame, tuple(self._plan(frame, d, small) for d in due), small)

    def read(self, job: Job, said: Sequence[Generation], stamps: Stamps) -> list[Answer]:
        """The answers to a planned job; `said` holds a generation for each of its prompts."""
        generations = iter(said)
        return [
            self._reused(job, plan, stamps)
            if plan.prompt is None
            else self._asked(job, plan, next(generations), stamps)
            for plan in job.plans
        ]

    def _plan(self, frame: Frame, due: Due, small: Thumbnail | None) -> Plan:
        question, track = due.question, self._track(due.question, frame.source)
        seen: Seen | None = None
        # While it is in the model, what it will say is not known, and an older answer is not its last one.
        if question.gate is not None and small is not None and not track.asked:
            verdict = gate.verdict(question.gate, track.seen, small, frame.t_ns, track.chance)
            if verdict == "reuse":
                return Plan(due, None, track.seen)
            seen = track.seen if verdict == "audit" else None
        track.asked += 1
        prompt = self._prompts[question.id]
        draft = "" if prompt.options else track.said
        return Plan(due, replace(prompt, draft=draft) if draft else prompt, seen)

    def _asked(self, job: Job, plan: Plan, generation: Generation, stamps: Stamps) -> Answer:
        question, frame = plan.due.question, job.frame
        track = self._track(question, frame.source)
        track.asked -= 1
        track.said = generation.text
        reading = read_answer(question, generation)
        if plan.seen is not None and reading.state != "error":
            self._metrics.gate_audits.labels(frame.source, question.id).inc()
            if not gate.agrees(reading, plan.seen):
                self._metrics.gate_disagreements.labels(frame.source, question.id).inc()
        reusable = reading.state == "ok" and job.thumbnail is not None
        track.seen = (
            Seen(frame.t_ns, job.thumbnail, reading) if reusable and job.thumbnail is not None else None
        )
        return self._answer(frame, plan.due, reading, stamps)

    def _reused(self, job: Job, plan: Plan, stamps: Stamps) -> Answer:
        assert plan.seen is not None
        self._metrics.answers_reused.labels(job.frame.source, plan.due.question.id).inc()
        answer = self._answer(job.frame, plan.due, plan.seen.reading, stamps)
        return replace(answer, reused=True, model_ms=0.0)

    def _answer(self, frame: Frame, due: Due, reading: Reading, stamps: Stamps) -> Answer:
        question = due.question
        track = self._track(question, frame.source)
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
            answered_at=stamps.answered_at,
            skipped=due.skipped,
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
