from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamqa.engine.schedule import Schedule
from streamqa.hours import Hours, parse_hours
from streamqa.testing import make_frame
from streamqa.types import NS_PER_S, Due, Frame, Question

IMAGE = np.zeros((1, 1, 3), np.uint8)
NIGHT = parse_hours("22:00-06:00 Europe/Rome")
HOUR = 3600 * NS_PER_S


def question(
    id: str = "q",
    every_ns: int = NS_PER_S,
    sources: tuple[str, ...] | None = None,
    when: Hours | None = None,
) -> Question:
    return Question(id=id, ask="?", kind="yes_no", every_ns=every_ns, sources=sources, when=when)


def at(source: str, t_ns: int, **fields: Any) -> Frame:
    return make_frame(source, t_ns=t_ns, image=IMAGE, **fields)


def ticks(schedule: Schedule, *times_s: float) -> list[tuple[int, int]]:
    return [(d.tick, d.skipped) for t in times_s for d in schedule.due(at("cam", round(t * NS_PER_S)))]


def test_a_tick_is_due_at_the_first_frame_that_reaches_it() -> None:
    assert ticks(Schedule([question()]), 0, 0.5, 0.999, 1.0, 1.9, 2.5, 2.6) == [(0, 0), (1, 0), (2, 0)]


def test_late_ticks_merge_into_one() -> None:
    assert ticks(Schedule([question()]), 0.2, 5.7, 6.0) == [(0, 0), (5, 4), (6, 0)]


def test_ticks_before_the_first_frame_are_skipped() -> None:
    schedule = Schedule([question()])
    assert ticks(schedule, 3.5) == [(3, 3)]
    assert (schedule.passed("q", "cam"), schedule.skipped("q", "cam")) == (4, 3)


def test_integers_do_not_misplace_ticks() -> None:
    schedule = Schedule([question(every_ns=NS_PER_S // 5)])
    assert ticks(schedule, 0, 0.2, 0.4, 0.6) == [(0, 0), (1, 0), (2, 0), (3, 0)]
    far = 10**18 // (NS_PER_S // 5)
    (due,) = schedule.due(at("cam", 10**18))
    assert due == Due(question(every_ns=NS_PER_S // 5), far, far - 4)


def test_time_that_stands_or_goes_back_makes_nothing_due() -> None:
    schedule = Schedule([question()])
    assert ticks(schedule, 4, 4, 3, 0) == [(4, 4)]
    assert schedule.passed("q", "cam") == 5


def test_questions_of_other_sources_are_not_due() -> None:
    schedule = Schedule([question("a", sources=("cam",)), question("b"), question("c", sources=("door",))])
    assert [d.question.id for d in schedule.due(at("cam", 0))] == ["a", "b"]
    assert [d.question.id for d in schedule.due(at("door", 0))] == ["b", "c"]
    assert schedule.passed("c", "cam") == schedule.skipped("c", "cam") == 0


def test_questions_share_frames() -> None:
    schedule = Schedule([question("a", NS_PER_S), question("b", 2 * NS_PER_S)])
    due = [tuple(d.question.id for d in schedule.due(at("cam", s * NS_PER_S))) for s in range(5)]
    assert due == [("a", "b"), ("a",), ("a", "b"), ("a",), ("a", "b")]


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Question], list[tuple[str, int]]]:
    sources = ["cam", "door", "lobby"]
    questions = [
        question(
            f"q{i}",
            draw(st.integers(1, 3 * NS_PER_S)),
            draw(st.none() | st.lists(st.sampled_from(sources), unique=True).map(tuple)),
        )
        for i in range(draw(st.integers(1, 4)))
    ]
    steps = st.tuples(st.sampled_from(sources), st.integers(0, 10 * NS_PER_S))
    clock = dict.fromkeys(sources, 0)
    frames = []
    for source, step in draw(st.lists(steps, max_size=40)):
        clock[source] += step
        frames.append((source, clock[source]))
    return questions, frames


@given(streams())
def test_answers_and_skipped_are_the_ticks_passed(
    stream: tuple[list[Question], list[tuple[str, int]]],
) -> None:
    questions, frames = stream
    schedule = Schedule(questions)
    answers: Counter[tuple[str, str]] = Counter()
    skipped: Counter[tuple[str, str]] = Counter()
    last: dict[str, int] = {}
    for source, t_ns in frames:
        last[source] = t_ns
        for due in schedule.due(at(source, t_ns)):
            key = (due.question.id, source)
            assert due.tick == t_ns // due.question.every_ns
            answers[key] += 1
            skipped[key] += due.skipped
    for q in questions:
        for source, t_ns in last.items():
            key = (q.id, source)
            expected = t_ns // q.every_ns + 1 if q.asks(source) else 0
            assert answers[key] + skipped[key] == schedule.passed(*key) == expected
            assert skipped[key] == schedule.skipped(*key)


@given(streams(), st.integers(0, 40))
def test_a_restart_starts_a_new_account(
    stream: tuple[list[Question], list[tuple[str, int]]], cut: int
) -> None:
    """A new process has new streams from time 0; the first run's account stays closed and complete."""
    questions, frames = stream
    first, second = Schedule(questions), Schedule(questions)
    due_first = [first.due(at(*frame)) for frame in frames[:cut]]
    due_second = [second.due(at(*frame)) for frame in frames]
    assert due_second[: len(due_first)] == due_first  # the same stream gives the same ticks


def test_peeking_owes_nothing() -> None:
    schedule = Schedule([question("a"), question("b", 5 * NS_PER_S, ("gate",))])
    for _ in range(2):
        assert [q.id for q in schedule.peek(at("gate", 3 * NS_PER_S))] == ["a", "b"]
    assert [q.id for q in schedule.peek(at("door", 3 * NS_PER_S))] == ["a"]
    assert [(d.question.id, d.skipped) for d in schedule.due(at("gate", 3 * NS_PER_S))] == [
        ("a", 3),
        ("b", 0),
    ]
    assert schedule.peek(at("gate", 3 * NS_PER_S)) == ()
    assert [q.id for q in schedule.peek(at("gate", 4 * NS_PER_S))] == ["a"]


# active hours and pauses


def night(t_s: float, **fields: Any) -> Frame:
    """A frame of a stream that began at 21:00 in Rome, on a day in July."""
    begun = datetime(2026, 7, 1, 19, tzinfo=UTC)
    return at("cam", round(t_s * NS_PER_S), captured_at=begun + timedelta(seconds=t_s), **fields)


def test_a_question_is_due_in_its_hours_only_and_the_first_answer_tells_the_rest() -> None:
    schedule = Schedule([question(every_ns=60 * NS_PER_S, when=NIGHT)])
    assert [schedule.due(night(60.0 * n)) for n in range(60)] == [()] * 60
    assert schedule.peek(night(3599)) == ()
    assert schedule.peek(night(3600)) == (question(every_ns=60 * NS_PER_S, when=NIGHT),)
    assert (schedule.passed("q", "cam"), schedule.inactive("q", "cam")) == (60, 60)
    (due,) = schedule.due(night(3600))
    assert (due.tick, due.skipped, due.inactive) == (60, 0, 60)
    (due,) = schedule.due(night(3665))
    assert (due.tick, due.skipped, due.inactive) == (61, 0, 0)


def test_ticks_lost_in_the_hours_are_skipped_and_the_others_inactive() -> None:
    schedule = Schedule([question(every_ns=HOUR, when=NIGHT)])
    (due,) = schedule.due(night(1.0 * 3600))  # 22:00; tick 0 was at 21:00
    assert (due.tick, due.skipped, due.inactive) == (1, 0, 1)
    assert schedule.due(night(15.0 * 3600)) == ()  # noon: of 23:00 to 12:00 the ticks before 6:00 are lost
    assert (schedule.skipped("q", "cam"), schedule.inactive("q", "cam")) == (7, 1 + 7)
    (due,) = schedule.due(night(26.0 * 3600))
    assert (due.tick, due.skipped, due.inactive) == (26, 7 + 1, 7 + 9)


def test_a_recording_has_no_hours() -> None:
    schedule = Schedule([question(when=NIGHT)])
    assert ticks(schedule, 0, 1, 5) == [(0, 0), (1, 0), (5, 3)]


def test_ticks_in_a_pause_are_inactive_and_the_first_frame_after_it_is_answered() -> None:
    schedule = Schedule([question(), question("slow", 60 * NS_PER_S)])
    schedule.due(at("cam", 0))
    pause = (NS_PER_S * 5 // 2, 125 * NS_PER_S + 1)
    fast, slow = schedule.due(at("cam", 127 * NS_PER_S, pauses=(pause,)))
    assert (fast.tick, fast.skipped, fast.inactive) == (127, 3, 123)  # 1, 2 and 126; 3 to 125
    assert (slow.tick, slow.skipped, slow.inactive) == (2, 0, 1)


def test_a_year_out_is_as_quick_as_a_second() -> None:
    schedule = Schedule([question(every_ns=1000, when=NIGHT)])
    (due,) = schedule.due(night(365 * 86400.0 + 3600))
    assert due.skipped + due.inactive == due.tick
    assert due.skipped == 365 * 8 * HOUR // 1000


HOURS = ("22:00-06:00 Europe/Rome", "06:00-22:00 UTC", "02:15-02:45 Europe/Rome", "02:50-02:40 Europe/Rome")
BEGINS = (
    datetime(2026, 3, 28, 20, tzinfo=UTC),  # clocks go forward in that night
    datetime(2026, 10, 24, 20, tzinfo=UTC),  # and back in that one
    datetime(2026, 7, 1, 3, tzinfo=UTC),
)


@st.composite
def days(draw: st.DrawFn) -> tuple[list[Question], list[Frame]]:
    """Questions with hours, and the frames of some cameras with pauses, outages and clocks that are set."""
    questions = [
        question(
            f"q{i}", draw(st.integers(300 * NS_PER_S, 2 * HOUR)), None, parse_hours(text) if text else None
        )
        for i, text in enumerate(draw(st.lists(st.sampled_from(HOURS) | st.none(), min_size=1, max_size=3)))
    ]
    frames = []
    for source in ("cam", "door"):
        begun, live = draw(st.sampled_from(BEGINS)), draw(st.booleans())
        cuts = sorted(draw(st.sets(st.integers(0, 40 * HOUR), max_size=30)))
        pauses: tuple[tuple[int, int], ...] = ()
        for last, t_ns in pairwise([0, *cuts]):
            if draw(st.booleans()) and t_ns - last > 2:
                edges = sorted(draw(st.sets(st.integers(last, t_ns), min_size=2, max_size=2)))
                pauses = (*pauses, (edges[0], edges[1]))
            begun += timedelta(seconds=draw(st.sampled_from([0, 0, 0, 3700, -90])))
            wall = begun + timedelta(microseconds=t_ns // 1000) if live else None
            frames.append(at(source, t_ns, captured_at=wall, pauses=pauses))
    return questions, frames


def fates(q: Question, frames: Sequence[Frame]) -> list[str]:
    """What becomes of each tick of one source, one by one."""
    found: list[str] = []
    for frame in frames:
        for tick in range(len(found), frame.t_ns // q.every_ns + 1):
            t_ns = tick * q.every_ns
            paused = any(begin <= t_ns < end for begin, end in frame.pauses)
            newest, wall, ours = tick == frame.t_ns // q.every_ns, frame.captured_at, True
            if q.when is not None and wall is not None:
                at_tick = wall - timedelta(microseconds=-(-(frame.t_ns - t_ns) // 1000))
                ours = q.when.active(at_tick)
                newest = newest and q.when.active(wall)
            found.append("answered" if newest else "inactive" if paused or not ours else "skipped")
    return found


@given(days())
def test_a_tick_is_answered_or_skipped_or_inactive(day: tuple[list[Question], list[Frame]]) -> None:
    questions, frames = day
    schedule = Schedule(questions)
    told: Counter[tuple[str, str, str]] = Counter()
    for number, frame in enumerate(frames):
        expected = [q.id for q in schedule.peek(frame)]
        due = schedule.due(frame)
        assert [d.question.id for d in due] == expected
        for d in due:
            told[d.question.id, frame.source, "answered"] += 1
            told[d.question.id, frame.source, "skipped"] += d.skipped
            told[d.question.id, frame.source, "inactive"] += d.inactive
            counts = Counter(fates(d.question, [f for f in frames[: number + 1] if f.source == frame.source]))
            for fate in ("answered", "skipped", "inactive"):
                assert told[d.question.id, frame.source, fate] == counts[fate]
    for q in questions:
        for source in ("cam", "door"):
            counts = Counter(fates(q, [f for f in frames if f.source == source]))
            answers = told[q.id, source, "answered"]
            skipped, inactive = schedule.skipped(q.id, source), schedule.inactive(q.id, source)
            assert (answers, skipped, inactive) == (
                counts["answered"],
                counts["skipped"],
                counts["inactive"],
            )
            assert answers + skipped + inactive == schedule.passed(q.id, source)
