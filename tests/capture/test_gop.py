"""The policy of skipping, driven against a decoder that knows which pictures it could not have got right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamqa.capture import gop
from streamqa.capture.gop import KeyframeSpacing, Rate, Shortcut
from streamqa.capture.sampler import Sampler
from streamqa.capture.timeline import Mark, Presentation, Timeline

S = 10**9
TENTH = Fraction(1, 10)


@dataclass(eq=False)
class Coded:
    """One coded picture; `refs` are those that it is predicted from."""

    pts: int
    refs: tuple[Coded, ...] = ()
    key: bool = False  # as flagged
    used: bool = False  # others are predicted from it
    fresh: bool = False  # the decoder forgets what is before it (IDR): all that waits is shown first
    hidden: bool = False  # gives no picture
    dts: int = 0


@dataclass
class Clip:
    """Coded pictures in the order of decoding."""

    coded: list[Coded] = field(default_factory=list)
    shown: int = 0

    def add(self, pts: int, *refs: Coded, **flags: bool) -> Coded:
        one = Coded(pts, refs, **flags)
        for ref in refs:
            ref.used = True
        self.coded.append(one)
        return one

    def group(self, length: int, bframes: int, is_open: bool, lies: bool) -> None:
        """One GOP of `length` anchors with `bframes` between them; open: B-frames before the keyframe, too."""
        last = next((one for one in reversed(self.coded) if one.key or one.used), None)
        leading = bframes if is_open and last is not None else 0
        anchor = self.add(self.shown + leading, key=True, fresh=not leading)
        for i in range(leading):
            self.add(self.shown + i, last, anchor)
        self.shown += leading + 1
        for i in range(length):
            following = self.add(self.shown + bframes, anchor, key=lies and i % 2 == 1)
            for b in range(bframes):
                self.add(self.shown + b, anchor, following)
            anchor, self.shown = following, self.shown + bframes + 1

    def stamped(self) -> Clip:
        """With decoding times: as late as can be, and never after a picture's own time."""
        latest = 10**9
        for one in reversed(self.coded):
            latest = one.dts = min(latest - 1, one.pts)
        return self


class FakeDecoder:
    """Gives pictures in the order they are shown, and whether those they need were decoded since the last flush."""

    def __init__(self, delay: int) -> None:
        self._delay = delay
        self.decoded = 0
        self.flush()

    def flush(self) -> None:
        self._right: set[Coded] = set()
        self._waiting: list[Coded] = []

    def feed(self, one: Coded, whole: bool) -> list[tuple[Coded, bool]]:
        shown = self.drain() if one.fresh else []
        if not whole and not one.used and not one.key:
            return shown
        self.decoded += 1
        if all(ref in self._right for ref in one.refs):
            self._right.add(one)
        if not one.hidden:
            self._waiting.append(one)
        if len(self._waiting) > self._delay:
            first = min(self._waiting, key=lambda waiting: waiting.pts)
            self._waiting.remove(first)
            shown.append((first, first in self._right))
        return shown

    def drain(self) -> list[tuple[Coded, bool]]:
        waiting, self._waiting = sorted(self._waiting, key=lambda one: one.pts), []
        return [(one, one in self._right) for one in waiting]


def everything(clip: Clip, delay: int) -> list[int]:
    decoder = FakeDecoder(delay)
    shown = [picture for one in clip.coded for picture in decoder.feed(one, True)] + decoder.drain()
    assert all(right for _, right in shown)
    return [one.pts for one, _ in shown]


class Reading:
    """What a recording does with the policy, over the fake decoder."""

    def __init__(self, clip: Clip, delay: int) -> None:
        self.decoder = FakeDecoder(delay)
        self.way = Shortcut(Presentation(Timeline(Fraction(0), TENTH), TENTH))
        self._coded = iter(clip.coded)
        self._of: dict[Mark, Coded] = {}
        self._ready: list[tuple[Mark, bool]] = []

    def read(self, wanted_ns: int) -> tuple[Mark, bool] | None:
        picture = self._take(wanted_ns)
        self.way.seek(wanted_ns)
        while picture is None:
            step = self.way.next()
            if step.do == "end":
                return None
            self._do(step)
            picture = self._take(wanted_ns)
        return picture

    def _do(self, step: gop.Step) -> None:
        if step.do == "read":
            one = next(self._coded, None)
            if one is None:
                self.way.end()
                return
            mark = Mark(one.pts, one.dts, one.key, size=1)
            self._of[mark] = one
            self.way.add(mark)
        elif step.do == "drain":
            self._came(self.decoder.drain())
            self._undoing(self.way.drained)
        else:
            assert step.mark is not None
            if step.flush:
                self.decoder.flush()
            self._came(self.decoder.feed(self._of[step.mark], step.whole))

    def _came(self, shown: list[tuple[Coded, bool]]) -> None:
        for one, right in shown:
            marks: list[Mark | None] = []
            if self._undoing(
                lambda one=one, marks=marks: marks.append(self.way.came(one.pts, not one.refs, False))
            ):
                return
            assert marks[0] is not None
            self._ready.append((marks[0], right))

    def _undoing(self, step: Callable[[], None]) -> bool:
        before = self.way.went_back
        step()
        if self.way.went_back == before:
            return False
        self._ready = [ready for ready in self._ready if (ready[0].place or 0) < self.way.restart]
        return True

    def _take(self, wanted_ns: int) -> tuple[Mark, bool] | None:
        while self._ready:
            mark, right = self._ready.pop(0)
            if mark.t_ns >= wanted_ns and self.way.give(mark):
                return mark, right
        return None


def sampled(reading: Reading, every: list[int]) -> list[int]:
    """The timestamps of the pictures that periods of so many nanoseconds keep; each must be decoded rightly."""
    sampler, kept = Sampler(every), []
    while (picture := reading.read(sampler.wanted_ns)) is not None:
        mark, right = picture
        assert right, f"smeared at {mark.pts}"
        assert sampler.keep(mark.t_ns)
        kept.append(mark.pts)
    return kept


def expected(pts: list[int], every: list[int]) -> list[int]:
    sampler = Sampler(every)
    return [stamp for stamp in pts if sampler.keep(stamp * S // 10)]


groups = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 3), st.booleans(), st.booleans()), min_size=1, max_size=8
)
periods = st.lists(st.integers(1, 60).map(lambda tenths: tenths * S // 13), min_size=1, max_size=3)


@given(groups, st.integers(3, 5), periods)
def test_the_samples_are_those_of_decoding_everything(
    shape: list[tuple[int, int, bool, bool]], delay: int, every: list[int]
) -> None:
    clip = Clip()
    for one in shape:
        clip.group(*one)
    clip.stamped()
    assert sampled(Reading(clip, delay), every) == expected(everything(clip, delay), every)


@given(groups, periods)
def test_however_little_may_be_held(shape: list[tuple[int, int, bool, bool]], every: list[int]) -> None:
    clip = Clip()
    for length, bframes, is_open, _ in shape:
        clip.group(length, bframes, is_open, False)
    clip.stamped()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gop, "MOST_PACKETS", 4)
        assert sampled(Reading(clip, 3), every) == expected(everything(clip, 3), every)


@example(
    [(1, 2, False, False), (1, 1, False, False), (1, 2, True, False)], 2, 4
)  # leading pictures, on going back
@given(groups, st.integers(0, 200), st.integers(3, 5))
def test_every_picture_comes_when_every_one_is_wanted(
    shape: list[tuple[int, int, bool, bool]], first: int, delay: int
) -> None:
    """Also from some time on, and also where pictures are hidden that were wanted."""
    clip = Clip()
    for one in shape:
        clip.group(*one)
    for one in clip.coded[5::7]:
        one.hidden = not one.used
    clip.stamped()
    reading, given_pts = Reading(clip, delay), []
    while (picture := reading.read(first * S // 10)) is not None:
        assert picture[1]
        given_pts.append(picture[0].pts)
    assert given_pts == [pts for pts in everything(clip, delay) if pts >= first]


def regular(gops: int, length: int, bframes: int = 0, lies: bool = False) -> Clip:
    clip = Clip()
    for _ in range(gops):
        clip.group(length, bframes, False, lies)
    return clip.stamped()


def test_of_short_gops_only_the_keyframes_are_decoded() -> None:
    clip = regular(20, 9)  # a keyframe per second
    reading = Reading(clip, 0)
    assert sampled(reading, [S]) == list(range(0, 200, 10))
    assert reading.decoder.decoded == 20


def test_of_long_gops_what_is_after_the_target_is_not_decoded() -> None:
    clip = regular(4, 39)  # a keyframe every four seconds, a picture wanted every three
    reading = Reading(clip, 0)
    assert sampled(reading, [3 * S]) == [0, 30, 60, 90, 120, 150]
    assert reading.decoder.decoded == 31 + 21 + 11 + 1 + 30  # from the keyframes at 0, 40, 80, 120


def test_a_target_that_is_the_next_keyframe_costs_one_picture() -> None:
    clip = regular(
        3, 3, bframes=3
    )  # keyframes at 0, 1.3 and 2.6 s, and the grid just behind the pictures before
    reading = Reading(clip, 3)
    assert reading.read(0) is not None
    before = reading.decoder.decoded
    found = reading.read(26 * S // 10 - S // 20)
    assert found is not None
    assert found[0].pts == 26
    assert reading.decoder.decoded - before == 4  # the keyframe, and what is needed until it comes out


def test_pictures_from_which_none_is_predicted_are_left_out_on_the_way() -> None:
    clip = regular(1, 30, bframes=3)
    reading = Reading(clip, 3)
    assert sampled(reading, [5 * S]) == [0, 50, 100]
    assert reading.decoder.decoded < 60  # of 121


def test_false_keyframes_are_found_out_and_cost_no_picture() -> None:
    clip = regular(1, 100, lies=True)
    reading = Reading(clip, 0)
    assert sampled(reading, [2 * S]) == [0, 20, 40, 60, 80, 100]
    assert (reading.way.went_back, reading.way.missed, reading.way.everything) == (1, 0, True)


def test_what_cannot_be_undone_is_counted() -> None:
    clip = regular(1, 100, lies=True)
    reading = Reading(clip, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gop, "MOST_PACKETS", 5)
        while reading.read(90 * S // 10) is None:
            pytest.fail("the pictures after it still come")
    assert (reading.way.went_back, reading.way.missed, reading.way.everything) == (0, 1, True)


def test_packets_without_timestamps_are_all_decoded() -> None:
    way = Shortcut(Presentation(Timeline(None, TENTH), TENTH))
    way.seek(5 * S)
    way.add(Mark(0, 0, True))
    way.add(Mark(None, None, False))
    assert (way.everything, way.stamped) == (True, False)
    assert [way.next().do for _ in range(3)] == ["feed", "feed", "read"]
    way.end()
    assert [way.next().do for _ in range(2)] == ["drain", "end"]


def test_damage_is_no_reason_to_mistrust_keyframes() -> None:
    clip = regular(3, 9)
    way = Shortcut(Presentation(Timeline(None, TENTH), TENTH))
    way.seek(0)
    marks = [Mark(one.pts, one.dts, one.key) for one in clip.coded]
    for mark in marks[:8]:
        way.add(mark)
    assert way.next().mark is marks[0]
    assert way.came(0, True, False) is marks[0]
    assert way.give(marks[0])
    way.seek(5 * S // 10)
    fed = [way.next().mark for _ in range(5)]
    assert fed == marks[1:6]
    way.failed(marks[5])  # the target
    assert way.next().mark is marks[6]
    assert way.came(6, False, False) is marks[6]
    assert not way.everything


def test_rate_and_spacing_are_as_measured() -> None:
    rate, gops = Rate(), KeyframeSpacing()
    assert (rate.fps, gops.mean_s, gops.longest_ns) == (None, None, None)
    for i in range(200):
        rate.add(i * S // 25)
    assert rate.fps == pytest.approx(25)
    for t_s in (0, 2, 4, 3, 6):  # back: it begins anew
        gops.add(t_s * S)
    assert gops.mean_s == pytest.approx((2 + 2 + 3) / 3)
    assert gops.longest_ns == 3 * S
