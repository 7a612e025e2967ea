"""The frames of a window as one labelled picture, for questions about what is being done. Pure.

Each cell is a frame, scaled down, under a strip that says which one it is and how long before the newest: no label
lies over a picture.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from streamqa.types import NS_PER_S

if TYPE_CHECKING:
    from streamqa.types import Image

MOST = 9  # cells
CELL_PX = 378  # the longer side of a cell at most: what moondream2 looks at in one piece
_STRIP_PX, _FONT_PX, _GAP_PX = 22, 16, 4
_BEHIND, _STRIP, _LETTERS = (0, 0, 0), (40, 40, 44), (255, 255, 255)


def grid(pictures: Sequence[Image], times_s: Sequence[float], most: int = MOST) -> Image:
    """The frames of a window, left to right and top to bottom, as one picture, uint8 (H, W, 3) RGB.

    Of more than `most` frames, so many are shown that lie evenly between the oldest and the newest, both included.
    The result is as large as the cells need, at most about 1,160 pixels a side where `most` is 9.

    Args:
        pictures: uint8 (H, W, 3) RGB, the oldest first; of any sizes, never scaled up.
        times_s: the stream time of each, in seconds.
        most: cells.

    Raises:
        ValueError: no picture, not as many times as pictures, or `most` below 1.
    """
    if not pictures or len(pictures) != len(times_s) or most < 1:
        raise ValueError(
            f"{len(pictures)} pictures, {len(times_s)} times, {most} cells at most: no grid of these"
        )
    chosen = _evenly(len(pictures), most)
    cells = [scaled(pictures[index]) for index in chosen]
    labels = [
        f"{place}/{len(chosen)}  {_ago(times_s[-1] - times_s[index])} s"
        for place, index in enumerate(chosen, start=1)
    ]
    font = ImageFont.load_default(_FONT_PX)
    text_px = max(math.ceil(font.getlength(label)) for label in labels) + 2 * _GAP_PX
    width = max(max(cell.shape[1] for cell in cells), min(text_px, CELL_PX))
    height = max(cell.shape[0] for cell in cells) + _STRIP_PX
    columns = math.ceil(math.sqrt(len(cells)))
    rows = math.ceil(len(cells) / columns)
    whole = Pictures.new(
        "RGB", (columns * (width + _GAP_PX) - _GAP_PX, rows * (height + _GAP_PX) - _GAP_PX), _BEHIND
    )
    for place, (cell, label) in enumerate(zip(cells, labels, strict=True)):
        strip = Pictures.new("RGB", (width, _STRIP_PX), _STRIP)  # of its own, so that no label leaves it
        ImageDraw.Draw(strip).text((_GAP_PX, _STRIP_PX / 2), label, fill=_LETTERS, font=font, anchor="lm")
        row, column = divmod(place, columns)
        left, top = column * (width + _GAP_PX), row * (height + _GAP_PX)
        whole.paste(strip, (left, top))
        whole.paste(Pictures.fromarray(cell), (left, top + _STRIP_PX))
    return np.asarray(whole)


def scaled(image: Image) -> Image:
    """`image`, its longer side made `CELL_PX` where it is longer; a copy."""
    picture = Pictures.fromarray(image)
    picture.thumbnail((CELL_PX, CELL_PX), Pictures.Resampling.LANCZOS)
    return np.array(picture)


def _evenly(count: int, most: int) -> list[int]:
    """At most `most` of the numbers below `count`, evenly spread, the last one among them."""
    if count <= most:
        return list(range(count))
    if most == 1:
        return [count - 1]
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


def _ago(seconds: float) -> str:
    """`-4.0`, and of the newest `0.0`."""
    return f"{0.0 - round(seconds, 1):.1f}"


class _Kept(NamedTuple):
    t_ns: int
    image: Image


class Storyboard:
    """The latest pictures of one question on one source, those of `(t - window, t]`.

    A bounded queue: of each `window / most` of stream time only the newest picture is kept, and of more than `most`
    the oldest goes; each is scaled down when it is taken, to at most 0.43 MB. What goes is not counted: it has been
    looked at already, and nothing of it is owed.
    """

    def __init__(self, window_ns: int, most: int = MOST) -> None:
        """`window_ns`: 0 keeps the newest picture only. Raises ValueError: it is negative, or `most` below 1."""
        if window_ns < 0 or most < 1:
            raise ValueError(f"a storyboard needs a window and a cell, got {window_ns} ns and {most}")
        self._window_ns = max(1, window_ns)
        self._most = most
        self._kept: deque[_Kept] = deque(maxlen=most)

    def add(self, t_ns: int, image: Image) -> None:
        """Take the picture, uint8 (H, W, 3) RGB, of stream time `t_ns`.

        Raises:
            ValueError: `t_ns` is before the newest one's; stream time never goes back.
        """
        kept = self._kept
        if kept and t_ns < kept[-1].t_ns:
            raise ValueError(f"stream time went back from {kept[-1].t_ns} to {t_ns} ns")
        if kept and self._part(t_ns) == self._part(kept[-1].t_ns):
            kept.pop()
        kept.append(_Kept(t_ns, scaled(image)))
        while kept[0].t_ns <= t_ns - self._window_ns:
            kept.popleft()

    def picture(self) -> Image:
        """The kept ones as `grid` shows them. Raises ValueError: there is none yet."""
        return grid(
            [one.image for one in self._kept], [one.t_ns / NS_PER_S for one in self._kept], self._most
        )

    def _part(self, t_ns: int) -> int:
        """Which part of a window's length `t_ns` lies in; such parts lie on one grid, whatever came when."""
        return t_ns * self._most // self._window_ns
