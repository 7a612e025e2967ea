"""The pictures of a live stream: decoded as they arrive, where somebody wants them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streamqa.capture.decoder import Packets, Trust
from streamqa.capture.gop import MOST_OUT, KeyframeSpacing, Rate, Step
from streamqa.capture.live import LiveShortcut
from streamqa.capture.timeline import Mark


class LivePictures:
    """The wanted pictures of an opened live stream, as they arrive. The thread that opened it owns it."""

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        time_of: Callable[[Packet[VideoStream]], int | None],
        follow: Callable[[Iterator[Packet[VideoStream]]], Iterator[Packet[VideoStream]]] = iter,
    ) -> None:
        """`time_of` gives the stream time in ns of a packet that has just arrived; None: its picture is left out.

        Packets come through `follow`, where somebody else wants to see each of them.
        """
        self._packets = Packets(container, stream, read_errors=1)
        self._iterator = follow(self._packets.read())
        self._context = stream.codec_context
        self._time_of = time_of
        self._way = LiveShortcut()
        self._trust = Trust()
        self._trust.doubt()  # what is predicted from pictures before ours is smeared
        self._out: deque[Mark] = deque(maxlen=MOST_OUT)  # fed, their pictures may still come
        self._ready: deque[tuple[int, VideoFrame]] = deque()
        self._read_ns: int | None = None  # the latest time of a packet; what came at the join may be before 0
        self._came_ns = 0  # of a picture
        self._fruitless_s: float | None = None  # monotonic: since when packets are decoded in vain
        self.lost = 0  # packets and pictures that could not be decoded, or not be believed
        self.decoded = 0  # packets
        self.ended = False
        self.rate = Rate()

    @property
    def read_error(self) -> FFmpegError | None:
        """Why it ended, if the network said so."""
        return self._packets.read_error

    @property
    def gops(self) -> KeyframeSpacing:
        """The distances of keyframes."""
        return self._way.gops

    @property
    def fruitless_s(self) -> float:
        """For how many seconds packets have been decoded without one picture that can be believed."""
        return 0.0 if self._fruitless_s is None else time.monotonic() - self._fruitless_s

    def read(self, wanted_ns: int) -> tuple[int, VideoFrame] | None:
        """Wait for a packet; the first picture at or after `wanted_ns` with its stream time, if there is one then.

        None: there is none yet, or `ended`.
        """
        picture = self._take(wanted_ns)
        if picture is not None:
            return picture
        packet = next(self._iterator, None)
        if packet is None:
            self.ended = True
            self._do(Step("drain"))
            return self._take(wanted_ns)
        t_ns = self._time_of(packet)
        if t_ns is not None:
            self._read_ns = t_ns if self._read_ns is None else max(self._read_ns, t_ns)
            self.rate.add(self._read_ns)
        mark = Mark(
            packet.pts,
            packet.dts,
            packet.is_keyframe,
            packet.size,
            shown=t_ns is not None,
            packet=packet,
            t_ns=(self._read_ns or 0) if t_ns is None else t_ns,
        )
        for step in self._way.add(mark, wanted_ns):
            self._do(step)
        return self._take(wanted_ns)

    def _take(self, wanted_ns: int) -> tuple[int, VideoFrame] | None:
        while self._ready:
            t_ns, frame = self._ready.popleft()
            if t_ns >= wanted_ns:
                return t_ns, frame
        return None

    def _do(self, step: Step) -> None:
        if step.flush:
            self._context.flush_buffers()
            self._out.clear()
        if step.mark is not None:
            self._out.append(step.mark)
            self.decoded += 1
            self._fruitless_s = self._fruitless_s or time.monotonic()
            self._context.skip_frame = "DEFAULT" if step.whole else "NONREF"
        try:
            frames = self._context.decode(step.mark.packet if step.mark is not None else None)
        except FFmpegError:
            self.lost += 1
            self._trust.doubt(step.mark.t_ns if step.mark is not None else None)
            frames = []
        for frame in frames:
            self._came(frame)
        if step.mark is None:
            self._context.flush_buffers()  # else it would take no more after the end
            self._out.clear()

    def _came(self, frame: VideoFrame) -> None:
        mark = self._packet_of(frame)
        self._came_ns = max(self._came_ns, mark.t_ns)
        is_right = self._trust.accept(self._came_ns, bool(frame.key_frame), frame.is_corrupt)
        if not mark.shown:
            return
        if is_right:
            self._ready.append((self._came_ns, frame))
            self._fruitless_s = None
        else:
            self.lost += 1

    def _packet_of(self, frame: VideoFrame) -> Mark:
        """Pictures come in another order than their packets; without timestamps, it is taken for the same."""
        for mark in self._out:
            if mark.pts == frame.pts:
                self._out.remove(mark)
                return mark
        return self._out[-1]
