"""The recent frames of a live source, for questions that are asked once.

The newest is kept as it is. Older ones, at most four a second, are kept as JPEG of quality 90, since a minute of
1920×1080 would be 370 MB otherwise; so a moment of the past is seen through that compression. What was masked is
black in both. Measured at 1920×1080: 5 to 6 ms of CPU and 0.1 to 0.3 MB a frame (4:4:4 takes twice of both).
"""

from __future__ import annotations

import io
import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures

from streamqa.errors import NotThere
from streamqa.jpeg import to_jpeg
from streamqa.types import NS_PER_S, Frame, Moment

if TYPE_CHECKING:
    from streamqa.types import Image

MOST_BYTES = 32 * 2**20  # of one source
APART_NS = NS_PER_S // 4
_QUALITY = 90
_EARLY_NS = 10 * NS_PER_S  # so far beyond the newest frame a moment is taken for a mistake
_NO_IMAGE: Image = np.zeros((1, 1, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class _Kept:
    """An older frame: all but its image, and that as JPEG."""

    frame: Frame
    jpeg: bytes

    def whole(self) -> Frame:
        """The frame with its image."""
        with Pictures.open(io.BytesIO(self.jpeg)) as picture:
            return replace(self.frame, image=np.asarray(picture.convert("RGB")))


class Ring:
    """The frames of the last `horizon_ns`, at most 32 MB of them. One thread adds, any may look."""

    def __init__(self, source: str, horizon_ns: int, most_bytes: int = MOST_BYTES) -> None:
        """`horizon_ns` 0: the newest frame only."""
        self._source, self._horizon_ns, self._most_bytes = source, horizon_ns, most_bytes
        self._lock = threading.Lock()
        self._newest: Frame | None = None
        self._kept: deque[_Kept] = deque()
        self._bytes = 0

    def add(self, frame: Frame) -> None:
        """The source has a newer frame."""
        older = self._newest
        kept = None
        if older is not None and self._horizon_ns and self._is_apart(older):
            kept = _Kept(replace(older, image=_NO_IMAGE), to_jpeg(older.image, _QUALITY))
        with self._lock:
            self._newest = frame
            if kept is not None:
                self._kept.append(kept)
                self._bytes += len(kept.jpeg)
            while self._kept and (
                self._bytes > self._most_bytes
                or self._kept[0].frame.received_ns < frame.received_ns - self._horizon_ns
            ):
                self._bytes -= len(self._kept.popleft().jpeg)

    def at(self, moment: Moment, now_ns: int) -> Frame:
        """The frame that was the newest at `moment`; `now_ns` is the monotonic clock.

        Raises:
            NotThere: there is none yet, or none of that time is kept.
        """
        with self._lock:
            newest, kept = self._newest, tuple(self._kept)
        if newest is None:
            raise NotThere(f"source {self._source!r} has given no frame yet; see its state")
        if moment == Moment() or _is_by(newest, moment, now_ns):
            if moment.t_ns is not None and moment.t_ns > newest.t_ns + _EARLY_NS:
                raise NotThere(
                    f"source {self._source!r}: its newest frame is of t {newest.t_s:.1f} s; ask for less"
                )
            return newest
        for older in reversed(kept):
            if _is_by(older.frame, moment, now_ns):
                return older.whole()
        oldest = kept[0].frame if kept else newest
        ago_s = (now_ns - oldest.received_ns) / NS_PER_S
        raise NotThere(
            f"source {self._source!r}: no frame of that time is kept; the oldest is of t {oldest.t_s:.1f} s, "
            f"{ago_s:.1f} s ago (sources.{self._source}.recent says how far back they go)"
        )

    def _is_apart(self, frame: Frame) -> bool:
        return not self._kept or frame.t_ns - self._kept[-1].frame.t_ns >= APART_NS


def _is_by(frame: Frame, moment: Moment, now_ns: int) -> bool:
    """Whether `frame` was there by then."""
    if moment.t_ns is not None:
        return frame.t_ns <= moment.t_ns
    if moment.at is not None:
        return frame.captured_at is not None and frame.captured_at <= moment.at
    return frame.received_ns <= now_ns - (moment.ago_ns or 0)
