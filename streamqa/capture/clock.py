"""When a live picture was captured, from clocks that may all lie. Pure.

Four clocks meet here. *Arrival* is ours and monotonic, but late by a time that bursts and stalls change.
*Timestamps* (pts) are the camera's; they are even, but begin anywhere and may jump. The *sender's reports* say what
the camera's wall clock shows at a timestamp, and may be absurd. Our *wall clock* may be set while we run.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from streamqa.types import NS_PER_S, Clock

_JUMP_NS = 5 * NS_PER_S  # of timestamps against arrival: more is no delay
_BACK_NS = NS_PER_S  # timestamps go back by less where pictures are predicted from later ones
_AGREE_NS = NS_PER_S  # how closely the packets of one timeline, or the reports of one clock, agree
_PROOFS = 3  # so many in a row that agree make a new timeline, or a new clock of the sender, believed
_BUCKET_NS = 30 * NS_PER_S
_SLOW = 0.02  # timestamps that lose more than this part of the time, twice in a row, are no clock; drift is < 0.0005
_STUCK_NS = (
    3 * NS_PER_S
)  # a delay of _JUMP_NS that does not fall within this is no stall: after one comes a burst
_MOST_STUCK = 3  # times, then timestamps are no clock
_OLDEST_NS = 2 * _BUCKET_NS  # the delay of a picture; what seems older is of another timeline
_SETTLED_NS = NS_PER_S
# How far behind ours a sender's clock may seem, beyond the delay of its packets: latency that we cannot see, and a
# little drift. More is a clock that nobody set.
_OFF_NS = (-NS_PER_S, 3 * NS_PER_S)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WallWatch:
    """Says when the wall clock was set."""

    def __init__(self, most_s: float = 1.0) -> None:
        """`most_s`: a smaller step is not told; slewing (NTP: 0.5 ms per second) never is."""
        self._most_s = most_s
        self._before: tuple[int, datetime] | None = None

    def step(self, monotonic_ns: int, wall: datetime) -> float | None:
        """Seconds by which the wall clock (UTC) was set since the last call, forwards if positive; None: it was not.

        Read both clocks one right after the other, once a second or so: what passes between them counts as a step.
        A machine that slept shows as a step forwards, since the monotonic clock of Linux stands still then.
        """
        before, self._before = self._before, (monotonic_ns, wall)
        if before is None:
            return None
        stepped_s = (wall - before[1]).total_seconds() - (monotonic_ns - before[0]) / NS_PER_S
        return stepped_s if abs(stepped_s) > self._most_s else None


@dataclass(frozen=True, slots=True)
class Stamp:
    """The times of one picture."""

    t_ns: int  # stream time since the connection, never going back
    captured_at: datetime  # UTC, never later than now
    clock: Clock  # "rtcp": the sender's; "arrival": ours, corrected by timestamps
    # How much longer than others it took to come. Latency that all pictures share is not in it: nothing tells it from
    # an error of the sender's clock, and a camera set 2 s late must not make every frame too old to ask about.
    delay_ns: int


class LiveClock:
    """The clock of one live connection: told of every packet that arrives, it stamps the pictures that are kept.

    Stream time is the time of capture on our monotonic clock: the timestamp, plus the least (arrival - timestamp)
    of the last 30 to 60 s. What is later than that waited on its way, in a burst after a stall or at a join, and is
    not stamped as captured just now. Wall time is the sender's where its reports are plausible, else the same.
    """

    def __init__(self, opened_ns: int, has_timestamps: bool = True) -> None:
        """`opened_ns`: the monotonic clock at stream time 0. Without timestamps: MJPEG, raw streams."""
        self._opened_ns = opened_ns
        self._trusted = has_timestamps
        self._timeline: _Timeline | None = None
        self._strange = _Proof()  # offsets that do not fit the timeline
        self._outliers: deque[int] = deque(maxlen=16)  # timestamps of such packets: the pictures come later
        self._sender = _Sender()
        self._late_ns = 0  # the delay of the latest packet
        self._stuck: tuple[int, int] | None = None  # since when, and with what delay at first
        self._stuck_times = 0
        self._first_ns: int | None = None  # arrival of the first packet
        self._before: tuple[int, int] | None = None  # arrival and timestamp of the packet before
        self._t_ns = 0
        self.jumps = 0  # how often timestamps jumped, and a new segment began
        self.clock: Clock = "arrival"  # of the last stamp
        self.sender_off_ns: int | None = None  # how far its clock is behind ours, where that is too much
        self.settled = not has_timestamps  # no burst any more: packets come as they are captured

    @property
    def has_timestamps(self) -> bool:
        """Whether timestamps are believed, still."""
        return self._trusted

    def packet(self, pts_ns: int | None, arrival_ns: int) -> None:
        """A packet with this timestamp arrived when the monotonic clock showed `arrival_ns`; call it for each."""
        if pts_ns is None or not self._trusted:
            return
        self._settle(pts_ns, arrival_ns)
        line = self._timeline
        if line is None:
            self._timeline = _Timeline(pts_ns, arrival_ns)
        elif line.fits(pts_ns, arrival_ns):
            self._strange.forget()
            line.add(pts_ns, arrival_ns)
            self._late_ns = arrival_ns - pts_ns - line.offset_ns
            if self._is_stuck(arrival_ns):
                self._stuck_times += 1
                self._jump(pts_ns, arrival_ns)
            if line.slow or self._stuck_times >= _MOST_STUCK:
                self._trusted, self._late_ns = False, 0
        elif self._strange.add(arrival_ns - pts_ns):
            self._jump(pts_ns, arrival_ns)
        else:
            self._outliers.append(pts_ns)

    def report(self, pts_ns: int, sent_us: int, wall: datetime) -> None:
        """The sender reported that its wall clock showed `sent_us` (UNIX, µs) at this timestamp."""
        sent_ns = sent_us * 1000
        off_ns = _unix_ns(wall) - sent_ns - self._late_ns
        if not self._sender.report(sent_ns - pts_ns, off_ns):
            return
        if _plausible(off_ns):
            self.sender_off_ns = None
        elif self.sender_off_ns is None or not _agree(off_ns, self.sender_off_ns):
            self.sender_off_ns = off_ns  # and stays so while it is about this, so that it is told once

    @property
    def note(self) -> str:
        """What its owner should know of the camera's clocks; empty where they are as they should be."""
        words = []
        if self.sender_off_ns is not None:
            off_s = self.sender_off_ns / NS_PER_S
            side = "behind" if off_s > 0 else "ahead of"
            words.append(f"its clock is {abs(off_s):.0f} s {side} this machine's: set both by NTP")
        if not self._trusted and self._timeline is not None:
            words.append("its timestamps are no clock: times are those of arrival")
        elif self.jumps:
            words.append("its timestamps jumped by more than 5 s: a new segment began")
        return "; ".join(words)

    def stamp(self, pts_ns: int | None, now_ns: int, wall: datetime) -> Stamp:
        """The times of a picture that is handed over now."""
        pts_ns = None if pts_ns in self._outliers else pts_ns
        delay_ns = self._delay(pts_ns, now_ns)
        self._t_ns = max(self._t_ns, now_ns - delay_ns - self._opened_ns)
        self.clock, age_ns = "arrival", 0
        if pts_ns is not None and self._sender.base_ns is not None:
            age_ns = _unix_ns(wall) - (self._sender.base_ns + pts_ns)
            if _plausible(age_ns - delay_ns):
                self.clock = "rtcp"
        ago_ns = max(0, age_ns) if self.clock == "rtcp" else delay_ns
        captured_at = wall - timedelta(microseconds=ago_ns // 1000)
        return Stamp(self._t_ns, captured_at, self.clock, delay_ns)

    def time_of(self, pts_ns: int | None, now_ns: int) -> int:
        """Stream time of a packet that has arrived; before 0 for what was captured before the connection stood."""
        pts_ns = None if pts_ns in self._outliers else pts_ns
        return now_ns - self._delay(pts_ns, now_ns) - self._opened_ns

    def _settle(self, pts_ns: int, arrival_ns: int) -> None:
        before, self._before = self._before, (arrival_ns, pts_ns)
        if self._first_ns is None or before is None:
            self._first_ns = arrival_ns
            return
        gap_ns = pts_ns - before[1]
        at_pace = gap_ns > 0 and 2 * (arrival_ns - before[0]) >= gap_ns
        self.settled = self.settled or at_pace or arrival_ns - self._first_ns > _SETTLED_NS

    def _delay(self, pts_ns: int | None, now_ns: int) -> int:
        line = self._timeline
        if pts_ns is not None and line is not None and self._trusted:
            delay_ns = now_ns - pts_ns - line.offset_ns
            if 0 <= delay_ns <= _OLDEST_NS:
                return delay_ns
        return self._late_ns  # of no timeline that we know: as late as its neighbours

    def _jump(self, pts_ns: int, arrival_ns: int) -> None:
        self.jumps += 1
        self._timeline, self._late_ns, self._stuck = _Timeline(pts_ns, arrival_ns), 0, None
        self._strange.forget()
        self._outliers.clear()
        self._sender = _Sender()  # its reports were about other timestamps

    def _is_stuck(self, arrival_ns: int) -> bool:
        """Whether the delay is long, and stays: timestamps that stood still while the camera paused."""
        if self._late_ns <= _JUMP_NS:
            self._stuck = None
        elif self._stuck is None or self._late_ns < self._stuck[1] - _AGREE_NS:
            self._stuck = arrival_ns, self._late_ns
        return self._stuck is not None and arrival_ns - self._stuck[0] > _STUCK_NS


class _Timeline:
    """One segment of timestamps: how far our monotonic clock is ahead of it, for a packet that did not wait."""

    def __init__(self, pts_ns: int, arrival_ns: int) -> None:
        self._least = arrival_ns - pts_ns  # of this bucket
        self._least_before: int | None = None  # of the bucket before
        self._began_ns = arrival_ns
        self._latest_ns = pts_ns
        self._slow_buckets = 0

    @property
    def offset_ns(self) -> int:
        """The least (arrival - timestamp) of the last one to two buckets of time: drift does not add up."""
        return self._least if self._least_before is None else min(self._least, self._least_before)

    @property
    def slow(self) -> bool:
        """Whether timestamps run so much slower than time that they are no clock: counted, at a wrong rate."""
        return self._slow_buckets >= 2

    def fits(self, pts_ns: int, arrival_ns: int) -> bool:
        """Whether a packet can be of this segment: not from the future, and no step back. It may be late."""
        ahead_ns = self.offset_ns - (arrival_ns - pts_ns)
        return ahead_ns <= _JUMP_NS and pts_ns >= self._latest_ns - _BACK_NS

    def add(self, pts_ns: int, arrival_ns: int) -> None:
        """A packet that fits."""
        self._latest_ns = max(self._latest_ns, pts_ns)
        if arrival_ns - self._began_ns >= _BUCKET_NS:
            if self._least_before is not None:
                lost_ns = self._least - self._least_before
                self._slow_buckets = self._slow_buckets + 1 if lost_ns > _SLOW * _BUCKET_NS else 0
            self._least_before, self._began_ns = self._least, arrival_ns
            self._least = arrival_ns - pts_ns
        self._least = min(self._least, arrival_ns - pts_ns)


class _Proof:
    """Values that contradict what is believed: three in a row that agree are the new truth."""

    def __init__(self) -> None:
        self._value: int | None = None
        self._count = 0

    def forget(self) -> None:
        self._count = 0

    def add(self, value: int | None) -> bool:
        """Whether this one proves it."""
        agrees = self._count > 0 and _agree(value, self._value)
        self._count = self._count + 1 if agrees else 1
        self._value = value
        return self._count >= _PROOFS


class _Sender:
    """The sender's wall clock, as far as it is believed."""

    def __init__(self) -> None:
        self.base_ns: int | None = None  # its wall clock (UNIX) at timestamp 0; None: not believed
        self._first = True
        self._other = _Proof()

    def report(self, base_ns: int, off_ns: int) -> bool:
        """It says that its clock showed `base_ns` at timestamp 0, by which it seems to be `off_ns` behind ours.

        Whether that is what to think of it now; not, when it is a single report against those before it.
        """
        said = base_ns if _plausible(off_ns) else None
        if self._first or _agree(said, self.base_ns):
            self._other.forget()
        elif not self._other.add(said):
            return False
        self.base_ns, self._first = said, False
        return True


def _agree(a: int | None, b: int | None) -> bool:
    return a == b if a is None or b is None else abs(a - b) <= _AGREE_NS


def _plausible(off_ns: int) -> bool:
    return _OFF_NS[0] <= off_ns <= _OFF_NS[1]


def _unix_ns(wall: datetime) -> int:
    return (wall - _EPOCH) // timedelta(microseconds=1) * 1000
