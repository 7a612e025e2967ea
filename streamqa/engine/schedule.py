"""What is due on a frame. Pure: a stream's clock is its frames, in integer nanoseconds.

Tick k of a question is due at the first frame with `t_ns // every_ns >= k`; ticks of all questions lie on one
grid from stream time 0, so questions share frames. Ticks that pass without an answer of their own, those before a
stream's first frame included, merge into the next answer, which reports them: as `inactive` where the question was
not to be asked then, since it or its source was paused or since it was outside of its hours, else as `skipped`. So
for each (question, source), after every frame: answers + skipped + inactive = ticks passed.

Questions may change between frames. One that is added, or changed, begins a new account, in which the ticks before
its first frame are `inactive`; so are those between a frame and a pause or the end of one, whose time no frame tells.

A question may be asked only while the decision of another one holds (`only_if`). What holds is told by `decided`,
and counts from the next frame on; the ticks that pass while it does not are `inactive`.

Hours are wall time. A tick's is the frame's `wall` less the stream time between the two; the newest tick is
answered wherever the frame itself lies in the hours. A recording has no wall time, and its questions no hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TypeAlias

from streamqa.hours import Hours
from streamqa.types import Due, Frame, Question, Value

_Span: TypeAlias = tuple[int, int]  # of stream time, ns, the end excluded
_US = timedelta(microseconds=1)


@dataclass(slots=True, eq=False)
class _Account:
    """The ticks of one (question, source)."""

    passed: int = 0
    skipped: int = 0
    inactive: int = 0
    # It was added, paused or resumed since the last frame: none of the ticks until the next one was owed.
    is_resting: bool = False
    told_skipped: int = 0  # how many of these were handed out with a `Due`
    told_inactive: int = 0

    def pass_on(self, until: int, active: int) -> None:
        """Ticks before `until` have passed without an answer, `active` of them when there should have been one."""
        if self.is_resting:
            active, self.is_resting = 0, False
        self.skipped += active
        self.inactive += until - self.passed - active
        self.passed = until

    def answer(self, question: Question) -> Due:
        """One more tick has passed, and is answered."""
        due = Due(question, self.passed, self.skipped - self.told_skipped, self.inactive - self.told_inactive)
        self.passed += 1
        self.told_skipped, self.told_inactive = self.skipped, self.inactive
        return due


class Schedule:
    """The ticks of every (question, source)."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self._questions = tuple(questions)
        self._asked: dict[str, tuple[Question, ...]] = {}  # source -> its questions
        self._waiting: dict[str, dict[str, list[Question]]] = {}  # source -> question id -> its followers
        self._accounts: dict[tuple[str, str], _Account] = {}  # (question id, source)
        self._sources: set[str] = set()  # of which there was a frame
        # (follower id, source) -> stream time of the frame by which what it waits for was known to hold
        self._holding: dict[tuple[str, str], int] = {}

    def decided(self, question_id: str, source: str, value: Value, t_ns: int) -> None:
        """What was decided on the frame of `t_ns`, for the questions that follow it; None: nothing is known."""
        followers = self._followers(source).get(question_id)
        if not followers:
            return
        waits = any(one.id == question_id and one.only_if is not None for one in self._of(source))
        if waits and (question_id, source) not in self._holding:
            value = None  # it is asked no longer, and this is the last that comes of it
        for follower in followers:
            key = (follower.id, source)
            if follower.only_if is not None and follower.only_if.condition.holds(value):
                self._holding.setdefault(key, t_ns)
            elif self._holding.pop(key, None) is not None:
                self.decided(follower.id, source, None, t_ns)  # nor is it known what holds of that

    def follows(self, source: str) -> bool:
        """Whether what is asked of a frame of `source` depends on the answers to those before it."""
        return bool(self._followers(source))

    def replace(self, questions: Sequence[Question]) -> None:
        """Ask these from the next frame on; those that are the same go on with their accounts."""
        before = {question.id: question for question in self._questions}
        self._questions, self._asked, self._waiting = tuple(questions), {}, {}
        after = {question.id: question for question in questions}
        for key in [key for key in self._accounts if key[0] not in after]:
            del self._accounts[key]
        self._holding = {key: t_ns for key, t_ns in self._holding.items() if _still(key[0], before, after)}
        while gone := [key for key in self._holding if not self._is_based(key, after)]:
            for key in gone:
                del self._holding[key]
        for question in questions:
            old = before.get(question.id)
            if old == question:
                continue
            same = old is not None and replace(old, is_paused=question.is_paused) == question
            for source in self._sources:
                if same:
                    self._account(question.id, source).is_resting = True
                else:
                    self._accounts[question.id, source] = _Account(is_resting=True)

    def due(self, frame: Frame) -> tuple[Due, ...]:
        """The questions that come due on `frame`, in their given order.

        Whoever calls owes one answer, of whatever state, for each. A frame that is not later than the one of its
        source before it makes nothing due.
        """
        found = []
        self._sources.add(frame.source)
        for question in self._of(frame.source):
            if question.when is not None and not _is_active(question, frame):
                self.decided(question.id, frame.source, None, frame.t_ns)  # out of its hours
        for question in self._of(frame.source):
            account = self._account(question.id, frame.source)
            tick = frame.t_ns // question.every_ns
            if tick < account.passed:
                continue
            is_due = self._is_asked(question, frame)
            until = tick if is_due else tick + 1
            active = _active_ticks(
                question, frame, account.passed, until, self._since(question, frame.source)
            )
            account.pass_on(until, active)
            if is_due:
                found.append(account.answer(question))
        return tuple(found)

    def peek(self, frame: Frame) -> tuple[Question, ...]:
        """The questions that would come due on that frame; nothing is owed for them."""
        return tuple(
            question
            for question in self._of(frame.source)
            if frame.t_ns // question.every_ns >= self.passed(question.id, frame.source)
            and self._is_asked(question, frame)
        )

    def passed(self, question_id: str, source: str) -> int:
        """Ticks of the question that have passed on `source` up to its newest frame; 0 where none has."""
        return self._account(question_id, source).passed

    def skipped(self, question_id: str, source: str) -> int:
        """How many of these should have been answered, and merge into a later answer."""
        return self._account(question_id, source).skipped

    def inactive(self, question_id: str, source: str) -> int:
        """How many of these were not to be answered; each other one has an answer of its own."""
        return self._account(question_id, source).inactive

    def _is_asked(self, question: Question, frame: Frame) -> bool:
        since_ns = self._since(question, frame.source)
        return since_ns is not None and frame.t_ns > since_ns and _is_active(question, frame)

    def _since(self, question: Question, source: str) -> int | None:
        """Stream time after which it is to be asked, as far as other questions go; None: it is not."""
        return -1 if question.only_if is None else self._holding.get((question.id, source))

    def _is_based(self, key: tuple[str, str], known: Mapping[str, Question]) -> bool:
        """Whether what a follower waits for is itself still asked."""
        follow = known[key[0]].only_if
        first = None if follow is None else known.get(follow.question)
        return first is not None and (first.only_if is None or (first.id, key[1]) in self._holding)

    def _account(self, question_id: str, source: str) -> _Account:
        return self._accounts.setdefault((question_id, source), _Account())

    def _followers(self, source: str) -> dict[str, list[Question]]:
        """Which questions wait for which; asked for with each answer."""
        if source not in self._waiting:
            found = self._waiting[source] = {}
            for question in self._of(source):
                if question.only_if is not None:
                    found.setdefault(question.only_if.question, []).append(question)
        return self._waiting[source]

    def _of(self, source: str) -> tuple[Question, ...]:
        """The questions asked of `source`."""
        if source not in self._asked:
            self._asked[source] = tuple(q for q in self._questions if q.asks(source))
        return self._asked[source]


def _still(follower: str, before: Mapping[str, Question], after: Mapping[str, Question]) -> bool:
    """Whether what a follower waits for is asked as it was."""
    new = after.get(follower)
    if new is None or new.only_if is None or new != before.get(follower):
        return False
    first = after.get(new.only_if.question)
    return first is not None and first == before.get(first.id)


def _is_active(question: Question, frame: Frame) -> bool:
    """Whether it is to be asked: not paused, and the frame lies in its hours."""
    if question.is_paused:
        return False
    return question.when is None or frame.wall is None or _within(question.when, frame.wall)


@lru_cache(maxsize=256)  # a frame that waits is looked at again each time that another one comes
def _within(hours: Hours, at: datetime) -> bool:
    return hours.active(at)


def _active_ticks(question: Question, frame: Frame, first: int, until: int, since_ns: int | None) -> int:
    """How many of the ticks from `first` to before `until`, none after `frame`, were to be answered.

    Those up to `since_ns` were not, and without one none was.

    By arithmetic over stretches: a year's outage is as quick as a second's, but for a step for each of its days.
    """
    if first >= until or question.is_paused or since_ns is None:
        return 0
    every = question.every_ns
    begin = max(first * every, since_ns + 1)
    if begin >= until * every:
        return 0
    spans: Iterable[_Span] = [(begin, until * every)]
    if question.when is not None and frame.wall is not None:
        spans = _hours(question.when, frame.wall, frame.t_ns, begin)
    # Tick k lies in [begin, end) where ceil(begin / every) <= k < ceil(end / every).
    bounds = ((-(-begin // every), -(-end // every)) for begin, end in _without(spans, frame.pauses))
    return sum(max(0, min(end, until) - max(begin, first)) for begin, end in bounds)


def _hours(hours: Hours, at: datetime, t_ns: int, since_ns: int) -> Iterator[_Span]:
    """The active stretches of stream time from `since_ns` to `t_ns`, at which the wall's time is `at`."""
    at = at.astimezone(UTC)
    since = at - ((t_ns - since_ns) // 1000 + 1) * _US
    for begin, end in hours.stretches(since, at + _US):
        yield t_ns + (begin - at) // _US * 1000, t_ns + (end - at) // _US * 1000


def _without(spans: Iterable[_Span], holes: Sequence[_Span]) -> Iterator[_Span]:
    """What is left of `spans` outside of `holes`; both are in order."""
    for begin, end in spans:
        for hole_begin, hole_end in holes:
            if hole_begin < end and begin < hole_end:
                if begin < hole_begin:
                    yield begin, hole_begin
                begin = hole_end
        if begin < end:
            yield begin, end
