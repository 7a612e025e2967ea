"""Recordings, through FFmpeg (PyAV); and which source a path or URL is."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.stream import VideoStream

from streamqa.capture.decoder import RecordedPictures
from streamqa.capture.ffmpeg import open_input
from streamqa.capture.hardware import Hardware, choose
from streamqa.capture.images import Images
from streamqa.capture.links import Link, silence_s
from streamqa.capture.pace import Realtime
from streamqa.capture.passage import Passage
from streamqa.capture.reach import Reach
from streamqa.capture.source import Picture, Source, SourceFacts, SourceSpec, redact
from streamqa.capture.stream import TIMEOUT_S, StreamSource
from streamqa.errors import SourceEnded, SourceError, SourceRefused, SourceUnavailable

_PATIENCE_S = 0.25  # a read that reaches no picture for so long returns, so that a stop is noticed
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
            spec.url,
            silence_s(spec.url, TIMEOUT_S),
            transport=spec.transport,
            tls_verify=spec.tls_verify,
            hwaccel=spec.hwaccel,
            reach=spec.reach,
        )
    recording = FileSource(spec.url, tls_verify=spec.tls_verify, hwaccel=spec.hwaccel, reach=spec.reach)
    return Realtime(recording, loop=spec.loop) if spec.pace == "realtime" else recording


class FileSource:
    """A recording: the wanted pictures, at their media times, as fast as somebody takes them."""

    is_live = False

    def __init__(
        self, url: str, *, tls_verify: bool = True, hwaccel: str = "off", reach: Reach | None = None
    ) -> None:
        """`url`: a path, or an http URL of a file; the others are as in `SourceSpec`."""
        self._url = url
        self._hwaccel = hwaccel
        self._hardware = Hardware()
        self._link = Link(TIMEOUT_S, tls_verify=tls_verify, live=False)
        self._passage = Passage(reach, TIMEOUT_S)
        self._name = redact(url)
        self._container: InputContainer | None = None
        self._pictures: RecordedPictures | None = None
        self._images = Images()
        self._facts = SourceFacts()

    def open(self) -> None:
        """Open the file and find its video.

        Raises:
            SourceRefused: missing, empty, a directory, unreadable, or nothing that FFmpeg knows as video.
            SourceUnavailable: an http server that does not answer.
        """
        self.close()
        hardware = choose(self._hwaccel)
        if "://" in self._url:
            opened = self._open_link(hardware.accel)
        else:
            _check_file(self._url, self._name)
            opened = _open_file(self._url, self._name, hardware.accel)
        self._container, stream = opened
        self._pictures = RecordedPictures(self._container, stream)
        context = stream.codec_context
        fps = float(stream.average_rate) if stream.average_rate else None
        self._hardware = hardware.after_open(context.name, context.is_hwaccel)
        self._facts = SourceFacts(
            context.codec.canonical_name, context.width, context.height, fps, clock="media"
        )

    @property
    def facts(self) -> SourceFacts:
        """As the file says, and as measured so far."""
        pictures = self._pictures
        if pictures is None:
            return self._facts
        whole = (
            "decoded whole: its keyframes or timestamps cannot be relied on"
            if pictures.is_decoded_whole
            else ""
        )
        return replace(
            self._facts,
            fps=pictures.rate.fps or self._facts.fps,
            gop_s=pictures.gops.mean_s,
            note="; ".join(filter(None, (self._hardware.note, whole))),
            decoder=self._hardware.decoder,
        )

    @property
    def end_ns(self) -> int:
        """Stream time at which it is over, once `read` has said that it has ended; before, of what was read."""
        return self._pictures.end_ns if self._pictures is not None else 0

    def read(self, wanted_ns: int = 0) -> Picture | None:
        """The next picture at or after `wanted_ns`, exactly; None after a quarter of a second's work without it.

        Raises:
            SourceEnded: that was all.
            SourceUnavailable: that was all, but parts of the file were damaged or are missing.
            SourceRefused: there was not one picture.
        """
        if self._container is None or self._pictures is None:
            raise SourceUnavailable(f"{self._name}: not open")
        following = self._pictures.read(wanted_ns, time.monotonic() + _PATIENCE_S)
        if following is None:
            if self._pictures.ended:
                raise self._ending(self._pictures)
            return None
        t_ns, frame = following
        self._facts = replace(self._facts, width=frame.width, height=frame.height)
        self._hardware = self._hardware.after_picture(frame.format.name)
        return Picture(t_ns, None, "media", partial(self._images.of, frame))

    def close(self) -> None:
        """Close the file."""
        self._facts, self._pictures = self.facts, None
        if self._container is not None:
            self._container.close()
            self._container = None
        self._passage.close()

    def _open_link(self, hwaccel: HWAccel | None) -> tuple[InputContainer, VideoStream]:
        link = replace(self._link, proxy=self._passage.open(self._url, self._name))
        try:
            return open_input(self._url, self._name, link=link, hwaccel=hwaccel)
        except SourceError as error:
            raise self._passage.why(error, self._name) from None

    def _ending(self, pictures: RecordedPictures) -> SourceError:
        if pictures.is_fruitless:
            return SourceRefused(f"{self._name}: not one picture in it can be decoded; the file is damaged")
        if pictures.lost or pictures.missing:
            lost = f"{pictures.lost} of its pictures could not be decoded" if pictures.lost else ""
            missing = f"{pictures.missing} missing at the end" if pictures.missing else ""
            return SourceUnavailable(f"{self._name}: damaged: {', '.join(filter(None, (lost, missing)))}")
        gaps = pictures.gaps
        if gaps.pictures:
            holes = f"{gaps.pictures} pictures seem to be missing, {gaps.seconds:.1f} s in all"
            return SourceEnded(f"{self._name}: end; {holes}, as the others come evenly")
        return SourceEnded(f"{self._name}: end")


def _open_file(path: str, name: str, hwaccel: HWAccel | None) -> tuple[InputContainer, VideoStream]:
    """Open a file; what FFmpeg cannot read now, it cannot read later either, so that is a refusal."""
    try:
        # "file:" keeps FFmpeg from reading a protocol into a name such as "12:30.mp4".
        # The timeout is for playlists: of a live one FFmpeg tries the segments for ever.
        return open_input(f"file:{path}", name, timeout_s=(_OPEN_FILE_S, None), hwaccel=hwaccel)
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
