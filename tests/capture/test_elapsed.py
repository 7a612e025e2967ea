from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.capture.elapsed import MOST_PAUSES, Past, StreamTime

S = 10**9
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["opened", "picture", "paused", "resumed", "changed", "removed"]),
        st.integers(0, 9 * S),
    ),
    max_size=80,
)


@given(EVENTS, st.booleans())
def test_time_never_goes_back_and_no_picture_lies_in_a_pause(
    events: list[tuple[str, int]], is_live: bool
) -> None:
    timeline, now, opened, before = StreamTime(is_live), 10**15, 10**15, -1
    is_open = is_paused = False
    for event, later in events:
        now += later
        if event in ("changed", "removed"):
            past = timeline.left(now, removed=event == "removed")
            now += later
            timeline = StreamTime(is_live, past)
            timeline.resumed(now)
            is_open = is_paused = False
        elif event == "opened" and not is_paused:
            timeline.opened(now)
            is_open, opened = True, now
        elif event == "picture" and is_open and not is_paused:
            t = timeline.place(now - opened)
            assert t >= before
            assert not any(begin <= t < end for begin, end in timeline.pauses)
            before = t
        elif event == "paused":
            timeline.paused(now)
            is_open, is_paused = (False, True) if is_live else (is_open, is_paused)
        elif event == "resumed":
            timeline.resumed(now)
            is_paused = False
        ends = [moment for pause in timeline.pauses for moment in pause]
        assert ends == sorted(set(ends)), "in order, none empty, none touches another"
        assert len(timeline.pauses) <= MOST_PAUSES
        assert timeline.t_ns == (None if before < 0 else before)


def test_a_live_sources_time_is_that_since_its_first_connection() -> None:
    timeline = StreamTime(True)
    assert timeline.t_ns is None
    timeline.opened(100 * S)
    assert [timeline.place(t * S) for t in (0, 1, 2)] == [0, S, 2 * S]
    timeline.opened(110 * S)
    assert timeline.base_ns == 10 * S
    assert timeline.place(0) == 10 * S


def test_a_pause_before_the_first_connection_counts() -> None:
    timeline = StreamTime(True)
    timeline.paused(100 * S)
    timeline.resumed(160 * S)
    timeline.opened(161 * S)
    assert timeline.place(0) == 61 * S
    assert timeline.pauses == ((0, 60 * S),)


def test_a_pause_that_is_told_twice_is_one() -> None:
    timeline = StreamTime(True)
    timeline.opened(0)
    timeline.paused(10 * S)
    timeline.paused(12 * S)
    assert timeline.pauses == ()
    timeline.resumed(20 * S)
    timeline.resumed(30 * S)
    assert timeline.pauses == ((10 * S, 20 * S),)


def test_the_latest_pauses_are_kept() -> None:
    timeline = StreamTime(True)
    timeline.opened(0)
    for n in range(100):
        timeline.paused((10 * n + 1) * S)
        timeline.resumed((10 * n + 2) * S)
    assert len(timeline.pauses) == MOST_PAUSES
    assert timeline.pauses[-1] == (991 * S, 992 * S)


def test_a_recordings_time_is_its_own_and_stands_still_in_a_pause() -> None:
    timeline = StreamTime(False)
    timeline.opened(100 * S)
    timeline.paused(101 * S)
    timeline.resumed(200 * S)
    assert timeline.place(5 * S) == 5 * S
    assert timeline.pauses == ()


def test_a_changed_camera_goes_on_and_its_gap_is_no_pause() -> None:
    timeline = StreamTime(True)
    timeline.opened(100 * S)
    timeline.place(5 * S)
    timeline.index = 4
    after = StreamTime(True, timeline.left(106 * S, removed=False))
    after.resumed(106 * S)
    after.opened(108 * S)
    assert (after.place(0), after.index, after.pauses) == (8 * S, 4, ())


def test_a_camera_that_was_away_was_paused() -> None:
    timeline = StreamTime(True)
    timeline.opened(100 * S)
    timeline.place(5 * S)
    after = StreamTime(True, timeline.left(106 * S, removed=True))
    after.resumed(150 * S)
    after.opened(151 * S)
    assert (after.place(0), after.pauses) == (51 * S, ((6 * S, 50 * S),))


@pytest.mark.parametrize("grid", [S, 2 * S])
def test_a_recording_that_follows_another_begins_on_the_grid(grid: int) -> None:
    timeline = StreamTime(False)
    timeline.place(5 * S)
    after = StreamTime(False, timeline.left(0, removed=True), grid)
    assert after.place(0) == 6 * S
    assert after.pauses == ((5 * S + 1, 6 * S),)


def test_a_camera_in_the_place_of_a_recording_comes_after_it() -> None:
    after = StreamTime(True, Past(t_ns=5 * S, index=3))
    after.opened(10**15)
    assert after.place(0) == 5 * S + 1
