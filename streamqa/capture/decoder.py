"""Packets to pictures, through damage: what can be decoded rightly is given, the rest is counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streamqa.types import NS_PER_S

_HEALED_NS = 2 * NS_PER_S


class Trust:
    """Which pictures to believe after damage. Pure.

    FFmpeg flags the damaged picture, or raises for its packet, but the pictures predicted from it are smeared
    and not flagged. So nothing is believed until the next keyframe, or, for streams that have few or none,
    until 2 s without new damage have gone by, in which most codecs and encoders have refreshed the picture.
    """

    def __init__(self) -> None:
        self._doubt_ns: int | None = None
        self._t_ns = 0

    def doubt(self) -> None:
        """A packet was lost here."""
        self._doubt_ns = self._t_ns

    def accept(self, t_ns: int, key: bool, corrupt: bool) -> bool:
        """Whether the picture at `t_ns`, a keyframe or not, flagged as corrupt or not, can be believed."""
        self._t_ns = t_ns
        if corrupt:
            self.doubt()
            return False
        if self._doubt_ns is not None and not key and 0 <= t_ns - self._doubt_ns < _HEALED_NS:
            return False
        self._doubt_ns = None
        return True


class Timeline:
    """Stream time of a recording from its timestamps: exact, starting near 0, never going back. Pure."""

    def __init__(self, start: Fraction | None, period: Fraction) -> None:
        """`start`: the timestamp in seconds that is time 0, by default the first one; `period`: of a frame."""
        self._start = start
        self._period = period
        self._at = Fraction(0)  # of the picture before
        self._first = True

    def at(self, stamp: Fraction | None) -> int:
        """Nanoseconds of the picture with this timestamp in seconds; None: a period after the one before it.

        A timestamp that steps back by more than a second begins a new segment, which goes on a period after
        the old one (clips glued together); a smaller step back stands still.
        """
        if stamp is None:
            at = self._at if self._first else self._at + self._period
        else:
            if self._start is None:
                self._start = stamp
            at = stamp - self._start
            if at < self._at - 1:
                self._start -= self._at + self._period - at
                at = self._at + self._period
        self._first = False
        self._at = max(self._at, at)
        return math.floor(self._at * NS_PER_S)


class Decoder:
    """The pictures of one opened stream, in order. The thread that opened the container owns it."""

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        clock: Callable[[Fraction | None], int | None],
        read_errors: int,
    ) -> None:
        """`clock` gives the stream time in ns of a timestamp in seconds, or None for a picture to leave out.

        `read_errors`: how many in a row, with no packet between them, end the reading.
        """
        self._container = container
        self._stream = stream
        self._clock = clock
        self._read_errors = read_errors
        self._trust = Trust()
        self.packets = 0  # read so far
        self._reached = 0  # the end of the latest of them, in the stream's time base
        self.lost = 0  # packets and pictures that could not be decoded, or not be believed
        self.read_error: FFmpegError | None = None  # the last one

    @property
    def missing(self) -> int:
        """How many packets the container's own index promised beyond those that came; 0 where it has none.

        Only as many as the time left has room for: a clip that was trimmed without encoding it anew keeps its whole
        index, and reaches its end all the same.
        """
        base, length = self._stream.time_base, self._stream.duration
        missing = max(0, self._stream.frames - self.packets)
        if not missing or base is None or length is None:
            return missing
        left = (self._stream.start_time or 0) + length - self._reached
        rate = self._stream.average_rate or Fraction(25)
        return min(missing, max(0, round(left * base * rate)))

    def doubt(self) -> None:
        """Believe nothing before the next keyframe (see `Trust`)."""
        self._trust.doubt()

    def batches(self) -> Iterator[list[tuple[int, VideoFrame]]]:
        """For each packet the pictures that came out, with their stream times in ns; at the end all the rest."""
        for packet in self._read():
            yield self._decode(packet)
        yield self._decode(None)

    def _read(self) -> Iterator[Packet[VideoStream]]:
        errors = 0
        while errors < self._read_errors:
            try:
                for packet in self._container.demux(self._stream):
                    errors = 0
                    if (
                        packet.size
                    ):  # an empty one (a frame that AVI left out, the end) would drain the decoder
                        self.packets += 1
                        self._reached = max(self._reached, (packet.pts or 0) + (packet.duration or 0))
                        yield packet
                return
            except FFmpegError as error:
                errors += 1
                self.lost += 1
                self._trust.doubt()
                self.read_error = error
            except IndexError:
                # The end of a transport stream in which streams appeared after it was opened (damage can look so):
                # PyAV flushes them too, by an array that does not reach so far. Nothing is lost by that.
                return

    def _decode(self, packet: Packet[VideoStream] | None) -> list[tuple[int, VideoFrame]]:
        try:
            frames = self._stream.codec_context.decode(packet)
        except FFmpegError:
            self.lost += 1
            self._trust.doubt()
            return []
        believed: list[tuple[int, VideoFrame]] = []
        for frame in frames:
            # The stream's time base, not the frame's: those that flushing gives have none.
            base = self._stream.time_base
            t_ns = self._clock(None if frame.pts is None or base is None else frame.pts * base)
            if t_ns is None:
                continue
            if self._trust.accept(t_ns, bool(frame.key_frame), frame.is_corrupt):
                believed.append((t_ns, frame))
            else:
                self.lost += 1
        return believed


def media_clock(stream: VideoStream) -> Callable[[Fraction | None], int]:
    """The clock of a recording: timestamps relative to the stream's start."""
    base, rate = stream.time_base, stream.average_rate or stream.guessed_rate or Fraction(25)
    start = None if stream.start_time is None or base is None else stream.start_time * base
    return Timeline(start, 1 / rate).at
