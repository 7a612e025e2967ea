"""Network streams, through FFmpeg (PyAV)."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

from av.container import InputContainer

from streamqa.capture.ffmpeg import explain, open_input
from streamqa.capture.hardware import Hardware, choose
from streamqa.capture.images import Images
from streamqa.capture.links import Link
from streamqa.capture.live_pictures import LivePictures
from streamqa.capture.passage import Passage
from streamqa.capture.reach import Reach
from streamqa.capture.source import Picture, SourceFacts, redact
from streamqa.capture.stamping import Stamping
from streamqa.errors import SourceError, SourceUnavailable

TIMEOUT_S = 5.0
_UNDECODABLE_S = 30.0  # packets without one picture for so long: connect anew. Some cameras' GOPs take 10 s
_PATIENCE_S = 0.25
_HARDWARE_S = 12.0  # the same, decoded by hardware: connect anew without it


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
        reach: Reach | None = None,
    ) -> None:
        """`timeout_s`: without data for so long, the connection is given up.

        The others are as in `SourceSpec`.
        """
        self._url = url
        self._name = redact(url)
        # Guarded: no UDP, for which a camera may name any address.
        self._link = Link(timeout_s, transport if reach is None else "tcp", tls_verify)
        self._passage = Passage(reach, timeout_s)
        self._hwaccel = hwaccel
        self._hardware = Hardware()
        self._rtsp = url.lower().startswith("rtsp")
        self._container: InputContainer | None = None
        self._pictures: LivePictures | None = None
        self._stamping: Stamping | None = None
        self._given = False  # a picture, by this connection
        self._images = Images()
        self._facts = SourceFacts()

    def open(self) -> None:
        """Connect, within bounded time.

        Raises:
            SourceRefused: wrong password, no such stream, no video in it.
            SourceUnavailable: not there now.
        """
        self._connect(choose(self._hwaccel))

    @property
    def facts(self) -> SourceFacts:
        """As measured so far."""
        pictures, stamping = self._pictures, self._stamping
        if pictures is None or stamping is None:
            return self._facts
        clock = stamping.clock
        return replace(
            self._facts,
            fps=pictures.rate.fps,
            gop_s=pictures.gops.mean_s,
            note="; ".join(filter(None, (self._hardware.note, clock.note))),
            clock=clock.clock,
            decoder=self._hardware.decoder,
            jumps=clock.jumps,
        )

    def read(self, wanted_ns: int = 0) -> Picture | None:
        """Wait for the first picture at or after `wanted_ns`.

        None when packets have come for a quarter of a second that gave none: a sign of life.

        Raises:
            SourceUnavailable: the connection broke, ended, timed out, or gives nothing that can be decoded.
        """
        until_s = time.monotonic() + _PATIENCE_S
        picture = self._packet(wanted_ns)
        # Not one call for each packet: what the caller does with a sign of life costs as much as the packet.
        while picture is None and time.monotonic() < until_s:
            picture = self._packet(wanted_ns)
        return picture

    def _packet(self, wanted_ns: int) -> Picture | None:
        """Wait for one packet; the picture that came out, if it is the first at or after `wanted_ns`."""
        pictures, stamping = self._pictures, self._stamping
        if pictures is None or stamping is None:
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
            if self._is_in_vain(pictures):
                reason = f"{self._hardware.device} gives no picture of this stream"
                self._connect(self._hardware.given_up(reason))
            elif pictures.fruitless_s > _UNDECODABLE_S:
                raise SourceUnavailable(f"{self._name}: no picture can be decoded for {_UNDECODABLE_S:g} s")
            return None
        t_ns, frame = found
        self._given = True
        self._facts = replace(self._facts, width=frame.width, height=frame.height)
        self._hardware = self._hardware.after_picture(frame.format.name)
        stamp = stamping.stamp(frame)
        image = partial(self._images.of, frame)
        return Picture(t_ns, stamp.captured_at, stamp.clock, image, stamp.delay_ns)

    def close(self) -> None:
        """Disconnect. Without this, each connection would leak 12 MB, a descriptor and two threads (measured)."""
        self._facts, self._pictures = self.facts, None
        if self._container is not None:
            self._container.close()
            self._container = None
        self._passage.close()

    def _connect(self, hardware: Hardware) -> None:
        self.close()
        link = replace(self._link, proxy=self._passage.open(self._url, self._name))
        try:
            self._container, stream = open_input(self._url, self._name, link=link, hwaccel=hardware.accel)
        except SourceError as error:
            raise self._passage.why(error, self._name) from None
        context = stream.codec_context
        self._hardware = hardware.after_open(context.name, context.is_hwaccel)
        self._given = False
        self._stamping = Stamping(self._container, stream)
        self._pictures = LivePictures(self._container, stream, self._stamping.time_of, self._stamping.follow)
        self._facts = SourceFacts(context.codec.canonical_name, context.width, context.height)

    def _is_in_vain(self, pictures: LivePictures) -> bool:
        """Whether hardware decodes, and has not given one picture: later on, it has shown that it can."""
        return self._hardware.accel is not None and not self._given and pictures.fruitless_s > _HARDWARE_S

    def _ending(self, pictures: LivePictures) -> SourceError:
        error = pictures.read_error
        if error is not None:
            return self._passage.why(explain(error, self._name, self._link.timeout_s), self._name)
        # FFmpeg ends a stream without error when the server dies: measured for TCP and UDP.
        return self._passage.why(SourceUnavailable(f"{self._name}: the stream ended"), self._name)
