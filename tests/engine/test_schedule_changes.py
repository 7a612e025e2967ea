"""Questions that come, change, rest and go between frames: the account stays right for each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from streamqa.engine.schedule import Schedule
from streamqa.testing import make_frame
from streamqa.types import NS_PER_S, Question

SOURCES = ("gate", "yard")
EVERY = (NS_PER_S // 2, NS_PER_S, 3 * NS_PER_S)


def question(name: str, every_ns: int = NS_PER_S, **fields: object) -> Question:
    return Question(name, f"{name}?", "yes_no", every_ns, **fields)  # type: ignore[arg-type]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("frame", "frame", "frame", "add", "change", "pause", "resume", "remove")),
        st.integers(0, 3),
        st.integers(0, 40),
    ),
    max_size=60,
)


class World:
    """A schedule whose questions change, and the sums that each question's answers tell."""

    def __init__(self) -> None:
        self.schedule = Schedule(())
        self.asked: dict[str, Question] = {}
        self.answers: dict[tuple[str, str], int] = defaultdict(int)
        self.told: dict[tuple[str, str], int] = defaultdict(int)
        self.now = dict.fromkeys(SOURCES, 0)

    def frame(self, source: str, quarters: int) -> None:
        self.now[source] += quarters * NS_PER_S // 4 + 1
        frame = make_frame(source, t_ns=self.now[source])
        peeked, found = self.schedule.peek(frame), self.schedule.due(frame)
        assert tuple(due.question for due in found) == peeked
        for due in found:
            assert not due.question.is_paused
            self.answers[due.question.id, source] += 1
            self.told[due.question.id, source] += due.skipped + due.inactive
        for one in self.asked.values():
            self.check(one, source)

    def check(self, one: Question, source: str) -> None:
        key, schedule = (one.id, source), self.schedule
        passed, without = schedule.passed(*key), schedule.skipped(*key) + schedule.inactive(*key)
        assert passed == self.now[source] // one.every_ns + 1
        assert self.answers[key] + without == passed
        assert self.told[key] <= without

    def ask(self, name: str, wanted: Question | None) -> None:
        """Put `wanted` in the place of what is asked by that name."""
        old = self.asked.pop(name, None)
        if wanted is not None:
            self.asked[name] = wanted
        if old is None or wanted is None or replace(old, is_paused=wanted.is_paused) != wanted:
            for source in SOURCES:
                self.answers.pop((name, source), None)
                self.told.pop((name, source), None)
        self.schedule.replace(tuple(self.asked.values()))

    def step(self, what: str, which: int, amount: int) -> None:
        name, every_ns = f"q{which}", EVERY[amount % 3]
        old = self.asked.get(name)
        if what == "frame":
            self.frame(SOURCES[which % 2], amount)
        elif what == "add" and old is None:
            self.ask(name, question(name, every_ns))
        elif what == "change" and old is not None:
            self.ask(name, question(name, every_ns, window_ns=amount, is_paused=old.is_paused))
        elif what in ("pause", "resume") and old is not None:
            self.ask(name, replace(old, is_paused=what == "pause"))
        elif what == "remove":
            self.ask(name, None)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_answers_skipped_and_inactive_are_the_ticks_that_passed(steps: list[tuple[str, int, int]]) -> None:
    world = World()
    for what, which, amount in steps:
        world.step(what, which, amount)


def test_a_question_that_comes_late_is_asked_at_the_next_frame_and_tells_what_passed_before() -> None:
    schedule = Schedule([question("old")])
    schedule.due(make_frame("gate", 10.0))
    schedule.replace([question("old"), question("new", 4 * NS_PER_S)])
    (old, new) = schedule.due(make_frame("gate", 11.0))
    assert (old.question.id, old.skipped, old.inactive) == ("old", 0, 0)
    assert (new.question.id, new.skipped, new.inactive) == ("new", 0, 2)


def test_ticks_of_a_pause_are_inactive_also_where_no_frame_came_meanwhile() -> None:
    schedule = Schedule([question("person")])
    schedule.due(make_frame("gate", 0.0))
    schedule.replace([question("person", is_paused=True)])
    assert schedule.due(make_frame("gate", 5.0)) == ()
    schedule.replace([question("person")])
    (due,) = schedule.due(make_frame("gate", 9.0))
    assert (due.tick, due.skipped, due.inactive) == (9, 0, 8)


def test_what_is_the_same_goes_on() -> None:
    schedule = Schedule([question("person")])
    schedule.due(make_frame("gate", 0.0))
    schedule.replace([question("cars"), question("person")])
    due = {one.question.id: one for one in schedule.due(make_frame("gate", 3.0))}
    assert due["person"].skipped == 2
