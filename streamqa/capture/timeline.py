"""Stream time of a recording: from its packets' timestamps, in the order in which their pictures are shown. Pure."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

from streamqa.types import NS_PER_S

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

_STEP_BACK_S = 1
JUMP_S = 5
_MOST_WAITING = 32  # H.264 and HEVC reorder over 16 pictures at most


Moment: TypeAlias = tuple[Fraction | None, Fraction, Fraction, bool]


class Timeline:
    """Stream time from timestamps: exact, starting near 0, never going back."""

    def __init__(self, start: Fraction | None, period: Fraction, gaps_are_real: bool = True) -> None:
        """`start`: the timestamp in seconds that is time 0, by default the first one; `period`: of a frame.

        `gaps_are_real`: whether a long pause between two timestamps lasted so long. In MP4 and Matroska it did
        (time lapse); in the formats in which timestamps may jump (transport and program streams) it is a cut.
        """
        self._start = start
        self._period = period
        self._gaps_are_real = gaps_are_real
        self._at = Fraction(0)  # of the picture before
        self._step = period  # between the last two
        self._first = True

    def at(self, stamp: Fraction | None) -> int:
        """Nanoseconds of the picture with this timestamp in seconds; None: a period after the one before it.

        A timestamp that steps back by more than a second begins a new segment, which goes on a period after
        the old one (clips glued together); a smaller step back stands still. Where gaps are not real, one of more
        than 5 s beyond the usual distance begins a new segment, too.
        """
        before = self._at
        if stamp is None:
            at = before if self._first else before + self._period
        else:
            if self._start is None:
                self._start = stamp
            at = stamp - self._start
            ahead = at - before - max(self._period, self._step)
            cut = not self._gaps_are_real and not self._first and ahead > JUMP_S
            if cut or at < before - _STEP_BACK_S:
                self._start -= before + self._period - at
                at = before + self._period
        if not self._first and at > before:
            self._step = at - before
        self._first = False
        self._at = max(before, at)
        return math.floor(self._at * NS_PER_S)

    @property
    def moment(self) -> Moment:
        """Where it stands, to `go_back` to."""
        return self._start, self._at, self._step, self._first

    def go_back(self, moment: Moment) -> None:
        """Forget what came after `moment`."""
        self._start, self._at, self._step, self._first = moment

    def end_ns(self, duration: Fraction | None) -> int:
        """When the latest picture, shown for `duration` seconds or else a period, is over; 0 before the first."""
        if self._first:
            return 0
        return math.floor((self._at + (duration or self._period)) * NS_PER_S)


@dataclass(slots=True, eq=False)
class Mark:
    """One packet, and what is known of its picture before it is decoded."""

    pts: int | None  # in the stream's time base
    dts: int | None
    key: bool
    size: int = 0  # bytes
    duration: int | None = None
    shown: bool = True  # False: decoded for others only, e.g. before the start of a trimmed clip
    packet: Packet[VideoStream] | None = None
    t_ns: int = 0  # stream time of the picture, once `place` is known
    place: int | None = None  # in the order in which pictures are shown
    epoch: int = 0  # how often timestamps began anew before it
    moment: Moment | None = None  # the timeline's, with this picture
    fed: int = 0  # how many packets the decoder had got with it


class Presentation:
    """Puts packets into the order in which their pictures are shown, and gives each its stream time.

    Packets come in the order of decoding: a picture's place is known only once no packet can come that is shown
    before it, which is when the decoding time stamps have reached its own.
    """

    def __init__(self, timeline: Timeline, base: Fraction) -> None:
        """`base`: the stream's time base in seconds."""
        self._timeline = timeline
        self._base = base
        self._waiting: list[tuple[int, int, Mark]] = []
        self._pushed = 0
        self._places = 0
        self._epoch = 0
        self._dts: int | None = None
        self._last_pts: int | None = None  # settled last in this epoch
        self._last: Mark | None = None
        self.in_order = True  # False: the timestamps contradict each other

    def push(self, mark: Mark) -> list[Mark]:
        """Add a packet with a timestamp; the packets whose places are known now, in order, with place and time."""
        assert mark.pts is not None
        settled: list[Mark] = []
        if mark.dts is not None:
            if self._dts is not None and mark.dts < self._dts:
                settled = self.flush()
            self._dts = mark.dts
        if self._last_pts is not None and mark.pts < self._last_pts:
            self.in_order = False
        self._pushed += 1
        mark.epoch = self._epoch
        heapq.heappush(self._waiting, (mark.pts, self._pushed, mark))
        while self._waiting and self._is_next_known(mark.dts):
            settled.append(self._settle())
        return settled

    def flush(self) -> list[Mark]:
        """The timestamps begin anew, or all is over: the packets that waited, as `push` gives them."""
        settled = [self._settle() for _ in range(len(self._waiting))]
        self._epoch += 1
        self._dts = self._last_pts = None
        return settled

    @property
    def end_ns(self) -> int:
        """When the last picture so far is over."""
        duration = self._last.duration if self._last is not None else None
        return self._timeline.end_ns(duration * self._base if duration else None)

    def _is_next_known(self, dts: int | None) -> bool:
        return len(self._waiting) > _MOST_WAITING or (dts is not None and self._waiting[0][0] <= dts)

    def _settle(self) -> Mark:
        pts, _, mark = heapq.heappop(self._waiting)
        self._last_pts = pts
        mark.place = self._places
        self._places += 1
        if mark.shown:
            mark.t_ns = self._timeline.at(pts * self._base)
            mark.moment = self._timeline.moment
            self._last = mark
        elif self._last is not None:
            mark.t_ns = self._last.t_ns
        return mark
