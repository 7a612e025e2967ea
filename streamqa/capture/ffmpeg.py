"""FFmpeg, opened safely: bounded waits, one stream chosen, errors in our own words.

PyAV's exceptions carry the whole URL with its password in their text, so none leaves this package, not even as
the context of one of ours; only the operating system's word for an error (`strerror`, without URL) is quoted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from streamqa.errors import SourceError, SourceRefused, SourceUnavailable

# Decoders that read any bytes as pictures of text: a file `notes.txt` would be a video without this.
_TEXT_ART = {"ansi", "bintext", "xbin", "idf"}

Timeout: TypeAlias = float | tuple[float, float | None] | None  # seconds

_TIMEOUTS = (av.error.TimeoutError, av.error.ExitError)  # the second is no OSError: av.open's own timeout
_NO = {
    av.error.HTTPUnauthorizedError: "wrong user name or password (401); check them in the URL",
    av.error.HTTPForbiddenError: "access forbidden (403); check the user's rights on the camera",
    av.error.HTTPNotFoundError: "no such stream there (404); check the path of the URL",
    av.error.ProtocolNotFoundError: "FFmpeg here does not speak this protocol; use another URL",
    av.error.PermissionError: "permission denied; make it readable for this user",
    av.error.FileNotFoundError: "no such file; check the path",
}


def explain(error: FFmpegError, name: str, timeout_s: float | None) -> SourceError:
    """What `error` means for the source that is called `name` (without secrets), as an error of ours."""
    for kind, words in _NO.items():
        if isinstance(error, kind):
            return SourceRefused(f"{name}: {words}")
    if isinstance(error, av.error.HTTPClientError):
        return SourceRefused(f"{name}: the server refuses: {error.strerror}; check the URL")
    if isinstance(error, av.error.ConnectionRefusedError):
        return SourceUnavailable(f"{name}: connection refused; is it on, and is the port right?")
    if isinstance(error, _TIMEOUTS):
        waited = "" if timeout_s is None else f" for {timeout_s:g} s"
        return SourceUnavailable(f"{name}: no data{waited}; is it reachable?")
    return SourceUnavailable(f"{name}: {error.strerror or type(error).__name__}")


def timeouts(url: str, timeout_s: float) -> dict[str, str]:
    """FFmpeg's options that bound every wait.

    `timeout` (µs) is the only one that bounds RTSP reads, at twice its value; `stimeout` and `rw_timeout` are
    ignored there without a word (measured). HTTP has `rw_timeout`, and PyAV's own timeout for servers that trickle.
    """
    microseconds = str(int(timeout_s * 1e6))
    if url.lower().startswith("rtsp"):
        return {"rtsp_transport": "tcp", "timeout": microseconds}
    return {"rw_timeout": microseconds}


def open_input(
    target: str, name: str, *, options: Mapping[str, str] | None = None, timeout_s: Timeout = None
) -> tuple[InputContainer, VideoStream]:
    """Open `target`; return the container, which the caller closes, and the video stream to decode.

    One decoder thread: more cost 10 to 25 % of CPU and, when a packet is damaged, the pictures in flight.
    `timeout_s` is PyAV's own timeout, for opening and for each read, or one for each; it costs the GIL now and then.

    Raises:
        SourceRefused, SourceUnavailable: in one line that starts with `name`.
    """
    failure: SourceError
    try:
        # A damaged file's metadata need not be UTF-8; nobody reads them here.
        container = av.open(
            target, "r", options=dict(options or {}), timeout=timeout_s, metadata_errors="replace"
        )
    except FFmpegError as error:
        failure = explain(error, name, timeout_s[0] if isinstance(timeout_s, tuple) else timeout_s)
    else:
        stream = _video_stream(container)
        if stream is not None:
            stream.codec_context.thread_count = 1
            return container, stream
        found = sorted({stream.type for stream in container.streams})
        container.close()
        failure = SourceRefused(
            f"{name}: no video in it, only {' and '.join(found) or 'nothing'}; give a video"
        )
    raise failure  # outside of the except block: with no context that holds the URL


def _video_stream(container: InputContainer) -> VideoStream | None:
    """The first stream of moving pictures: no cover art of a song, no text drawn as pictures."""
    for stream in container.streams.video:
        attached = bool(stream.disposition & av.stream.Disposition.attached_pic)
        if not attached and stream.codec_context is not None and stream.name not in _TEXT_ART:
            return stream
    return None
