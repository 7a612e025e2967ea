from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.capture.gop import MOST_PACKETS
from streamqa.capture.live import LiveShortcut, WantedSpacing
from streamqa.capture.sampler import NEVER_NS, Sampler
from streamqa.capture.timeline import Mark

S = 10**9
FPS = 30


def stream(gops: list[int], first: int = 0) -> Iterator[Mark]:
    """Packets at 30 per second, the first `first` / 30 s after time 0; keyframes so many packets apart."""
    number = first
    for length in gops:
        for i in range(length):
            yield Mark(number, number, key=i == 0, size=1000, t_ns=number * S // FPS)
            number += 1


class Camera:
    """Follows the policy, with a decoder that gives each picture at once, if it could know it."""

    def __init__(self, every: list[int]) -> None:
        self.way = LiveShortcut()
        self.sampler = Sampler(every)
        self.kept: list[int] = []  # numbers of pictures
        self.decoded = 0
        self._reached: int | None = None  # the packet decoded last since the flush
        self._took = -1

    def watch(self, packets: Iterator[Mark]) -> None:
        for mark in packets:
            ready: list[int] = []
            for step in self.way.add(mark, self.sampler.wanted_ns):
                if step.flush:
                    self._reached = None
                if step.do == "drain":
                    self._reached = None
                    continue
                assert step.mark is not None
                number = step.mark.dts or 0
                assert step.mark.key or self._reached == number - 1, "predicted from what was not decoded"
                self._reached = number
                self.decoded += 1
                ready += [number] if step.whole else []
            for number in ready:
                t_ns = number * S // FPS
                if number > self._took and t_ns >= self.sampler.wanted_ns and self.sampler.keep(t_ns):
                    self.kept.append(number)
                    self._took = number


def ticks(kept: list[int], every_s: float) -> list[int]:
    return [math.floor(number / FPS / every_s) for number in kept]


@pytest.mark.parametrize("first", range(0, 30, 2))
@pytest.mark.parametrize("length", [5, 15, 29, 30, 31])
def test_no_tick_is_missed_whatever_the_phase(first: int, length: int) -> None:
    camera = Camera([S])
    camera.watch(stream([length] * (30 * FPS // length), first))
    seen = ticks(camera.kept, 1)
    assert seen == list(range(seen[-1] + 1))
    assert seen[-1] >= 28


def test_of_a_second_only_the_keyframe_is_decoded() -> None:
    camera = Camera([S])
    camera.watch(stream([30] * 10, first=10))
    learned = camera.decoded
    assert learned <= 91  # three keyframes, two ticks
    camera.watch(stream([30] * 20, first=310))
    assert camera.decoded - learned == 20
    assert camera.kept[-20:] == list(range(310, 910, 30))


def test_a_keyframe_just_before_the_tick_is_decoded_up_to_it() -> None:
    camera = Camera([S])
    camera.watch(stream([30] * 20, first=29))  # keyframes one picture before each tick
    assert camera.kept[-10:] == list(range(330, 630, 30))
    assert camera.decoded <= 91 + 20 * 2


def test_long_gops_and_fast_questions_decode_everything() -> None:
    for length, every in ((60, S), (30, S // 2)):
        camera = Camera([every])
        camera.watch(stream([length] * 10))
        assert camera.decoded == length * 10
        assert not camera.way.keyframes_only


def test_pictures_before_the_wanted_time_need_not_come_out() -> None:
    way = LiveShortcut()
    packets = list(stream([60]))
    steps = [step for mark in packets for step in way.add(mark, S)]
    assert [step.whole for step in steps] == [True] + [False] * 29 + [True] * 30


def test_what_nobody_wants_is_not_decoded_of_streams_of_keyframes() -> None:
    camera = Camera([S])
    camera.watch(stream([1] * 300))
    assert camera.decoded <= 61 + 8
    assert camera.kept == list(range(0, 300, 30))


def test_a_gop_that_turns_out_longer_is_decoded_from_where_it_began() -> None:
    camera = Camera([S])
    camera.watch(stream([30] * 6 + [200], first=10))  # 190 is the last keyframe
    assert not camera.way.keyframes_only
    seen = ticks(camera.kept, 1)
    assert seen == list(range(13))


def test_a_new_question_is_served_from_the_keyframe_that_is_held() -> None:
    camera = Camera([S])
    camera.watch(stream([30] * 6, first=10))
    assert camera.way.keyframes_only
    faster = Sampler([S // 10])
    faster.keep(189 * S // FPS)
    camera.sampler = faster
    camera.watch(stream([30] * 2, first=190))
    assert not camera.way.keyframes_only
    assert len([number for number in camera.kept if number >= 192]) >= 18


def test_what_is_held_is_bounded() -> None:
    camera = Camera([100 * S])
    camera.watch(stream([100] * 20))
    camera.sampler = Sampler([60 * S])
    camera.watch(stream([2 * MOST_PACKETS], first=2000))
    assert len(camera.way._held.marks) <= MOST_PACKETS + 1


def test_without_any_question_nothing_is_decoded() -> None:
    way = LiveShortcut()
    steps = [step for mark in stream([30] * 10) for step in way.add(mark, NEVER_NS)]
    assert len([step for step in steps if step.mark]) == 60  # until the spacing is known


def test_leading_pictures_of_a_keyframe_are_not_decoded_without_those_before_it() -> None:
    way = LiveShortcut()
    for mark in stream([30] * 8, first=3):
        way.add(mark, 1 + mark.t_ns // S * S)  # a tick per second
    key, leading, following = (
        Mark(pts, dts, pts == 252, t_ns=dts * S // FPS) for pts, dts in ((252, 243), (250, 244), (253, 245))
    )
    assert way.keyframes_only
    assert way.add(key, 9 * S) == []
    assert way.add(leading, 9 * S) == []
    fed = [step.mark for step in way.add(following, 9 * S + S // 10)]  # wanted more often: all that is held
    assert fed == [key, following]


@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=30),
    st.integers(0, 60),
    st.lists(st.integers(2, 60).map(lambda n: n * S // 20), min_size=1, max_size=3),
)
def test_any_gops_give_only_what_can_be_decoded_and_nothing_out_of_order(
    gops: list[int], first: int, every: list[int]
) -> None:
    camera = Camera(every)
    camera.watch(stream(gops, first))
    assert camera.kept == sorted(set(camera.kept))
    assert camera.kept[0] == first


def test_the_slide_is_seen_from_what_is_wanted() -> None:
    wanted = WantedSpacing()
    for t_s in (0, 0, 7, 7):
        wanted.add(t_s * S)
    assert wanted.shortest_ns is None  # 7 s after the beginning the grid has a tick, no more is known
    for t_s in (10, 10, 11, 14):
        wanted.add(t_s * S)
    assert wanted.shortest_ns == S
