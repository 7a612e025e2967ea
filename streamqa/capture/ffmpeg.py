"""FFmpeg, opened safely: bounded waits, one stream chosen, errors in our own words.

PyAV's exceptions carry the whole URL with its password in their text, so none leaves this package, not even as
the context of one of ours; only the operating system's word for an error (`strerror`, without URL) is quoted.
"""

from __future__ import annotations

import errno
import time
from typing import TypeAlias

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from streamqa.capture.diagnosis import certificate_problem, name_problem
from streamqa.capture.links import Link, address_of, protocol_of
from streamqa.errors import SourceError, SourceRefused, SourceUnavailable

# Decoders that read any bytes as pictures of text: a file `notes.txt` would be a video without this.
_TEXT_ART = {"ansi", "bintext", "xbin", "idf"}

_MOST_PIXELS = (
    100_000_000  # of a picture: 8K has a third of that; a few damaged or evil bytes may claim any size
)

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
_CLOSED = "it closed the connection; is it busy, or restarting?"
_NOT_NOW = {
    errno.ECONNREFUSED: "connection refused; is it on, and is the port right?",
    errno.EHOSTUNREACH: "no way to its address; is it on, and in this network?",
    errno.ENETUNREACH: "no way to its network; check this machine's network and the address",
    errno.ECONNRESET: _CLOSED,
    errno.EPIPE: _CLOSED,
    errno.EINVAL: "FFmpeg cannot open what it names; check the URL",
    errno.EPROTONOSUPPORT: "it does not send by this transport; set transport: tcp, or udp",
    errno.EIO: "the connection failed or broke; is it on, and is the URL right?",
}
_BY_KIND = {  # that have no number of the system
    av.error.EOFError: _CLOSED,
    av.error.HTTPServerError: "it answers with an error of its own (5xx); is it busy, or restarting?",
    av.error.InvalidDataError: "what it sends is no video that FFmpeg knows; check the URL",
}


def explain(error: FFmpegError, name: str, timeout_s: float | None) -> SourceError:
    """What `error` means for the source that is called `name` (without secrets), as an error of ours."""
    for kind, words in _NO.items():
        if isinstance(error, kind):
            return SourceRefused(f"{name}: {words}")
    if isinstance(error, av.error.HTTPClientError):
        return SourceRefused(f"{name}: the server refuses: {error.strerror}; check the URL")
    if isinstance(error, _TIMEOUTS):
        return _no_data(name, timeout_s)
    if error.errno in _NOT_NOW:
        return SourceUnavailable(f"{name}: {_NOT_NOW[error.errno]}")
    for kind, words in _BY_KIND.items():
        if isinstance(error, kind):
            return SourceUnavailable(f"{name}: {words}")
    return SourceUnavailable(f"{name}: {error.strerror or type(error).__name__}")


def open_input(
    target: str,
    name: str,
    *,
    link: Link | None = None,
    timeout_s: Timeout = None,
    hwaccel: HWAccel | None = None,
) -> tuple[InputContainer, VideoStream]:
    """Open `target`; return the container, which the caller closes, and the video stream to decode.

    One decoder thread: more cost 10 to 25 % of CPU and, when a packet is damaged, the pictures in flight.
    A URL of the network needs a `link`, which bounds every wait. `timeout_s`, for files, is PyAV's own timeout, for
    opening and for each read, or one for each. Looking up a name is bounded by the system's resolver alone.

    Raises:
        SourceRefused, SourceUnavailable: in one line that starts with `name`.
    """
    failure: SourceError
    options: dict[str, str] = {}
    if link is not None:
        options, timeout_s = link.options(target), link.own_timeout_s(target)
    began_s = time.monotonic()
    try:
        # A damaged file's metadata need not be UTF-8; nobody reads them here.
        container = av.open(
            target, "r", options=options, timeout=timeout_s, metadata_errors="replace", hwaccel=hwaccel
        )
    except FFmpegError as error:
        took_s = time.monotonic() - began_s
        failure = (
            explain(error, name, timeout_s[0] if isinstance(timeout_s, tuple) else timeout_s)
            if link is None
            else _why_no_link(error, name, target, link, took_s)
        )
    else:
        stream = _video_stream(container)
        if stream is not None and stream.width * stream.height <= _MOST_PIXELS:
            stream.codec_context.thread_count = 1
            stream.codec_context.options = {"max_pixels": str(_MOST_PIXELS)}  # sizes may change on the way
            return container, stream
        failure = SourceRefused(f"{name}: {_no_use(container, stream)}")
        container.close()
    raise failure  # outside of the except block: with no context that holds the URL


def _no_use(container: InputContainer, stream: VideoStream | None) -> str:
    if stream is not None:
        return f"pictures of {stream.width}x{stream.height} are too large; give a smaller stream"
    found = sorted({other.type for other in container.streams})
    return f"no video in it, only {' and '.join(found) or 'nothing'}; give a video"


def _no_data(name: str, timeout_s: float | None) -> SourceError:
    waited = "" if timeout_s is None else f" for {timeout_s:g} s"
    return SourceUnavailable(f"{name}: no data{waited}; is it reachable?")


def _why_no_link(error: FFmpegError, name: str, url: str, link: Link, took_s: float) -> SourceError:
    """What `error` means for a URL that could not be opened within `took_s`.

    FFmpeg says "Invalid data" when an RTSP server was silent until the timeout, and "Input/output error" for a silent
    TLS server, an unknown host and a certificate that is not trusted alike (measured).
    """
    vague = isinstance(error, av.error.InvalidDataError) or error.errno == errno.EIO
    if vague and took_s >= link.timeout_s:
        return _no_data(name, link.timeout_s)
    address, protocol = address_of(url), protocol_of(url)
    if error.errno == errno.EIO and address is not None and protocol is not None:
        problem = name_problem(name, *address)
        if problem is None and protocol.tls and link.tls_verify:
            problem = certificate_problem(name, *address, link.timeout_s)
        if problem is not None:
            return problem
    return explain(error, name, link.timeout_s)


def _video_stream(container: InputContainer) -> VideoStream | None:
    """The first stream of moving pictures: no cover art of a song, no text drawn as pictures."""
    for stream in container.streams.video:
        attached = bool(stream.disposition & av.stream.Disposition.attached_pic)
        if not attached and stream.codec_context is not None and stream.name not in _TEXT_ART:
            return stream
    return None
