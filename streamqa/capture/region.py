"""What of a picture is looked at: privacy masks and the zone. Pure.

Masks are blacked out in every case, whatever the zone is, before anybody else has the picture: after `apply` the
masked pixels do not exist any more. They grow outward to whole pixels of even position, since in video two by two
pixels share their colour: half of such a block would give away what the other half shows.

A pixel belongs to a zone when its centre does. A zone so small that it holds none is its bounding box of at least
one pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from streamqa.types import Box, Point, Zone

if TYPE_CHECKING:
    from streamqa.types import Image

_Grid: TypeAlias = npt.NDArray[np.float64]


class Cut(NamedTuple):
    """A rectangle of whole pixels, right and bottom excluded."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left


class Look:
    """A zone and masks, to be applied to picture after picture. For one thread: it remembers a polygon's pixels."""

    def __init__(self, zone: Zone | None = None, masks: Sequence[Box] = ()) -> None:
        self._zone = zone
        self._masks = tuple(masks)
        # Of the last size of a picture: 1 in the polygon, 0 outside, (rows, columns, 3) of the cut; None: all 1.
        self._kept: tuple[tuple[int, int], Image | None] | None = None

    def cut(self, height: int, width: int) -> Cut:
        """Which pixels of a picture of that size are left: those of the zone's bounding box, or all."""
        if self._zone is None:
            return Cut(0, 0, width, height)
        box = self._zone.box
        left, right = _span(box.x_min, box.x_max, width)
        top, bottom = _span(box.y_min, box.y_max, height)
        return Cut(left, top, right, bottom)

    def apply(self, image: Image) -> Image:
        """What may be seen of `image`, uint8 (H, W, 3) RGB, upright: its zone in full resolution, contiguous.

        Black is what a mask covers, and what lies in the bounding box of a polygon but outside of the polygon. The
        result shares no memory with `image`, which stays as it is; only where there is neither mask nor zone is
        it `image` itself.
        """
        height, width, _ = image.shape
        cut = self.cut(height, width)
        inside = self._inside(cut, height, width)
        if not self._masks and inside is None and cut == (0, 0, width, height):
            return image
        # Masked pixels are in this copy, which nobody else has yet, for as long as the next lines take.
        part = image[cut.top : cut.bottom, cut.left : cut.right].copy()
        for mask in self._masks:
            hidden = masked(mask, height, width)
            rows = slice(max(0, hidden.top - cut.top), max(0, hidden.bottom - cut.top))
            part[rows, max(0, hidden.left - cut.left) : max(0, hidden.right - cut.left)] = 0
        if inside is not None:
            part *= inside  # 20 times as fast as to assign by a boolean mask: 1 ms for 1920×1080
        return part

    def _inside(self, cut: Cut, height: int, width: int) -> Image | None:
        """By what the cut of a picture of that size is multiplied; None where all of it is in the zone."""
        if self._zone is None:
            return None
        if self._kept is None or self._kept[0] != (height, width):
            self._kept = (height, width), _polygon(self._zone, cut, height, width)
        return self._kept[1]


def masked(mask: Box, height: int, width: int) -> Cut:
    """The pixels of a picture of that size that `mask` blacks out."""
    left, right = _outward(mask.x_min, mask.x_max, width)
    top, bottom = _outward(mask.y_min, mask.y_max, height)
    return Cut(left, top, right, bottom)


def _outward(low: float, high: float, size: int) -> tuple[int, int]:
    first = max(0, 2 * math.floor(low * size / 2))
    return first, min(size, max(first, 2 * math.ceil(high * size / 2)))


def _span(low: float, high: float, size: int) -> tuple[int, int]:
    """The pixels whose centres lie in [low, high), at least one."""
    first = min(size - 1, math.ceil(low * size - 0.5))
    return first, max(first + 1, min(size, math.ceil(high * size - 0.5)))


def _polygon(zone: Zone, cut: Cut, height: int, width: int) -> Image | None:
    """1 where a pixel's centre lies in the polygon, by the even-odd rule, else 0; None where all of them do."""
    x = np.arange(cut.left, cut.right) + 0.5
    y: _Grid = np.arange(cut.top, cut.bottom, dtype=np.float64)[:, None] + 0.5
    inside = np.zeros((cut.height, cut.width), np.bool_)
    for one, other in zip(zone.corners, (*zone.corners[1:], zone.corners[0]), strict=True):
        low, high = (one, other) if one.y <= other.y else (other, one)
        crossed = (y >= low.y * height) & (y < high.y * height)
        inside ^= crossed & (x >= _crossing(low, high, y, height, width))
    if inside.all() or not inside.any():
        return None
    return np.repeat(inside.astype(np.uint8)[:, :, None], 3, axis=2)


def _crossing(low: Point, high: Point, y: _Grid, height: int, width: int) -> _Grid:
    """Where the line through two corners is at the heights `y`; of a level line anything, it is never crossed."""
    rise = (high.y - low.y) * height or 1.0
    return low.x * width + (y - low.y * height) / rise * (high.x - low.x) * width
