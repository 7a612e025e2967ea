"""Which packets to decode, so that the wanted pictures come out and few others. Pure.

A picture needs those before it in its group of pictures (GOP), back to the keyframe, and nothing before that.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Literal, NamedTuple

from streamqa.capture.timeline import Mark, Presentation
from streamqa.types import NS_PER_S

MOST_PACKETS = 1024
MOST_BYTES = 32 << 20
_CUT_NS = 600 * NS_PER_S
_GOPS = 4
MOST_OUT = 64  # more than any decoder holds back


class Step(NamedTuple):
    """What to do next."""

    do: Literal["read", "feed", "drain", "end"]
    mark: Mark | None = None  # to feed
    flush: bool = False  # the decoder first: what it holds has nothing to do with this packet
    whole: bool = True  # False: leave it out if no other picture is predicted from it


class Held:
    """Packets in the order of decoding, within bounds."""

    def __init__(self, marks: Iterable[Mark] = ()) -> None:
        self.marks: deque[Mark] = deque(marks)
        self.bytes = sum(mark.size for mark in self.marks)

    def add(self, mark: Mark) -> None:
        """At the end."""
        self.marks.append(mark)
        self.bytes += mark.size

    def pop(self) -> Mark:
        """The oldest."""
        mark = self.marks.popleft()
        self.bytes -= mark.size
        return mark

    @property
    def is_over(self) -> bool:
        """Whether they are more than should be kept."""
        return len(self.marks) > MOST_PACKETS or self.bytes > MOST_BYTES


class Rate:
    """Frames per second as measured, of the last hundred packets."""

    def __init__(self) -> None:
        self._times: deque[int] = deque(maxlen=100)

    def add(self, t_ns: int) -> None:
        """A packet at this time: when it is to be decoded, or when it arrived. A step back begins anew."""
        if self._times and t_ns < self._times[-1]:
            self._times.clear()
        self._times.append(t_ns)

    @property
    def fps(self) -> float | None:
        """None before there are two different times."""
        span_ns = self._times[-1] - self._times[0] if self._times else 0
        return (len(self._times) - 1) * NS_PER_S / span_ns if span_ns else None


class KeyframeSpacing:
    """How far apart the last few keyframes were."""

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._distances: deque[int] = deque(maxlen=_GOPS)

    def add(self, t_ns: int) -> None:
        """A keyframe at this time. One that steps back, or far ahead, begins anew."""
        distance_ns = 0 if self._last_ns is None else t_ns - self._last_ns
        if 0 < distance_ns <= _CUT_NS:
            self._distances.append(distance_ns)
        self._last_ns = t_ns

    @property
    def mean_s(self) -> float | None:
        """In seconds; None before there were two keyframes."""
        return sum(self._distances) / len(self._distances) / NS_PER_S if self._distances else None

    @property
    def longest_ns(self) -> int | None:
        """None before there were three keyframes."""
        return max(self._distances) if len(self._distances) > 1 else None


class Shortcut:
    """The way through a recording to the wanted pictures, exactly those that decoding everything would give.

    Packets are held until it is known which is the first shown at or after the wanted time. Then everything
    before the last keyframe that is not shown after it is left out, and what is between is decoded, without
    the pictures from which no other is predicted. Where a picture does not come out as foreseen (intra refresh,
    packets that are wrongly called keyframes, damage), all since the last keyframe that proved to be one is
    decoded again, and from there on everything.
    """

    def __init__(self, presentation: Presentation) -> None:
        """`presentation` gives the packets their times."""
        self._presentation = presentation
        self._held = Held()  # read, not yet fed
        self._past = Held()  # fed or left out since the last proven keyframe: to go back there
        self._can_go_back = True
        self._proven: Mark | None = None  # that keyframe; None: the beginning
        self._out: list[Mark] = []  # fed, their pictures may still come
        self._wanted_ns = 0
        self._given = -1  # place of the picture given last
        self._target: Mark | None = (
            None  # the first picture to give, once known; its packet is held or in `_out`
        )
        self._gap = False  # whether packets were left out before those held
        self._entry: Mark | None = (
            None  # the keyframe where decoding began anew: what is shown before it is lost
        )
        self._unproven: Mark | None = None  # the same, until its picture came
        self._skipped = False  # whether anything was left out so far
        self._damaged = False  # since the last good keyframe: pictures may be missing for no fault of ours
        self._ended = self._drained = False
        self.everything = False  # skip nothing any more
        self.stamped = (
            True  # False: times come with the pictures, since packets have none or contradictory ones
        )
        self.went_back = 0  # how often skipping failed, and was undone
        self.restart = (
            0  # place of the first picture that comes again after it; what was shown before it is right
        )
        self.missed = 0  # how often it failed and could not be undone: a picture was lost

    def add(self, mark: Mark) -> None:
        """The next packet, in the order of decoding."""
        self._held.add(mark)
        if not self.stamped:
            return
        if mark.pts is not None:
            self._settle(self._presentation.push(mark))
        if mark.pts is None or not self._presentation.in_order:
            self._settle(self._presentation.flush())
            self.stamped, self.everything = False, True

    def end(self) -> None:
        """There are no more packets."""
        self._ended = True
        if self.stamped:
            self._settle(self._presentation.flush())

    def seek(self, wanted_ns: int) -> None:
        """From now on the pictures at or after this stream time are wanted."""
        self._wanted_ns = wanted_ns
        self._find()

    def give(self, mark: Mark) -> bool:
        """Whether this picture has not been given yet; now it has."""
        if mark.place is None:
            return True
        is_next, self._given = mark.place > self._given, max(mark.place, self._given)
        return is_next

    def next(self) -> Step:
        """What to do to get nearer to the target."""
        held = self._held.marks
        while held and (self.everything or self._target is not None or self._held.is_over):
            if self.stamped and held[0].place is None:
                break  # its time is known soon
            mark = self._pop()
            if not self._is_beyond_reach(mark):
                return self._feed(mark)
        if not self._ended:
            return Step("read")
        if self._drained or not (self.everything or self._target is not None):
            return Step("end")
        self._drained = True
        return Step("drain")

    def came(self, pts: int | None, intra: bool, corrupt: bool) -> Mark | None:
        """A picture came out of the decoder: its packet, or None where it has none of that timestamp.

        `intra`: whether it is predicted from no other. When `went_back` has grown by it, it is not to be used.
        """
        mark = None if pts is None else next((mark for mark in self._out if mark.pts == pts), None)
        if mark is None:
            return None
        passed = [other for other in self._out if _is_before(other, mark)]
        self._out = [other for other in self._out if other is not mark and other not in passed][-MOST_OUT:]
        if self.everything:
            return mark
        good_key = mark.key and intra and not corrupt
        if self._unproven is not None and not (mark is self._unproven and good_key):
            self._go_back()
        elif corrupt:
            self._damaged = True
        elif self._has_missed(passed):
            self._go_back()
        elif good_key:
            self._prove(mark)
        if self._target in passed:
            self._find()
        return mark

    def failed(self, mark: Mark) -> None:
        """A packet that was fed could not be decoded."""
        if mark is self._unproven:
            self._go_back()
            return
        self._damaged = True
        self._out = [other for other in self._out if other is not mark]
        if mark is self._target:
            self._find()

    def damaged(self) -> None:
        """Packets are missing here."""
        self._damaged = True

    def drained(self) -> None:
        """The decoder has given all that it had."""
        if self._unproven is not None or self._has_missed(self._out):
            self._go_back()
        self._out = []
        self._find()

    def _settle(self, marks: Iterable[Mark]) -> None:
        for mark in marks:
            if self.everything or self._target is not None:
                continue
            if self._is_wanted(mark):
                self._target = mark
                self._leave_out()
            elif mark.key:
                self._leave_out()

    def _find(self) -> None:
        """Look for the target anew among what is known."""
        if self.everything:
            return
        out, held = (filter(self._is_wanted, marks) for marks in (self._out, self._held.marks))
        self._target = min(out, key=_place, default=None)
        if self._target is None:
            self._target = min(held, key=_place, default=None)
            self._leave_out()

    def _leave_out(self) -> None:
        """Leave out what is held before the last keyframe from which the target can be reached.

        Without a target: before the last keyframe, when all before it are known not to be wanted.
        """
        limit = math.inf if self._target is None else _place(self._target)
        start, latest = None, -1
        for mark in self._held.marks:
            if mark.place is None:
                break
            if mark.key and latest < mark.place <= limit:
                start = mark
            latest = max(latest, mark.place)
            if mark is self._target:
                break
        while start is not None and self._held.marks[0] is not start:
            self._pop()
            self._gap = True

    def _pop(self) -> Mark:
        mark = self._held.pop()
        if not self.everything:
            self._past.add(mark)
            while self._past.is_over:
                self._past.pop()
                self._can_go_back = False
        return mark

    def _is_beyond_reach(self, mark: Mark) -> bool:
        """Whether it is shown before the keyframe where decoding began: what it is predicted from is not there."""
        entry = self._entry
        if entry is None or mark.pts is None or entry.pts is None:
            return False
        if mark.key:
            self._entry = None
            return False
        return mark.epoch == entry.epoch and mark.pts < entry.pts

    def _feed(self, mark: Mark) -> Step:
        flush, self._gap = self._gap, False
        if flush:
            self._out = []
            if not self.everything:
                self._entry = mark
                self._unproven = mark if mark.shown else None
            elif mark is self._proven:
                self._entry = mark
        whole = self.everything or mark.key or mark.t_ns >= self._wanted_ns
        self._skipped = self._skipped or flush or not whole
        self._out.append(mark)
        return Step("feed", mark, flush, whole)

    def _prove(self, key: Mark) -> None:
        """`key` is a keyframe indeed: going back need not go further than to it."""
        self._unproven = None
        self._damaged = False
        while self._past.marks and self._past.marks[0] is not key:
            self._past.pop()
        self._can_go_back = bool(self._past.marks)
        self._proven = key

    def _go_back(self) -> None:
        """Skipping has failed: to the last proven keyframe, and from there on without it."""
        if self._can_go_back:
            self._held = Held((*self._past.marks, *self._held.marks))
            self._out = []
            self._gap = True
            self._drained = False
            self.went_back += 1
            self.restart = 0 if self._proven is None else _place(self._proven)
        else:
            self.missed += 1
        self.everything = True
        self._past = Held()
        self._entry = self._unproven = self._target = None

    def _has_missed(self, marks: Iterable[Mark]) -> bool:
        """Whether pictures of these, which do not come any more, were wanted, and no damage is to blame."""
        return self._skipped and not (self._damaged or self.everything) and any(map(self._is_wanted, marks))

    def _is_wanted(self, mark: Mark) -> bool:
        return mark.shown and _place(mark) > self._given and mark.t_ns >= self._wanted_ns


def _place(mark: Mark) -> int:
    return -1 if mark.place is None else mark.place


def _is_before(one: Mark, other: Mark) -> bool:
    return one.place is not None and other.place is not None and one.place < other.place
