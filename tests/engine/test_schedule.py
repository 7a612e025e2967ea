from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from streamqa.engine.schedule import Schedule
from streamqa.types import NS_PER_S, Due, Question


def question(id: str = "q", every_ns: int = NS_PER_S, sources: tuple[str, ...] | None = None) -> Question:
    return Question(id=id, ask="?", kind="yes_no", every_ns=every_ns, sources=sources)


def ticks(schedule: Schedule, *times_s: float) -> list[tuple[int, int]]:
    return [(d.tick, d.skipped) for t in times_s for d in schedule.due("cam", round(t * NS_PER_S))]


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
    (due,) = schedule.due("cam", 10**18)
    assert due == Due(question(every_ns=NS_PER_S // 5), far, far - 4)


def test_time_that_stands_or_goes_back_makes_nothing_due() -> None:
    schedule = Schedule([question()])
    assert ticks(schedule, 4, 4, 3, 0) == [(4, 4)]
    assert schedule.passed("q", "cam") == 5


def test_questions_of_other_sources_are_not_due() -> None:
    schedule = Schedule([question("a", sources=("cam",)), question("b"), question("c", sources=("door",))])
    assert [d.question.id for d in schedule.due("cam", 0)] == ["a", "b"]
    assert [d.question.id for d in schedule.due("door", 0)] == ["b", "c"]
    assert schedule.passed("c", "cam") == schedule.skipped("c", "cam") == 0


def test_questions_share_frames() -> None:
    schedule = Schedule([question("a", NS_PER_S), question("b", 2 * NS_PER_S)])
    due = [tuple(d.question.id for d in schedule.due("cam", s * NS_PER_S)) for s in range(5)]
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
        for due in schedule.due(source, t_ns):
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
    due_first = [first.due(*frame) for frame in frames[:cut]]
    due_second = [second.due(*frame) for frame in frames]
    assert due_second[: len(due_first)] == due_first  # the same stream gives the same ticks


def test_peeking_owes_nothing() -> None:
    schedule = Schedule([question("a"), question("b", 5 * NS_PER_S, ("gate",))])
    for _ in range(2):
        assert [q.id for q in schedule.peek("gate", 3 * NS_PER_S)] == ["a", "b"]
    assert [q.id for q in schedule.peek("door", 3 * NS_PER_S)] == ["a"]
    assert [(d.question.id, d.skipped) for d in schedule.due("gate", 3 * NS_PER_S)] == [("a", 3), ("b", 0)]
    assert schedule.peek("gate", 3 * NS_PER_S) == ()
    assert [q.id for q in schedule.peek("gate", 4 * NS_PER_S)] == ["a"]
