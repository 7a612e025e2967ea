"""Packets to pictures, through damage: what can be decoded rightly is given, the rest is counted."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streamqa.capture.gaps import Gaps, Missing
from streamqa.capture.gop import KeyframeSpacing, Rate, Shortcut
from streamqa.capture.timeline import JUMP_S, Mark, Moment, Presentation, Timeline
from streamqa.types import NS_PER_S

_HEALED_NS = 2 * NS_PER_S
_READ_ERRORS = 100
_MAY_JUMP = 0x200  # AVFMT_TS_DISCONT; PyAV's own name for it is typed as no number
_PREDICTED = {2, 3, 4}  # P, B, S(GMC)


class Trust:
    """Which pictures to believe after damage. Pure.

    FFmpeg flags the damaged picture, or raises for its packet, but the pictures predicted from it are smeared
    and not flagged. So nothing is believed until the next keyframe, or, for streams that have few or none,
    until 2 s without new damage have gone by, in which most codecs and encoders have refreshed the picture.
    """

    def __init__(self) -> None:
        self._doubt_ns: int | None = None
        self._t_ns = 0

    @property
    def in_doubt(self) -> bool:
        """Whether a picture need be good to be believed."""
        return self._doubt_ns is not None

    def doubt(self, t_ns: int | None = None) -> None:
        """A packet was lost at `t_ns`, by default where the last picture was."""
        self._doubt_ns = self._t_ns if t_ns is None else t_ns

    def accept(self, t_ns: int, key: bool, corrupt: bool) -> bool:
        """Whether the picture at `t_ns`, a keyframe or not, flagged as corrupt or not, can be believed."""
        self._t_ns = t_ns
        if corrupt:
            self.doubt()
            return False
        # Also what is shown before the lost packet: it came after it, and may be predicted from it.
        if self._doubt_ns is not None and not key and t_ns - self._doubt_ns < _HEALED_NS:
            return False
        self._doubt_ns = None
        return True


class Packets:
    """The packets of one stream of an opened container, in the order of decoding; what is unreadable is counted."""

    def __init__(self, container: InputContainer, stream: VideoStream, read_errors: int) -> None:
        """`read_errors`: how many in a row, with no packet between them, end the reading."""
        self._container = container
        self._stream = stream
        self._read_errors = read_errors
        self.count = 0  # read so far
        self.lost = 0  # failed reads
        self.read_error: FFmpegError | None = None  # the last one
        self._reached = 0  # the end of the latest packet, in the stream's time base

    @property
    def missing(self) -> int:
        """How many packets the container's own index promised beyond those that came; 0 where it has none.

        Only as many as the time left has room for: a clip that was trimmed without encoding it anew keeps its whole
        index, and reaches its end all the same.
        """
        base, length = self._stream.time_base, self._stream.duration
        missing = max(0, self._stream.frames - self.count)
        if base is None or not self.count:
            return missing
        if not self._stream.frames:
            return self._missing_of_length(base)
        if not missing or length is None:
            return missing
        left = (self._stream.start_time or 0) + length - self._reached
        rate = self._stream.average_rate or Fraction(25)
        return min(missing, max(0, round(left * base * rate)))

    def _missing_of_length(self, base: Fraction) -> int:
        """The same by the length in a Matroska file's head, which is its video's where it has no other stream."""
        length_us = self._container.duration
        if "matroska" not in self._container.format.name or len(self._container.streams) > 1 or not length_us:
            return 0
        left = Fraction(length_us, 1_000_000) - self._reached * base
        rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(25)
        return max(0, round(left * rate)) if left * rate > Fraction(3, 4) else 0

    def read(self) -> Iterator[Packet[VideoStream]]:
        """All packets; `lost` has grown before one that follows damage."""
        errors = 0
        while errors < self._read_errors:
            try:
                for packet in self._container.demux(self._stream):
                    errors = 0
                    # An empty one (a frame that AVI left out, the end) would drain the decoder.
                    if packet.size:
                        self.count += 1
                        self._reached = max(self._reached, (packet.pts or 0) + (packet.duration or 0))
                        yield packet
                return
            except FFmpegError as error:
                errors += 1
                self.lost += 1
                self.read_error = error
            except IndexError:
                # The end of a transport stream in which streams appeared after it was opened (damage can look so):
                # PyAV flushes them too, by an array that does not reach so far. Nothing is lost by that.
                return


class RecordedPictures:
    """The wanted pictures of an opened recording, decoding few others. The thread that opened it owns it."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        """`stream` is of `container`, which the caller closes."""
        self._packets = Packets(container, stream, _READ_ERRORS)
        self._iterator = self._packets.read()
        self._context = stream.codec_context
        self._base = stream.time_base or Fraction(1, 90_000)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        start = None if stream.start_time is None else stream.start_time * self._base
        # Only some formats' timestamps may jump; in the others a gap between them is real.
        may_jump = bool(container.format.flags & _MAY_JUMP)
        self._timeline = Timeline(start, 1 / rate, gaps_are_real=not may_jump)
        self._presentation = Presentation(self._timeline, self._base)
        self._way = Shortcut(self._presentation)
        self._trust = Trust()
        self._moment: Moment | None = self._timeline.moment  # of the timeline with the picture that came last
        self._ready: deque[tuple[int, Mark | None, VideoFrame]] = deque()
        self._lost_before = 0  # reads that had failed before the packet read last
        self._broken: set[Mark] = set()  # packets before which others are missing
        self._lost = self._lost_at_entry = 0
        self.ended = False  # the last `read` gave nothing, since there is nothing more of that time
        self._fed = 0  # packets
        self._damaged_from = 0  # the first of them in doubt; those before are good
        self._came_out = False
        self.rate, self.gops = Rate(), KeyframeSpacing()
        self._gaps = Gaps(JUMP_S * NS_PER_S if may_jump else None)

    @property
    def gaps(self) -> Missing:
        """What seems to be missing between the pictures; to be asked for at the end."""
        return self._gaps.found()

    @property
    def lost(self) -> int:
        """Reads, packets and pictures that failed, or could not be believed; of those left out nobody knows."""
        return self._packets.lost + self._lost + self._way.missed

    @property
    def missing(self) -> int:
        """See `Packets`."""
        return self._packets.missing

    @property
    def end_ns(self) -> int:
        """Stream time at which the last picture read so far is over."""
        return self._presentation.end_ns

    @property
    def is_fruitless(self) -> bool:
        """Whether there are no packets, or some were decoded and gave no picture."""
        return not self._came_out and (self._fed > 0 or not self._packets.count)

    @property
    def is_decoded_whole(self) -> bool:
        """Whether nothing can be skipped: its keyframes are none, or it has no timestamps."""
        return self._way.everything

    def read(self, wanted_ns: int, until: float) -> tuple[int, VideoFrame] | None:
        """The next picture at or after `wanted_ns` with its stream time.

        None when there is none (`ended`), or when `until` has passed on the monotonic clock.
        """
        self.ended = False
        picture = self._take(wanted_ns)
        if picture is None:
            self._way.seek(wanted_ns)
        while picture is None and not self.ended:
            self._advance()
            picture = self._take(wanted_ns)
            if time.monotonic() > until:
                break
        return picture

    def _take(self, wanted_ns: int) -> tuple[int, VideoFrame] | None:
        while self._ready:
            t_ns, mark, frame = self._ready.popleft()
            if t_ns >= wanted_ns and (mark is None or self._way.give(mark)):
                return t_ns, frame
        return None

    def _advance(self) -> None:
        step = self._way.next()
        if step.do == "read":
            self._read_packet()
        elif step.do == "feed":
            assert step.mark is not None
            if step.flush:
                self._context.flush_buffers()
                self._lost_at_entry = self._lost
            self._fed += 1
            step.mark.fed = self._fed
            self._context.skip_frame = "DEFAULT" if step.whole else "NONREF"
            self._decode(step.mark)
        elif step.do == "drain":
            self._decode(None)
            self._undoing(self._way.drained)
        else:
            self.ended = True

    def _read_packet(self) -> None:
        packet = next(self._iterator, None)
        if packet is None:
            self._way.end()
            return
        mark = Mark(
            packet.pts,
            packet.dts,
            packet.is_keyframe,
            packet.size,
            packet.duration,
            shown=not packet.is_discard,
            packet=packet,
        )
        if self._packets.lost != self._lost_before:
            self._lost_before = self._packets.lost
            self._broken.add(mark)
        if packet.pts is not None:
            self.rate.add(self._nanoseconds(packet.pts if packet.dts is None else packet.dts))
            self._gaps.add(self._nanoseconds(packet.pts))
            if mark.key:
                self.gops.add(self._nanoseconds(packet.pts))
        self._way.add(mark)

    def _nanoseconds(self, stamp: int) -> int:
        return stamp * self._base.numerator * NS_PER_S // self._base.denominator

    def _decode(self, mark: Mark | None) -> None:
        """Feed a packet, or drain the decoder; believed pictures are ready then."""
        if mark in self._broken:
            self._broken.discard(mark)
            self._way.damaged()
            self._doubt(mark)
        try:
            frames = self._context.decode(mark.packet if mark is not None else None)
        except FFmpegError:
            self._lost += 1
            self._doubt(mark)
            if mark is not None:
                self._undoing(partial(self._way.failed, mark))
            return
        for frame in frames:
            if self._undoing(partial(self._came, frame)):
                return

    def _came(self, frame: VideoFrame) -> None:
        mark = self._way.came(frame.pts, int(frame.pict_type) not in _PREDICTED, frame.is_corrupt)
        if self._way.stamped and mark is not None:
            t_ns, self._moment = mark.t_ns, mark.moment or self._moment
        else:
            if not self._way.stamped and self._moment is not None:
                # Packets were ahead of their pictures; from here on pictures are stamped as they come.
                self._timeline.go_back(self._moment)
                self._moment = None
            t_ns = self._timeline.at(None if frame.pts is None else frame.pts * self._base)
        if frame.is_corrupt:
            self._doubt(mark)
        is_good = mark is not None and mark.fed < self._damaged_from and not frame.is_corrupt
        if is_good or self._trust.accept(t_ns, bool(frame.key_frame), frame.is_corrupt):
            self._ready.append((t_ns, mark, frame))
            self._came_out = True
        else:
            self._lost += 1

    def _doubt(self, mark: Mark | None) -> None:
        """This packet is damaged: what was decoded before it is good, also if it comes out only now."""
        if not self._trust.in_doubt:
            self._damaged_from = mark.fed if mark is not None else self._fed + 1
        self._trust.doubt(None if mark is None or mark.place is None else mark.t_ns)

    def _undoing(self, step: Callable[[], None]) -> bool:
        """Do it; whether skipping was found to have failed by it, so that all since the last keyframe comes again."""
        before = self._way.went_back
        step()
        if self._way.went_back == before:
            return False
        restart = self._way.restart
        self._ready = deque(ready for ready in self._ready if ready[1] and (ready[1].place or 0) < restart)
        self._trust = Trust()
        self._lost = self._lost_at_entry
        return True
