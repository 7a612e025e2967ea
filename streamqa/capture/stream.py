"""Network streams, through FFmpeg (PyAV)."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from streamqa.capture.ffmpeg import explain, open_input
from streamqa.capture.hardware import Hardware, choose
from streamqa.capture.images import Images
from streamqa.capture.links import Link
from streamqa.capture.live_pictures import LivePictures
from streamqa.capture.source import Picture, SourceFacts, redact
from streamqa.errors import SourceError, SourceUnavailable
from streamqa.types import utc_now

TIMEOUT_S = 5.0
_UNDECODABLE_S = 30.0  # packets without one picture for so long: connect anew. Some cameras' GOPs take 10 s


class StreamSource:
    """A network stream: the wanted pictures as they arrive."""

    is_live = True

    def __init__(
        self,
        url: str,
        timeout_s: float = TIMEOUT_S,
        *,
        transport: str = "tcp",
        tls_verify: bool = True,
        hwaccel: str = "off",
    ) -> None:
        """`timeout_s`: without data for so long, the connection is given up.

        The others are as in `SourceSpec`.
        """
        self._url = url
        self._name = redact(url)
        self._link = Link(timeout_s, transport, tls_verify)
        self._hwaccel = hwaccel
        self._hardware = Hardware()
        self._rtsp = url.lower().startswith("rtsp")
        self._container: InputContainer | None = None
        self._pictures: LivePictures | None = None
        self._images = Images()
        self._facts = SourceFacts()
        self._opened_ns = 0

    def open(self) -> None:
        """Connect, within bounded time.

        Raises:
            SourceRefused: wrong password, no such stream, no video in it.
            SourceUnavailable: not there now.
        """
        self.close()
        chosen = choose(self._hwaccel)
        self._container, stream = open_input(self._url, self._name, link=self._link, hwaccel=chosen.accel)
        context = stream.codec_context
        self._hardware = chosen.after_open(context.name, context.is_hwaccel)
        self._opened_ns = time.monotonic_ns()
        self._pictures = LivePictures(self._container, stream, self._arrival)
        self._facts = SourceFacts(context.codec.canonical_name, context.width, context.height)

    @property
    def facts(self) -> SourceFacts:
        """As measured so far."""
        pictures = self._pictures
        if pictures is None:
            return self._facts
        note = self._hardware.note
        return replace(self._facts, fps=pictures.rate.fps, gop_s=pictures.gops.mean_s, note=note)

    def read(self, wanted_ns: int = 0) -> Picture | None:
        """Wait for one packet; the picture that came out, if it is the first at or after `wanted_ns`.

        None for each packet that gives none: it is a sign of life.

        Raises:
            SourceUnavailable: the connection broke, ended, timed out, or gives nothing that can be decoded.
        """
        pictures = self._pictures
        if pictures is None:
            raise SourceUnavailable(f"{self._name}: not open")
        began_s = time.monotonic()
        found = pictures.read(wanted_ns)
        if self._rtsp and time.monotonic() - began_s >= self._link.timeout_s:
            # FFmpeg waited in vain, gave what its parser still held, and would now wait as long again (measured):
            # a last picture 5 s late, which looks like life, and the error only after 10 s.
            raise SourceUnavailable(f"{self._name}: no data for {self._link.timeout_s:g} s; is it reachable?")
        if found is None:
            if pictures.ended:
                raise self._ending(pictures)
            if pictures.fruitless_s > _UNDECODABLE_S:
                raise SourceUnavailable(f"{self._name}: no picture can be decoded for {_UNDECODABLE_S:g} s")
            return None
        t_ns, frame = found
        self._facts = replace(self._facts, width=frame.width, height=frame.height)
        return Picture(t_ns, utc_now(), "arrival", partial(self._images.of, frame))

    def close(self) -> None:
        """Disconnect. Without this, each connection would leak 12 MB, a descriptor and two threads (measured)."""
        self._facts, self._pictures = self.facts, None
        if self._container is not None:
            self._container.close()
            self._container = None

    def _arrival(self, packet: Packet[VideoStream]) -> int | None:
        """Time since the connection. Timestamps are no clock: they begin anew at each join.

        RTSP's first pictures often have none (6 of 7 joins) and may be older than they seem: left out.
        """
        return None if packet.pts is None and self._rtsp else time.monotonic_ns() - self._opened_ns

    def _ending(self, pictures: LivePictures) -> SourceError:
        error = pictures.read_error
        if error is not None:
            return explain(error, self._name, self._link.timeout_s)
        # FFmpeg ends a stream without error when the server dies: measured for TCP and UDP.
        return SourceUnavailable(f"{self._name}: the stream ended")
