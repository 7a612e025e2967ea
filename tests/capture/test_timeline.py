from __future__ import annotations

import random
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from streamqa.capture.timeline import Mark, Presentation, Timeline

S = 10**9
TENTH = Fraction(1, 10)


def test_stream_time_is_exact_and_relative_to_the_start() -> None:
    clock = Timeline(Fraction(7, 3), Fraction(1001, 30000))
    stamps = [Fraction(7, 3) + i * Fraction(1001, 30000) for i in range(300)]
    assert [clock.at(stamp) for stamp in stamps] == [i * 1001 * S // 30000 for i in range(300)]


def test_without_a_start_the_first_timestamp_is_zero() -> None:
    clock = Timeline(None, TENTH)
    assert [clock.at(Fraction(50)), clock.at(Fraction(51))] == [0, S]


def test_pictures_without_timestamps_follow_one_another_at_the_frame_rate() -> None:
    clock = Timeline(None, TENTH)
    assert [clock.at(None) for _ in range(4)] == [0, S // 10, S // 5, 3 * S // 10]


def test_a_small_step_back_stands_still_and_a_large_one_begins_a_segment() -> None:
    clock = Timeline(Fraction(0), TENTH)
    stamps = [Fraction(10), Fraction(19, 2), Fraction(0), Fraction(1)]
    assert [clock.at(stamp) for stamp in stamps] == [10 * S, 10 * S, 10 * S + S // 10, 11 * S + S // 10]


@given(st.lists(st.none() | st.fractions(-100, 100), max_size=30), st.none() | st.fractions(-9, 9))
def test_stream_time_never_goes_back(stamps: list[Fraction | None], start: Fraction | None) -> None:
    clock = Timeline(start, TENTH)
    times = [clock.at(stamp) for stamp in stamps]
    assert times == sorted(times)
    assert all(time >= 0 for time in times)


def test_a_long_gap_is_real_or_a_cut_as_the_format_has_it() -> None:
    stamps = [Fraction(0), TENTH, Fraction(20), Fraction(20) + TENTH, Fraction(24)]
    real = Timeline(None, TENTH)
    assert [real.at(stamp) * 10 // S for stamp in stamps] == [0, 1, 200, 201, 240]
    cut = Timeline(None, TENTH, gaps_are_real=False)
    assert [cut.at(stamp) * 10 // S for stamp in stamps] == [0, 1, 2, 3, 42]


def test_pictures_that_are_far_apart_as_a_rule_are_no_cuts() -> None:
    cut = Timeline(None, Fraction(8), gaps_are_real=False)
    assert [cut.at(Fraction(8 * i)) for i in range(4)] == [0, 8 * S, 16 * S, 24 * S]
    faster = Timeline(None, TENTH, gaps_are_real=False)
    stamps = [Fraction(0), Fraction(5), Fraction(14), Fraction(24)]  # one more second at a time than before
    assert [faster.at(stamp) for stamp in stamps] == [0, 5 * S, 14 * S, 24 * S]


def test_the_end_is_after_the_last_picture() -> None:
    clock = Timeline(None, TENTH)
    assert clock.end_ns(None) == 0
    clock.at(Fraction(3))
    clock.at(Fraction(5))
    assert (clock.end_ns(None), clock.end_ns(Fraction(1, 2))) == (21 * S // 10, 25 * S // 10)


def test_a_timeline_goes_back() -> None:
    clock = Timeline(None, TENTH)
    before = [clock.at(Fraction(1)), clock.at(Fraction(2))]
    moment = clock.moment
    clock.at(Fraction(0))
    clock.go_back(moment)
    assert before == [0, S]
    assert clock.at(Fraction(3)) == 2 * S


def presentation() -> Presentation:
    return Presentation(Timeline(None, TENTH), TENTH)


def mark(pts: int, dts: int | None, shown: bool = True) -> Mark:
    return Mark(pts, dts, key=False, shown=shown)


def test_a_place_is_known_once_nothing_can_come_before_it() -> None:
    order = presentation()
    known = [
        [m.pts for m in order.push(mark(*stamps))] for stamps in [(0, -2), (4, -1), (2, 0), (1, 1), (3, 2)]
    ]
    assert known == [[], [], [0], [1], [2]]
    assert [(m.pts, m.place, m.t_ns) for m in order.flush()] == [(3, 3, 3 * S // 10), (4, 4, 4 * S // 10)]


def test_timestamps_that_begin_anew_settle_all_before_them() -> None:
    order = presentation()
    for pts, dts in [(50, 48), (53, 49), (51, 50)]:
        order.push(mark(pts, dts))
    settled = order.push(mark(0, -2))
    assert [m.pts for m in settled] == [51, 53]
    assert order.in_order
    (first,) = order.flush()
    assert (first.place, first.t_ns, first.epoch) == (3, 4 * S // 10, 1)


def test_without_decoding_times_places_are_known_a_little_later() -> None:
    order = presentation()
    known = [m for i in range(60) for m in order.push(mark(i ^ 3, None))]
    assert [m.pts for m in known] == list(range(28))
    assert order.in_order


def test_timestamps_that_contradict_each_other_are_noticed() -> None:
    order = presentation()
    for pts, dts in [(0, 0), (3, 3), (1, 4)]:
        order.push(mark(pts, dts))
    assert not order.in_order


def test_what_is_not_shown_has_a_place_but_moves_no_time() -> None:
    order = presentation()
    marks = [mark(-70, -70, shown=False), mark(-60, -60, shown=False), mark(0, 0), mark(1, 1)]
    settled = [m for one in marks for m in order.push(one)]
    assert [(m.place, m.t_ns) for m in settled] == [(0, 0), (1, 0), (2, 0), (3, S // 10)]


@given(st.lists(st.integers(1, 8), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_any_reordering_within_the_decoders_delay_is_undone(groups: list[int], rng: random.Random) -> None:
    """Groups of pictures that are decoded in any order, but never before they could be shown."""
    order, delay, first, settled = presentation(), max(groups), 0, []
    for size in groups:
        shown = list(range(first, first + size))
        rng.shuffle(shown)
        for i, pts in enumerate(shown):
            settled += order.push(mark(pts, first + i - delay))
        first += size
    settled += order.flush()
    assert [m.pts for m in settled] == list(range(first))
    assert [m.t_ns for m in settled] == [i * S // 10 for i in range(first)]
    assert order.in_order
