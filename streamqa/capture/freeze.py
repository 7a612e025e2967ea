"""Whether a camera's picture has frozen: the same bytes again and again. Pure.

A sensor's noise makes every picture another one, so a camera that repeats itself to the last bit has most likely
stopped looking, while it goes on sending. A still scene under heavy compression can look so, too: the encoder then
says "as before" of every block. So this is a warning and never stops an answer.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from streamqa.types import NS_PER_S

if TYPE_CHECKING:
    from streamqa.capture.source import SourceSpec
    from streamqa.types import Image

DEFAULT_S = 30.0  # of cameras
_FEWEST = 3  # identical pictures: with a slide of a minute two may well be alike
_EVERY_ROW = 8


def limit_ns(spec: SourceSpec, is_live: bool) -> int:
    """For how long a source's pictures may be identical; 0: for ever.

    What is not set is 30 s for cameras and network streams. Rendered scenes, and files played as if they were
    live, may stand still.
    """
    if not is_live:
        return 0
    if spec.frozen_after_s is not None:
        return round(spec.frozen_after_s * NS_PER_S)
    url = spec.url.lower()
    played = spec.pace == "realtime" and url.startswith("http")
    camera = url.startswith(("webcam:", "/dev/video")) or ("://" in url and not played)
    return round(DEFAULT_S * NS_PER_S) if camera else 0


def checksum(image: Image) -> int:
    """A number that differs for nearly all pictures that differ; (H, W, 3) uint8.

    Of every eighth row, in 0.15 ms at 1920x1080 (measured): noise reaches each row.
    """
    return zlib.crc32(np.ascontiguousarray(image[::_EVERY_ROW]).data, image.shape[0] << 16 | image.shape[1])


class Stillness:
    """How long one connection's pictures have been identical."""

    def __init__(self, limit_ns: int) -> None:
        """`limit_ns`: from the first of identical pictures to the newest; 0: never still."""
        self._limit_ns = limit_ns
        self._mark: int | None = None
        self._since_ns = self._latest_ns = 0
        self._count = 0

    def saw(self, mark: int, now_ns: int) -> bool:
        """Take the checksum of the newest picture; whether it is identical to the one before."""
        same = mark == self._mark
        if not same:
            self._mark, self._since_ns, self._count = mark, now_ns, 0
        self._count += 1
        self._latest_ns = now_ns
        return same

    def forget(self) -> None:
        """The connection is another one, or there were no pictures for a while."""
        self._mark, self._count = None, 0

    @property
    def is_still(self) -> bool:
        """Whether at least three identical pictures span the limit."""
        span_ns = self._latest_ns - self._since_ns
        return 0 < self._limit_ns <= span_ns and self._count >= _FEWEST
