"""Decoding on a GPU where there is one; what it cannot do, the CPU does, and it is said."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from av.codec import Codec
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.error import FFmpegError

_DEVICES = ("cuda", "vaapi")  # in the order in which "auto" tries them
# The layouts in which pictures come down from a GPU; FFmpeg's own decoders of video give planes instead.
_DOWNLOADED = ("nv12", "nv16", "p010", "p012", "p016", "p210", "p216")


@cache  # a driver does not come and go; asking it takes 0.2 s where there is one
def missing(device: str) -> str:
    """Why this process cannot decode on "cuda" or "vaapi"; empty where it can."""
    if device not in hwdevices_available():
        return f"the FFmpeg of PyAV has no {device}"
    try:
        HWAccel(device).create(Codec("h264", "r"))
    except (FFmpegError, NotImplementedError):  # no driver, no device; not built for H.264
        return f"there is no {device} device that can be used"
    return ""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What decodes a source."""

    accel: HWAccel | None = None  # for `av.open`, which downloads the pictures; None: the CPU
    device: str = ""
    reason: str = ""  # why it is not as wished; empty where it is
    fell_back: bool = False  # whether that is news: not for "auto" on a machine without any device

    @property
    def decoder(self) -> str:
        """What decodes, and why, for `SourceFacts`."""
        if self.accel is not None:
            return self.device
        return f"cpu, since {self.reason}" if self.reason else "cpu"

    @property
    def note(self) -> str:
        """What its owner should be told."""
        return f"decoded by the CPU: {self.reason}" if self.fell_back else ""

    def after_open(self, codec: str, is_hwaccel: bool) -> Hardware:
        """What decodes a stream of this codec, once it is open."""
        if self.accel is None or is_hwaccel:
            return self
        return self.given_up(f"{self.device} does not decode {codec} here")

    def after_picture(self, layout: str) -> Hardware:
        """What decodes, known by the pixel format of the first picture: FFmpeg falls back without a word."""
        if self.accel is None or layout.startswith(_DOWNLOADED):
            return self
        return self.given_up(f"{self.device} cannot decode this stream")

    def given_up(self, reason: str) -> Hardware:
        """The CPU instead, for this reason."""
        return Hardware(None, "", reason, True)


def choose(wish: str) -> Hardware:
    """What is to decode, where "auto", "cuda", "vaapi" or "off" was wished for."""
    if wish == "off":
        return Hardware()
    reasons = []
    for device in _DEVICES if wish == "auto" else (wish,):
        reason = missing(device)
        if not reason:
            return Hardware(HWAccel(device), device)
        reasons.append(reason)
    return Hardware(None, "", "; ".join(reasons), wish != "auto")
