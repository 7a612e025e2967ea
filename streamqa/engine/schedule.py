"""What is due on a frame. Pure: a stream's clock is its frames, in integer nanoseconds.

Tick k of a question is due at the first frame with `t_ns // every_ns >= k`; ticks of all questions lie on one
grid from stream time 0, so questions share frames. Ticks that pass without a frame, those before a stream's
first frame included, merge into the next answer, which reports them as `skipped`. So for each (question,
source), after every frame: answers + skipped = ticks passed.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamqa.types import Due, Question


class Schedule:
    """The ticks of every (question, source)."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self._questions = tuple(questions)
        self._asked: dict[str, tuple[Question, ...]] = {}  # source -> its questions
        self._passed: dict[tuple[str, str], int] = {}  # (question id, source) -> ticks passed
        self._skipped: dict[tuple[str, str], int] = {}

    def due(self, source: str, t_ns: int) -> tuple[Due, ...]:
        """The questions that come due on a frame of `source` at stream time `t_ns`, in their given order.

        Whoever calls owes one answer, of whatever state, for each. A frame that is not later than the one
        before it makes nothing due.
        """
        found = []
        for question in self._of(source):
            key = (question.id, source)
            tick, passed = t_ns // question.every_ns, self._passed.get(key, 0)
            if tick < passed:
                continue
            skipped = tick - passed
            self._passed[key] = tick + 1
            self._skipped[key] = self._skipped.get(key, 0) + skipped
            found.append(Due(question, tick, skipped))
        return tuple(found)

    def peek(self, source: str, t_ns: int) -> tuple[Question, ...]:
        """The questions that would come due on that frame; nothing is owed for them."""
        return tuple(
            question
            for question in self._of(source)
            if t_ns // question.every_ns >= self._passed.get((question.id, source), 0)
        )

    def passed(self, question_id: str, source: str) -> int:
        """Ticks of the question that have passed on `source` up to its newest frame; 0 where none has."""
        return self._passed.get((question_id, source), 0)

    def skipped(self, question_id: str, source: str) -> int:
        """How many of these merged into a later answer; the others each have an answer of their own."""
        return self._skipped.get((question_id, source), 0)

    def _of(self, source: str) -> tuple[Question, ...]:
        """The questions asked of `source`."""
        if source not in self._asked:
            self._asked[source] = tuple(q for q in self._questions if q.asks(source))
        return self._asked[source]
