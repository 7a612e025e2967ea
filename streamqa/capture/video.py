"""Files and network streams, through FFmpeg (PyAV)."""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from streamqa.capture.decoder import Decoder, media_clock
from streamqa.capture.ffmpeg import explain, open_input
from streamqa.capture.pace import Realtime
from streamqa.capture.source import Picture, Source, SourceSpec, redact
from streamqa.errors import SourceEnded, SourceError, SourceRefused, SourceUnavailable
from streamqa.types import utc_now

if TYPE_CHECKING:
    from streamqa.types import Image

_TIMEOUT_S = 5.0
_FILE_READ_ERRORS = 100
_OPEN_FILE_S = 30.0
_UNDECODABLE_S = 30.0  # packets without one picture for so long: connect anew. Some cameras' GOPs take 10 s
_RECORDED = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".mpeg", ".flv", ".wmv"}


def _timeouts(url: str, timeout_s: float) -> dict[str, str]:
    """FFmpeg's options that bound every wait.

    `timeout` (µs) is the only one that bounds RTSP reads, at twice its value; `stimeout` and `rw_timeout` are
    ignored there without a word (measured). HTTP has `rw_timeout`, and PyAV's own timeout for servers that trickle.
    """
    microseconds = str(int(timeout_s * 1e6))
    if url.lower().startswith("rtsp"):
        return {"rtsp_transport": "tcp", "timeout": microseconds}
    return {"rw_timeout": microseconds}


def make(spec: SourceSpec) -> Source:
    """The source for a path, or an rtsp or http URL: a recording, a recording played live, or a live stream."""
    scheme = urlsplit(spec.url).scheme.lower() if "://" in spec.url else ""
    if scheme in ("rtsp", "rtsps"):
        return StreamSource(spec.url)
    if scheme and os.path.splitext(urlsplit(spec.url).path)[1].lower() not in _RECORDED:
        return StreamSource(spec.url)
    recording = FileSource(spec.url)
    return Realtime(recording, loop=spec.loop) if spec.pace == "realtime" else recording


class _Images:
    """Decoded frames to upright RGB arrays, with one scaler for all of them."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def of(self, frame: VideoFrame) -> Image:
        """The picture as it is to be looked at: uint8 (H, W, 3) RGB, turned as its metadata says."""
        image: Image = (
            self._reformatter.reformat(frame, format="rgb24").to_ndarray().astype(np.uint8, copy=False)
        )
        quarters = round(frame.rotation / 90) % 4  # counter-clockwise, as rot90 turns
        return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image


class FileSource:
    """A recording: every picture, at its media time, as fast as somebody takes them."""

    is_live = False

    def __init__(self, url: str) -> None:
        """`url`: a path, or an http URL of a file."""
        self._url = url
        self._name = redact(url)
        self._container: InputContainer | None = None
        self._decoder: Decoder | None = None
        self._pictures: Iterator[tuple[int, VideoFrame]] = iter(())
        self._images = _Images()
        self._given = 0

    def open(self) -> None:
        """Open the file and find its video.

        Raises:
            SourceRefused: missing, empty, a directory, unreadable, or nothing that FFmpeg knows as video.
            SourceUnavailable: an http server that does not answer.
        """
        self.close()
        if "://" in self._url:
            opened = open_input(
                self._url, self._name, options=_timeouts(self._url, _TIMEOUT_S), timeout_s=_TIMEOUT_S
            )
        else:
            _check_file(self._url, self._name)
            opened = _open_file(self._url, self._name)
        self._container, stream = opened
        self._decoder = Decoder(self._container, stream, media_clock(stream), _FILE_READ_ERRORS)
        self._pictures = (picture for batch in self._decoder.batches() for picture in batch)
        self._given = 0

    def read(self) -> Picture:
        """The next picture.

        Raises:
            SourceEnded: that was all.
            SourceUnavailable: that was all, but parts of the file were damaged or are missing.
            SourceRefused: there was not one picture.
        """
        following = next(self._pictures, None)
        if following is None:
            raise self._ending()
        t_ns, frame = following
        self._given += 1
        return Picture(t_ns, None, "media", partial(self._images.of, frame))

    def close(self) -> None:
        """Close the file."""
        self._pictures = iter(())
        if self._container is not None:
            self._container.close()
            self._container = None

    def _ending(self) -> SourceError:
        decoder = self._decoder
        if decoder is None:
            return SourceUnavailable(f"{self._name}: not open")
        if not self._given:
            return SourceRefused(f"{self._name}: not one picture in it can be decoded; the file is damaged")
        if decoder.lost or decoder.missing:
            lost = f"{decoder.lost} of its pictures could not be decoded" if decoder.lost else ""
            missing = f"{decoder.missing} missing at the end" if decoder.missing else ""
            return SourceUnavailable(f"{self._name}: damaged: {', '.join(filter(None, (lost, missing)))}")
        return SourceEnded(f"{self._name}: end")


def _open_file(path: str, name: str) -> tuple[InputContainer, VideoStream]:
    """Open a file; what FFmpeg cannot read now, it cannot read later either, so that is a refusal."""
    try:
        # "file:" keeps FFmpeg from reading a protocol into a name such as "12:30.mp4".
        # The timeout is for playlists: of a live one FFmpeg tries the segments for ever.
        return open_input(f"file:{path}", name, timeout_s=(_OPEN_FILE_S, None))
    except SourceUnavailable:
        raise SourceRefused(f"{name}: not a video that FFmpeg can read, or damaged at its start") from None


def _check_file(path: str, name: str) -> None:
    """Refuse, in plain words, what FFmpeg would refuse in its own, or hang on."""
    try:
        mode, size = (status := os.stat(path)).st_mode, status.st_size
    except FileNotFoundError:
        problem = "no such file; check the path"
    except (OSError, ValueError) as error:
        problem = f"{getattr(error, 'strerror', None) or 'not a path'}; check the path"
    else:
        if stat.S_ISDIR(mode):
            problem = f"a directory; give the files in it, e.g. {name.rstrip('/')}/*.mp4"
        elif not stat.S_ISREG(mode):
            problem = "not a regular file; give a video file"
        elif not size:
            problem = "an empty file; give a video"
        else:
            return
    raise SourceRefused(f"{name}: {problem}") from None


class StreamSource:
    """A network stream: the pictures as they arrive."""

    is_live = True

    def __init__(self, url: str, timeout_s: float = _TIMEOUT_S) -> None:
        """`timeout_s`: without data for so long (FFmpeg: up to twice), the connection is given up."""
        self._url = url
        self._name = redact(url)
        self._timeout_s = timeout_s
        self._rtsp = url.lower().startswith("rtsp")
        self._container: InputContainer | None = None
        self._decoder: Decoder | None = None
        self._batches: Iterator[list[tuple[int, VideoFrame]]] = iter(())
        self._waiting: deque[tuple[int, VideoFrame]] = deque()
        self._images = _Images()
        self._opened_ns = 0

    def open(self) -> None:
        """Connect, within bounded time.

        Raises:
            SourceRefused: wrong password, no such stream, no video in it.
            SourceUnavailable: not there now.
        """
        self.close()
        options = _timeouts(self._url, self._timeout_s)
        timeout_s = None if self._rtsp else self._timeout_s
        self._container, stream = open_input(self._url, self._name, options=options, timeout_s=timeout_s)
        self._opened_ns = time.monotonic_ns()
        self._decoder = Decoder(self._container, stream, self._arrival, read_errors=1)
        self._decoder.doubt()  # what is predicted from pictures before ours is smeared
        self._batches = self._decoder.batches()

    def read(self) -> Picture:
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
            return explain(error, self._name, self._timeout_s)
        # FFmpeg ends a stream without error when the server dies: measured for TCP and UDP.
        return SourceUnavailable(f"{self._name}: the stream ended")
