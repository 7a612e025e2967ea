"""Network streams, through FFmpeg (PyAV)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from functools import partial

from av.container import InputContainer
from av.video.frame import VideoFrame

from streamqa.capture.decoder import Decoder
from streamqa.capture.ffmpeg import explain, open_input
from streamqa.capture.hardware import Hardware, choose
from streamqa.capture.images import Images
from streamqa.capture.links import Link
from streamqa.capture.source import Picture, SourceFacts, redact
from streamqa.errors import SourceError, SourceUnavailable
from streamqa.types import utc_now

TIMEOUT_S = 5.0
_UNDECODABLE_S = 30.0  # packets without one picture for so long: connect anew. Some cameras' GOPs take 10 s


class StreamSource:
    """A network stream: the pictures as they arrive."""

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
        """`timeout_s`: without data for so long (FFmpeg: up to twice), the connection is given up.

        The others are as in `SourceSpec`.
        """
        self._url = url
        self._name = redact(url)
        self._link = Link(timeout_s, transport, tls_verify)
        self._hwaccel = hwaccel
        self._hardware = Hardware()
        self._rtsp = url.lower().startswith("rtsp")
        self._container: InputContainer | None = None
        self._decoder: Decoder | None = None
        self._batches: Iterator[list[tuple[int, VideoFrame]]] = iter(())
        self._waiting: deque[tuple[int, VideoFrame]] = deque()
        self._images = Images()
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
        self._decoder = Decoder(self._container, stream, self._arrival, read_errors=1)
        self._decoder.doubt()  # what is predicted from pictures before ours is smeared
        self._batches = self._decoder.batches()

    @property
    def facts(self) -> SourceFacts:
        """Nothing yet."""
        return SourceFacts()

    def read(self, wanted_ns: int = 0) -> Picture | None:
        """The next picture.

        Raises:
            SourceUnavailable: the connection broke, ended, timed out, or gives nothing that can be decoded.
        """
        deadline = time.monotonic() + _UNDECODABLE_S
        while not self._waiting:
            batch = next(self._batches, None)
            if batch is None:
                raise self._ending()
            self._waiting.extend(batch)
            if not self._waiting and time.monotonic() > deadline:
                raise SourceUnavailable(f"{self._name}: no picture can be decoded for {_UNDECODABLE_S:g} s")
        t_ns, frame = self._waiting.popleft()
        return Picture(t_ns, utc_now(), "arrival", partial(self._images.of, frame))

    def close(self) -> None:
        """Disconnect. Without this, each connection would leak 12 MB, a descriptor and two threads (measured)."""
        self._batches = iter(())
        self._waiting.clear()
        if self._container is not None:
            self._container.close()
            self._container = None

    def _arrival(self, stamp: Fraction | None) -> int | None:
        """Time since the connection. Timestamps are no clock: they begin anew at each join.

        RTSP's first pictures often have none (6 of 7 joins) and may be older than they seem: left out.
        """
        return None if stamp is None and self._rtsp else time.monotonic_ns() - self._opened_ns

    def _ending(self) -> SourceError:
        error = self._decoder.read_error if self._decoder is not None else None
        if error is not None:
            return explain(error, self._name, self._link.timeout_s)
        # FFmpeg ends a stream without error when the server dies: measured for TCP and UDP.
        return SourceUnavailable(f"{self._name}: the stream ended")
