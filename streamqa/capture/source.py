"""`Source`: where frames come from. The URL grammar and the table of kinds."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, cast

from streamqa.errors import ConfigError
from streamqa.types import NS_PER_S, Box, Clock, Detail, Zone

if TYPE_CHECKING:
    from streamqa.capture.reach import Reach
    from streamqa.hours import Hours
    from streamqa.types import Image


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A source as configured."""

    id: str
    url: str  # may hold a password: never log it, use `redact`
    # "fast": every frame counts, as quick as it goes; "realtime": as a live source; "auto": fast for files
    pace: str = "auto"
    loop: bool = False  # files at pace "realtime": start again at the end
    priority: int = 0  # higher ones are served first, even if others then starve
    detail: Detail = "full"  # what the model looks at; "fast" is approximate
    stall_after_s: float = 5.0  # live: without a frame for so long, the source is reported stalled
    frozen_after_s: float | None = None  # identical pictures for so long: frozen; 0: never; None: by kind
    zone: Zone | None = None  # the part of the picture that leaves capture; None: all of it
    masks: tuple[Box, ...] = ()  # blacked out before anybody sees them, in units of the whole picture
    when: Hours | None = None  # live: paused outside of these
    transport: str = "tcp"  # RTSP: "tcp" or "udp"
    tls_verify: bool = True  # rtsps, https, rtmps: refuse a server whose certificate cannot be trusted
    hwaccel: str = "off"  # "auto", "cuda", "vaapi" or "off"
    size: tuple[int, int] | None = None  # webcams: width and height to ask for
    fps: float | None = None  # webcams: frames per second to ask for
    fourcc: str | None = None  # webcams: pixel format to ask for
    watch: bool = False  # folders: wait for new files for ever
    interval_ns: int = NS_PER_S  # folders of images: stream time from one to the next
    recent_s: float = 0.0  # live: how far back single questions may look; 0: the newest frame only
    reach: Reach | None = None  # where it may lead, whatever its server says; None: anywhere


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture as a source read it, before sampling gives it an index."""

    t_ns: int  # stream time since this open, starting near 0, never going back
    captured_at: datetime | None
    clock: Clock
    # Converts to uint8 (H, W, 3) RGB. Called only for pictures that are kept, by the thread that read it,
    # before its next read; a webcam's may raise SourceUnavailable.
    to_image: Callable[[], Image]
    delay_ns: int = 0  # how much longer than others it took to come, where that is known


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What is known of a source that is open, for people; what is not known is empty."""

    codec: str = ""
    width: int = 0  # pixels
    height: int = 0
    fps: float | None = None
    gop_s: float | None = None  # from one keyframe to the next, as measured so far
    note: str = ""  # what its owner should know, e.g. that hardware decoding fell back
    clock: Clock | None = None  # in use for the last picture
    decoder: str = ""  # "cpu" or a device; for "cpu", why, where something else was wished for
    jumps: int = 0  # live: how often timestamps jumped, and a new segment began


class Source(Protocol):
    """A camera, a stream or a file. One thread owns it from open to close."""

    @property
    def is_live(self) -> bool:
        """Live sources drop what nobody took in time; others wait."""
        ...

    def open(self) -> None:
        """Connect.

        Raises:
            SourceUnavailable: worth another try soon.
            SourceRefused: worth a slow retry only.
        """
        ...

    @property
    def facts(self) -> SourceFacts:
        """What is known by now; of the last connection, where it is closed. For the thread that reads."""
        ...

    def read(self, wanted_ns: int = 0) -> Picture | None:
        """The next picture at or after stream time `wanted_ns` (since this open), within a bounded time.

        Pictures before `wanted_ns` may be left out, so that they need not be decoded; which one is the first at or
        after it must not depend on that. None: there is life, but nothing of that time yet; call again.

        Raises:
            SourceEnded: a recording is over.
            SourceUnavailable: the connection broke, also the clean end of a live stream; or a recording is
                damaged, told at its end, after all that could be read of it.
            SourceRefused: it opened, but there is not one picture in it.
        """
        ...

    def close(self) -> None:
        """Free everything; may be called in any state, also twice."""
        ...


# kind -> "module:function"; the function takes a SourceSpec and returns a Source, not yet opened.
KINDS: dict[str, str] = {
    "webcam": "streamqa.capture.webcam:make",
    "scene": "streamqa.capture.scene:make",
    "video": "streamqa.capture.video:make",
    "folder": "streamqa.capture.folder:make",
}

_SCHEMES = dict.fromkeys(("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "srt"), "video")
# Up to the last @ before a slash, or, where a password itself holds a slash, up to the last @ of the word:
# hiding a little too much of a message is better than half a password. Some cameras take it in the query.
_CREDENTIALS = re.compile(r"//(?:[^/\s]*|[^/@\s]*:\S*|[^/@\s]*:[^/\n]*)@")
_QUERY_SECRETS = re.compile(
    r"([?&](?:pass\w*|pwd|user\w*|usr|login\w*|\w*token|secret|auth|(?:api[_-]?)?key)=)[^&#\s'\"]*",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """`text` without the user names and passwords of URLs inside it; FFmpeg's exceptions carry them whole."""
    return _QUERY_SECRETS.sub(r"\1***", _CREDENTIALS.sub("//***@", text))


def kind_of(url: str) -> str:
    """The kind of source that a URL or a path names, by its text alone.

    Raises:
        ConfigError: an empty text or an unknown scheme.
    """
    if not url.strip():
        raise ConfigError("source: empty; give a file, a folder, rtsp://…, webcam:0 or scene:gate")
    scheme, colon, rest = url.partition(":")
    scheme = scheme.lower()
    if scheme in ("webcam", "scene", "folder") and colon:
        return scheme
    if re.fullmatch(r"/dev/video\d+", url):
        return "webcam"
    if rest.startswith("//"):
        if scheme in _SCHEMES:
            return _SCHEMES[scheme]
        raise ConfigError(f"source {redact(url)!r}: unknown scheme; there are {', '.join(sorted(_SCHEMES))}")
    return "video"


def make_source(spec: SourceSpec) -> Source:
    """Build the source that `spec` names, not yet opened.

    Raises:
        ConfigError: the URL is of no known kind.
    """
    kind = kind_of(spec.url)
    if kind == "video" and "://" not in spec.url and os.path.isdir(spec.url):
        kind = "folder"
    module, _, function = KINDS[kind].partition(":")
    make = cast(Callable[[SourceSpec], Source], getattr(importlib.import_module(module), function))
    return make(spec)
