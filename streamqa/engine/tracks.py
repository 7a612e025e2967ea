"""What is remembered of each (question, source), and how a due question becomes an answer."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from streamqa.answers import prompt_for, read_answer
from streamqa.engine import gate
from streamqa.engine.batching import Work
from streamqa.engine.evidence import is_worth_keeping
from streamqa.engine.gate import Seen
from streamqa.engine.storyboard import Storyboard
from streamqa.engine.views import View, Views
from streamqa.engine.window import BETWEEN, Window, said
from streamqa.metrics import Metrics
from streamqa.overlay import draw
from streamqa.records import Answer
from streamqa.types import (
    Decision,
    Due,
    Frame,
    Generation,
    Prompt,
    Question,
    Reading,
    Request,
    State,
    Value,
    Zone,
)

if TYPE_CHECKING:
    from streamqa.types import Image

TOO_OLD = Reading(value=None, confidence=None, state="stale", reason="too_old")


def is_stale(frame: Frame, question: Question, now_ns: int) -> bool:
    """Whether a live frame is too old for `question`; `now_ns` is the clock of `received_ns`.

    Its age is the time since it was received and, where that is known, the time that it took to come.
    """
    if frame.wall is None:
        return False
    return now_ns - frame.received_ns + frame.delay_ns > question.age_limit_ns


@dataclass(slots=True, eq=False)
class _Track:
    """What is remembered of one (question, source)."""

    window: Window
    chance: random.Random  # of audits; one for each track, so that no other source changes what it draws
    previous: tuple[Value, State] | None = None
    said: str = ""  # the newest generated text: in a quiet scene the next one is the same
    seen: Seen | None = None  # the last real answer, where it may be reused
    asked: int = 0  # times that it is in the model now
    kept_ns: int | None = None  # stream time of the last picture that was kept as evidence
    board: Storyboard | None = None  # the window's pictures, where they are looked at together
    decided: Value = None  # what was decided last
    is_over: bool = False  # the question was removed or changed: what is still in the model has no reader


_Part: TypeAlias = tuple[
    Zone | None, str
]  # what is looked at: a zone, or "" and the id of a storyboard's question


class Plan(NamedTuple):
    """How a due question will be answered."""

    due: Due
    track: _Track
    prompt: Prompt | None = None  # what the model is asked; None: `seen` is reused, or the frame is too old
    seen: Seen | None = None  # the answer that is reused, or that an audit is held against
    board: Image | None = None  # the storyboard that the model sees in the place of the frame

    @property
    def part(self) -> _Part:
        """What the model looks at for it; questions with the same part share a picture."""
        question = self.due.question
        return question.zone, "" if self.board is None else question.id

    @property
    def is_stale(self) -> bool:
        """Whether the frame is too old for it."""
        return self.prompt is None and self.seen is None


class Job(NamedTuple):
    """A frame and everything that is due on it."""

    frame: Frame
    plans: tuple[Plan, ...]
    views: Mapping[Zone | None, View]  # of the questions that are due
    asked: Mapping[_Part, Request]  # what the model is asked, in the order in which it answers

    @property
    def requests(self) -> tuple[Request, ...]:
        """One for each zone of which something is asked, and for each storyboard."""
        return tuple(self.asked.values())


class Stamps(NamedTuple):
    """When a batch was handed over and answered, on the monotonic clock and the wall's, and by whom."""

    asked_ns: int
    answered_ns: int
    answered_at: datetime
    model: str


class Tracks:
    """Plans and reads. Whoever plans jobs reads them in the same order: a window's time never goes back."""

    def __init__(
        self,
        questions: Sequence[Question],
        metrics: Metrics,
        seed: int,
        keep_evidence: bool = False,
        model: str = "",
    ) -> None:
        """`keep_evidence`: answers carry their picture where it is worth keeping; `model`: its name."""
        self._model = model
        self._questions = {question.id: question for question in questions}
        self._prompts = {question.id: prompt_for(question, model) for question in questions}
        self._tracks: dict[tuple[str, str], _Track] = {}  # (question id, source)
        self._views = Views()
        self._metrics = metrics
        self._seed = seed
        self._keep_evidence = keep_evidence

    def replace(self, questions: Sequence[Question]) -> None:
        """Plan these from now on. Of what is gone or changed nothing is read any more; a pause is no change."""
        before, self._questions = self._questions, {question.id: question for question in questions}
        self._prompts = {question.id: prompt_for(question, self._model) for question in questions}
        for (name, source), track in list(self._tracks.items()):
            old, new = before.get(name), self._questions.get(name)
            if old is None or new is None or replace(old, is_paused=new.is_paused) != new:
                track.is_over = True
                del self._tracks[name, source]

    def forget(self, source: str) -> None:
        """Free what is remembered of a source that was removed; what is still in the model is read."""
        for key in [key for key in self._tracks if key[1] == source]:
            del self._tracks[key]
        self._views.forget(source)

    def renew(self, source: str) -> None:
        """A source was changed: what it showed before counts no more, and what is masked now is not shown again."""
        for key, track in self._tracks.items():
            if key[1] == source:
                question = self._questions[key[0]]
                track.window, track.board, track.seen = Window(question), _board(question), None

    def work(self, frame: Frame, questions: Sequence[Question], now_ns: int) -> Work:
        """What `questions` would ask of the model about `frame` at `now_ns`; the gate may spare some of it."""
        return self._views.work(frame, (q for q in questions if not is_stale(frame, q, now_ns)))

    def plan(self, frame: Frame, due: Sequence[Due], now_ns: int) -> Job:
        """What to ask about `frame`, for which `due` is not empty, at `now_ns` on the monotonic clock."""
        views = {d.question.zone: self._views.of(frame, d.question.zone) for d in due}
        plans = tuple(self._plan(frame, d, views[d.question.zone], now_ns) for d in due)
        prompts: dict[_Part, list[Prompt]] = {}
        shown: dict[_Part, Image] = {}
        for plan in plans:
            if plan.prompt is not None:
                prompts.setdefault(plan.part, []).append(plan.prompt)
                shown[plan.part] = views[plan.due.question.zone].image if plan.board is None else plan.board
        # A storyboard is made of scaled pictures already.
        asked = {
            part: Request(shown[part], tuple(these), "full" if part[1] else frame.detail)
            for part, these in prompts.items()
        }
        return Job(frame, plans, views, asked)

    def read(self, job: Job, said: Sequence[Sequence[Generation]], stamps: Stamps) -> list[Answer]:
        """The answers to a planned job, in the order of its plans; none for a question that is over by now.

        `said` holds, for each of the job's requests, a generation for each of its prompts.
        """
        generations = {part: iter(these) for part, these in zip(job.asked, said, strict=True)}
        answers = []
        for plan in job.plans:
            generation = None if plan.prompt is None else next(generations[plan.part])
            if not plan.track.is_over:
                answers.append(self._read(job, plan, generation, stamps))
        return answers

    def _plan(self, frame: Frame, due: Due, view: View, now_ns: int) -> Plan:
        question, track = due.question, self._track(due.question, frame.source)
        if is_stale(frame, question, now_ns):
            return Plan(due, track)
        seen: Seen | None = None
        # While it is in the model, what it will say is not known, and an older answer is not its last one.
        if question.gate is not None and not track.asked:
            verdict = gate.verdict(question.gate, track.seen, view.thumbnail, frame.t_ns, track.chance)
            if verdict == "reuse":
                return Plan(due, track, None, track.seen)
            seen = track.seen if verdict == "audit" else None
        track.asked += 1
        prompt = self._prompts[question.id]
        draft = "" if prompt.options else track.said
        board = None
        if track.board is not None:
            track.board.add(frame.t_ns, view.image)
            board = track.board.picture()
        return Plan(due, track, replace(prompt, draft=draft) if draft else prompt, seen, board)

    def _read(self, job: Job, plan: Plan, generation: Generation | None, stamps: Stamps) -> Answer:
        if generation is not None:
            return self._asked(job, plan, generation, stamps)
        return (
            self._too_old(job, plan, stamps)
            if plan.seen is None
            else self._reused(job, plan, plan.seen, stamps)
        )

    def _asked(self, job: Job, plan: Plan, generation: Generation, stamps: Stamps) -> Answer:
        question, frame = plan.due.question, job.frame
        track, view = plan.track, job.views[question.zone]
        track.asked -= 1
        track.said = generation.text
        reading = read_answer(question, view.in_frame(generation))
        if plan.seen is not None and reading.state != "error":
            self._metrics.gate_audits.labels(frame.source, question.id).inc()
            if not gate.agrees(reading, plan.seen):
                self._metrics.gate_disagreements.labels(frame.source, question.id).inc()
        reusable = reading.state == "ok" and question.gate is not None
        track.seen = Seen(frame.t_ns, view.thumbnail, reading) if reusable else None
        return self._answer(job, plan, reading, stamps)

    def _reused(self, job: Job, plan: Plan, seen: Seen, stamps: Stamps) -> Answer:
        self._metrics.answers_reused.labels(job.frame.source, plan.due.question.id).inc()
        answer = self._answer(job, plan, seen.reading, stamps)
        return replace(answer, reused=True, model_ms=0.0)

    def _too_old(self, job: Job, plan: Plan, stamps: Stamps) -> Answer:
        # As an unsure answer: what was said before it is not the last that is known any more.
        plan.track.seen = None
        return replace(self._answer(job, plan, TOO_OLD, stamps), model_ms=0.0)

    def _answer(self, job: Job, plan: Plan, reading: Reading, stamps: Stamps) -> Answer:
        frame, due, track = job.frame, plan.due, plan.track
        question = due.question
        decision = track.window.add(frame.t_ns, reading)
        changed, flipped = _has_changed(track, decision), _has_flipped(track, decision)
        took_ns = stamps.answered_ns - frame.received_ns
        self._count(frame.source, due, decision.state, flipped, took_ns / 1e9)
        picture, view = self._pictures(job, plan, changed, decision.value)
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
            total_ms=took_ns / 1e6,
            model=stamps.model,
            ask=question.ask,
            captured_ns=frame.received_ns - frame.delay_ns if frame.is_live else None,
            picture=picture,
            view=view,
        )

    def _count(self, source: str, due: Due, state: State, flipped: bool, took_s: float) -> None:
        question = due.question.id
        self._metrics.answers.labels(source, question, state).inc()
        self._metrics.ticks_skipped.labels(source, question).inc(due.skipped)
        self._metrics.ticks_inactive.labels(source, question).inc(due.inactive)
        self._metrics.answer_flips.labels(source, question).inc(flipped)
        self._metrics.answer_seconds.labels(question).observe(took_s)

    def _pictures(
        self, job: Job, plan: Plan, changed: bool, value: Value
    ) -> tuple[Image | None, Image | None]:
        """What the model saw, if it is worth keeping as evidence, and if alerts may choose it."""
        question, track, frame = plan.due.question, plan.track, job.frame
        is_worth = self._keep_evidence and is_worth_keeping(changed, frame.t_ns, track.kept_ns)
        if not is_worth and not (self._keep_evidence and question.alerts):
            return None, None
        # Places lie in the whole frame, also where a part of it was looked at.
        shown = frame.image if question.kind in ("points", "boxes") else job.views[question.zone].image
        view = draw(shown if plan.board is None else plan.board, value)
        if is_worth:
            track.kept_ns = frame.t_ns
        return view if is_worth else None, view if question.alerts else None

    def _track(self, question: Question, source: str) -> _Track:
        key = (question.id, source)
        if key not in self._tracks:
            chance = random.Random(f"{self._seed} {question.id} {source}")
            self._tracks[key] = _Track(Window(question), chance, board=_board(question))
        return self._tracks[key]


def _board(question: Question) -> Storyboard | None:
    return Storyboard(question.window_ns) if question.look == "storyboard" else None


def _has_changed(track: _Track, decision: Decision) -> bool:
    """Whether it says something else than the one before it; between the thresholds the one before still stands."""
    if decision.reason == BETWEEN and track.previous is not None and track.previous[1] == "ok":
        return False
    now = (said(decision.value), decision.state)
    changed, track.previous = now != track.previous, now
    return changed


def _has_flipped(track: _Track, decision: Decision) -> bool:
    """Whether another value is decided than the last one that was."""
    if decision.value is None:
        return False
    before, track.decided = track.decided, decision.value
    return before is not None and said(before) != said(decision.value)
