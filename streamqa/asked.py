"""What is asked of a running line: standing questions, which may change while it runs, and single ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from streamqa.answers import prompt_for, read_answer
from streamqa.capture.sources import Sources
from streamqa.engine.asking import refuse_refused, refuse_unanswerable, would_answer
from streamqa.engine.engine import Engine
from streamqa.engine.views import Views
from streamqa.engine.window import Window
from streamqa.errors import Busy, ConfigError, ModelError, NotThere, StreamQAError, TakenId
from streamqa.metrics import Metrics
from streamqa.model.base import VisionModel
from streamqa.records import Answer
from streamqa.types import NS_PER_S, Frame, Generation, Moment, Question, Request, utc_now

MOST_QUESTIONS = 1024  # as many as a configuration may have
PATIENCE_S = 60.0  # a batch of a large model on a CPU takes tens of seconds, and one is waited for


class Asked:
    """The questions of one line. Thread-safe; changes come one after the other, between two batches."""

    def __init__(
        self,
        questions: Iterable[Question],
        model: VisionModel,
        engine: Engine,
        sources: Sources,
        metrics: Metrics,
        on_change: Callable[[Sequence[Question]], None] = lambda questions: None,
    ) -> None:
        """`on_change` is told what is asked from now on, on the engine's thread, once it is."""
        self._questions = tuple(questions)
        self._on_change = on_change
        self._model, self._engine, self._sources, self._metrics = model, engine, sources, metrics
        self._changing = threading.Lock()
        self._has_begun = False

    def begin(self) -> None:
        """From now on the engine has a thread of its own."""
        self._has_begun = True

    def questions(self) -> tuple[Question, ...]:
        """All standing questions as they are now, the paused ones included."""
        return self._questions

    def periods(self, source: str) -> list[int]:
        """How often something is asked of `source`, in ns of stream time."""
        return [one.every_ns for one in self._questions if one.asks(source) and not one.is_paused]

    def add_question(self, question: Question) -> None:
        """Ask it from the next frame on; what passed before is told as `inactive`.

        Raises:
            TakenId: there is one of that name.
            ConfigError: there are too many.
            ModelError: the model could not answer it.
            Busy, StreamQAError: the engine takes no changes, or has stopped.
        """
        with self._changing:
            if any(one.id == question.id for one in self._questions):
                raise TakenId(f"question {question.id!r} is there already; change it, or take another id")
            if len(self._questions) >= MOST_QUESTIONS:
                raise ConfigError(f"there are {MOST_QUESTIONS} questions already; remove one first")
            self._check(question)
            self._set((*self._questions, question))

    def change_question(self, question: Question) -> None:
        """Ask this in the place of the one with its id, with a new window; a pause stays.

        Of the old one nothing is emitted any more once this returns. Raises NotThere, and as `add_question`.
        """
        with self._changing:
            old = self._known(question.id)
            self._check(question)
            self._replace(replace(question, is_paused=old.is_paused))

    def pause_question(self, question: str) -> None:
        """Do not ask it until it is resumed; ticks until then are `inactive`. Raises as `change_question`."""
        with self._changing:
            self._replace(replace(self._known(question), is_paused=True))

    def resume_question(self, question: str) -> None:
        """Ask it again. Raises as `change_question`."""
        with self._changing:
            self._replace(replace(self._known(question), is_paused=False))

    def remove_question(self, question: str) -> None:
        """Never ask it again; nothing of it is emitted any more once this returns. Raises as `change_question`."""
        with self._changing:
            self._known(question)
            self._set(tuple(one for one in self._questions if one.id != question))
            self._metrics.forget_question(question)

    def forget(self, source: str) -> None:
        """Free what is remembered of a source that was removed."""
        with suppress(StreamQAError):  # stopped: all of it is freed
            self._engine.inbox.post(lambda: self._engine.forget(source))

    def renew(self, source: str) -> None:
        """Forget what a source that was changed has shown before."""
        with suppress(StreamQAError):  # as above
            self._engine.inbox.post(lambda: self._engine.renew(source))

    def frame(self, source: str, moment: Moment) -> Frame:
        """The frame of `source` that was the newest at `moment`.

        Raises:
            NotThere: there is no such source, or no frame of that time.
        """
        return self._sources.known(source).recent.at(moment, time.monotonic_ns())

    def ask_once(self, source: str, question: Question, moment: Moment) -> Answer:
        """One answer about one frame, by itself: without window, gate, hours or staleness; it is not recorded.

        Raises:
            NotThere: as `frame`.
            Busy, StreamQAError: the model has too much to do, or the line has stopped.
        """
        frame = self.frame(source, moment)
        began_ns = time.monotonic_ns()
        view = Views().of(frame, question.zone)
        alone = replace(question, window_ns=0, decide="latest", k_of_n=None, hold_ns=0, look="frame")
        request = Request(view.image, (prompt_for(alone, self._model.info.name),), frame.detail)
        (generation,) = self.generate(request)
        took_ms = (time.monotonic_ns() - began_ns) / 1e6
        reading = read_answer(alone, view.in_frame(generation))
        return Answer(
            source=source,
            question=question.id,
            kind=question.kind,
            decision=Window(alone).add(frame.t_ns, reading),
            reading=reading,
            frame=frame.index,
            t_ns=frame.t_ns,
            captured_at=frame.captured_at,
            clock=frame.clock,
            answered_at=utc_now(),
            skipped=0,
            changed=False,
            queue_ms=0.0,
            model_ms=took_ms,  # its turn in the queue included
            total_ms=took_ms,
            model=self._model.info.label,
        )

    def generate(self, request: Request) -> list[Generation]:
        """What the model says to each prompt of `request`; it takes its turn with the line's batches.

        Raises:
            ModelError: it failed; said in the generation where only one prompt did.
            Busy, StreamQAError: it has too much to do, or the line has stopped.
        """
        said = self._single(request)
        if [len(generations) for generations in said] != [len(request.prompts)]:
            raise ModelError("the model gave another number of answers than it was asked for")
        return said[0]

    def _single(self, request: Request) -> list[list[Generation]]:
        metrics, began_ns = self._metrics, time.monotonic_ns()
        outcome = "failed"
        try:
            said = self._engine.inbox.ask([request], PATIENCE_S)
            outcome = "answered"
        except Busy:
            outcome = "refused"
            raise
        finally:
            metrics.single_questions.labels(outcome).inc()
            metrics.single_question_seconds.observe((time.monotonic_ns() - began_ns) / NS_PER_S)
        return said

    def _check(self, question: Question) -> None:
        if not self._has_begun:
            refuse_unanswerable(self._model, [question])
            return
        said = self._engine.inbox.ask([would_answer([question], self._model.info.name)], PATIENCE_S)
        refuse_refused(self._model.info.label, [question], said)

    def _known(self, question: str) -> Question:
        for one in self._questions:
            if one.id == question:
                return one
        there = ", ".join(one.id for one in self._questions) or "none"
        raise NotThere(f"question {question!r}: there is no such question; there are: {there}")

    def _replace(self, question: Question) -> None:
        self._set(tuple(question if one.id == question.id else one for one in self._questions))

    def _set(self, questions: tuple[Question, ...]) -> None:
        def change() -> None:
            self._engine.set_questions(questions)
            self._on_change(questions)

        if self._has_begun:
            self._engine.inbox.call(change, PATIENCE_S)
        else:
            change()
        self._questions = questions
        self._sources.retime()
