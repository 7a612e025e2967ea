"""The clock of an opened live stream: what FFmpeg knows of its packets, told to `LiveClock`."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from fractions import Fraction

from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streamqa.capture.clock import LiveClock, Stamp
from streamqa.types import NS_PER_S, utc_now

_NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS; FFmpeg counts pictures there, at a rate that it guesses
_MOST_HELD = 512  # packets; and the clock settles within a second
_READS_SIDE_DATA = hasattr(Packet, "iter_sidedata")  # not in older versions of PyAV


class Stamping:
    """Stamps the pictures of one connection. For the thread that opened it."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        """Stream time 0 is now."""
        self._base = Fraction(stream.time_base or Fraction(1, 90_000))
        has_timestamps = not container.format.flags & _NO_TIMESTAMPS
        self.clock = LiveClock(time.monotonic_ns(), has_timestamps)
        self._reported = False  # a sender report came, on a packet without timestamp

    def follow(self, packets: Iterator[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        """The same packets, after the clock has heard of them.

        A stream begins with a burst: what FFmpeg read to know it (0.1 to 2 s), and what the camera kept for whoever
        joins. Its packets are held until the burst is over, mostly one packet longer, since only then is known how
        old they are. The first packets of RTSP often have no timestamp; it is inferred from those behind them.
        """
        held: list[Packet[VideoStream]] = []
        for packet in packets:
            self._hear(packet)
            held.append(packet)
            if self.clock.settled or len(held) >= _MOST_HELD:
                break
        _infer(held)
        yield from held
        for packet in packets:
            self._hear(packet)
            yield packet

    def stamp(self, frame: VideoFrame) -> Stamp:
        """The times of a picture that is handed over now."""
        return self.clock.stamp(self._nanoseconds(frame.pts), time.monotonic_ns(), utc_now())

    def time_of(self, packet: Packet[VideoStream]) -> int:
        """Stream time of a packet that has arrived; before 0 for what was captured before the connection stood."""
        return self.clock.time_of(self._nanoseconds(packet.pts), time.monotonic_ns())

    def _nanoseconds(self, pts: int | None) -> int | None:
        return None if pts is None else pts * self._base.numerator * NS_PER_S // self._base.denominator

    def _hear(self, packet: Packet[VideoStream]) -> None:
        pts_ns = self._nanoseconds(packet.pts)
        self.clock.packet(pts_ns, time.monotonic_ns())
        if not _READS_SIDE_DATA:
            return
        sent_us = None
        for data in packet.iter_sidedata():
            name = str(data.data_type)
            self._reported = self._reported or name == "rtcp_sr"
            if name == "prft":
                (sent_us,) = struct.unpack_from("=q", bytes(data))
        if self._reported and pts_ns is not None and sent_us is not None:
            # Between two reports FFmpeg extrapolates by the timestamps, as `LiveClock` does.
            self._reported = False
            self.clock.report(pts_ns, sent_us, utc_now())


def _infer(packets: list[Packet[VideoStream]]) -> None:
    """Give the packets at the beginning that have no timestamp one each, a period apart."""
    known = sorted(packet.pts for packet in packets if packet.pts is not None)
    blank = next((at for at, packet in enumerate(packets) if packet.pts is not None), 0)
    if len(known) < 2 or not blank:
        return
    period = (known[-1] - known[0]) // (len(known) - 1)
    for at, packet in enumerate(packets[:blank]):
        packet.pts = known[0] - (blank - at) * period
