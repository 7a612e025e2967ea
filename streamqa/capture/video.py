"""Recordings, through FFmpeg (PyAV); and which source a path or URL is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import partial
from urllib.parse import urlsplit

from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streamqa.capture.decoder import Decoder, media_clock
from streamqa.capture.ffmpeg import open_input
from streamqa.capture.images import Images
from streamqa.capture.links import Link
from streamqa.capture.pace import Realtime
from streamqa.capture.source import Picture, Source, SourceFacts, SourceSpec, redact
from streamqa.capture.stream import TIMEOUT_S, StreamSource
from streamqa.errors import SourceEnded, SourceError, SourceRefused, SourceUnavailable

_FILE_READ_ERRORS = 100
_OPEN_FILE_S = 30.0
_LIVE = ("rtsp", "rtsps", "rtmp", "rtmps", "srt")
_RECORDED = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".mpeg", ".flv", ".wmv"}


def make(spec: SourceSpec) -> Source:
    """The source for a path or a URL: a recording, a recording played live, or a live stream.

    At pace "fast" an http URL is a recording whatever its name, e.g. a whole HLS playlist.
    """
    scheme = spec.url.partition("://")[0].lower() if "://" in spec.url else ""
    recorded = spec.pace == "fast" or os.path.splitext(urlsplit(spec.url).path)[1].lower() in _RECORDED
    if scheme in _LIVE or (scheme and not recorded):
        return StreamSource(
            spec.url, transport=spec.transport, tls_verify=spec.tls_verify, hwaccel=spec.hwaccel
        )
    recording = FileSource(spec.url, spec.tls_verify)
    return Realtime(recording, loop=spec.loop) if spec.pace == "realtime" else recording


class FileSource:
    """A recording: every picture, at its media time, as fast as somebody takes them."""

    is_live = False

    def __init__(self, url: str, tls_verify: bool = True) -> None:
        """`url`: a path, or an http URL of a file; `tls_verify` as in `SourceSpec`."""
        self._url = url
        self._link = Link(TIMEOUT_S, tls_verify=tls_verify, live=False)
        self._name = redact(url)
        self._container: InputContainer | None = None
        self._decoder: Decoder | None = None
        self._pictures: Iterator[tuple[int, VideoFrame]] = iter(())
        self._images = Images()
        self._given = 0

    def open(self) -> None:
        """Open the file and find its video.

        Raises:
            SourceRefused: missing, empty, a directory, unreadable, or nothing that FFmpeg knows as video.
            SourceUnavailable: an http server that does not answer.
        """
        self.close()
        if "://" in self._url:
            opened = open_input(self._url, self._name, link=self._link)
        else:
            _check_file(self._url, self._name)
            opened = _open_file(self._url, self._name)
        self._container, stream = opened
        self._decoder = Decoder(self._container, stream, media_clock(stream), _FILE_READ_ERRORS)
        self._pictures = (picture for batch in self._decoder.batches() for picture in batch)
        self._given = 0

    @property
    def facts(self) -> SourceFacts:
        """Nothing yet."""
        return SourceFacts()

    def read(self, wanted_ns: int = 0) -> Picture | None:
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
            problem = "a directory; give a video file"
        elif not stat.S_ISREG(mode):
            problem = "not a regular file; give a video file"
        elif not size:
            problem = "an empty file; give a video"
        else:
            return
    raise SourceRefused(f"{name}: {problem}") from None
