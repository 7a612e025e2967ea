from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.capture.sampler import Sampler

periods = st.lists(st.integers(1, 50), min_size=1, max_size=4)
times = st.lists(st.integers(0, 400), min_size=1, max_size=60).map(sorted)


@given(periods, times)
def test_a_frame_is_kept_exactly_when_some_question_comes_due_on_it(
    every: list[int], stamps: list[int]
) -> None:
    sampler = Sampler(every)
    next_tick = [0] * len(every)  # the engine's: tick k is due at the first frame with t // every >= k
    for t_ns in stamps:
        due = [t_ns // period >= tick for period, tick in zip(every, next_tick, strict=True)]
        assert sampler.keep(t_ns) == any(due)
        next_tick = [
            t_ns // period + 1 if is_due else tick
            for period, tick, is_due in zip(every, next_tick, due, strict=True)
        ]


@given(periods, times)
def test_dropping_the_frames_that_are_not_kept_changes_no_tick(every: list[int], stamps: list[int]) -> None:
    sampler = Sampler(every)
    kept = [t_ns for t_ns in stamps if sampler.keep(t_ns)]
    for period in every:
        ticks = {t_ns // period for t_ns in stamps}
        for tick in ticks:
            assert min(t for t in kept if t // period == tick) == min(
                t for t in stamps if t // period == tick
            )


def test_the_first_frame_is_kept_whatever_its_time() -> None:
    assert Sampler([10**9]).keep(123)
    assert Sampler([10**9]).keep(5 * 10**9 + 1)


def test_no_question_keeps_the_first_frame_only() -> None:
    sampler = Sampler([])
    assert [sampler.keep(t) for t in (0, 10**9, 10**12)] == [True, False, False]


def test_a_frame_on_the_grid_counts_for_the_new_tick() -> None:
    sampler = Sampler([200_000_000])
    frames = [int(Fraction(i, 15) * 10**9) for i in range(16)]  # 0.2 s = 3 frames of 15 fps, exactly
    assert [i for i, t_ns in enumerate(frames) if sampler.keep(t_ns)] == [0, 3, 6, 9, 12, 15]


@pytest.mark.parametrize("every", [[0], [-1], [5, 0]])
def test_a_period_must_be_positive(every: list[int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        Sampler(every)


def test_new_periods_keep_the_next_frame_and_then_their_own() -> None:
    sampler = Sampler([10])
    assert [t for t in range(25) if sampler.keep(t)] == [0, 10, 20]
    sampler.set_periods([10])  # the same: nothing happens
    assert not sampler.keep(25)
    sampler.set_periods([4])
    assert sampler.wanted_ns == 0
    assert [t for t in range(26, 40) if sampler.keep(t)] == [26, 28, 32, 36]
    sampler.set_periods([])
    assert [t for t in range(40, 60) if sampler.keep(t)] == [40]
    with pytest.raises(ValueError, match="positive"):
        sampler.set_periods([0])
