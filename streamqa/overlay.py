"""Points and boxes drawn on a picture, so that one can see what an answer is about. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from streamqa.types import Box, Point, Value

if TYPE_CHECKING:
    from streamqa.types import Image

LIGHT, DARK = (255, 226, 64), (12, 12, 16)  # one of the two stands out against whatever lies below
_SIDE_PER_PX = 240  # of the longer side for each pixel of a line's width
_LEAST_FONT_PX = 10


def draw(image: Image, value: Value) -> Image:
    """`image`, uint8 (H, W, 3) RGB, with the points or boxes of `value` on it, numbered from 1 in their order.

    Lines are light with a dark edge on either side. What lies outside of the picture is cut off; what has a
    coordinate that is not finite is left out, and keeps its number. Where there is nothing to draw, the same picture
    is given back, else a new one.
    """
    places: tuple[Point | Box, ...] = value if isinstance(value, tuple) else ()
    shown = [(number, place) for number, place in enumerate(places, start=1) if _is_shown(place)]
    if not shown:
        return image
    picture = Pictures.fromarray(image)
    pen = _Pen(picture)
    for number, place in shown:
        pen.draw(place, str(number))
    return np.asarray(picture)


def _is_shown(place: Point | Box) -> bool:
    """Whether any of it is in the picture."""
    numbers = _numbers(place)
    if not all(abs(number) < math.inf for number in numbers):  # False for what is no number, too
        return False
    if isinstance(place, Point):
        return all(0 <= number <= 1 for number in numbers)
    left, right = sorted((place.x_min, place.x_max))
    top, bottom = sorted((place.y_min, place.y_max))
    return left <= 1 and right >= 0 and top <= 1 and bottom >= 0


def _numbers(place: Point | Box) -> tuple[float, ...]:
    if isinstance(place, Point):
        return place.x, place.y
    return place.x_min, place.y_min, place.x_max, place.y_max


class _Pen:
    """Draws on one picture, with lines and numbers of a width that fits its size."""

    def __init__(self, picture: Pictures.Image) -> None:
        self._width, self._height = picture.size
        self._pen = ImageDraw.Draw(picture)
        self._line_px = max(1, round(max(picture.size) / _SIDE_PER_PX))
        self._edge_px = max(1, self._line_px // 2)
        self._font = ImageFont.load_default(max(_LEAST_FONT_PX, 7 * self._line_px))

    def draw(self, place: Point | Box, name: str) -> None:
        """One place and its name."""
        if isinstance(place, Point):
            self._point(_pixel(place.x, self._width), _pixel(place.y, self._height), name)
            return
        left, right = sorted(_pixel(x, self._width) for x in (place.x_min, place.x_max))
        top, bottom = sorted(_pixel(y, self._height) for y in (place.y_min, place.y_max))
        self._box((left, top, right, bottom), name)

    def _point(self, x: int, y: int, name: str) -> None:
        radius = 2 * self._line_px + 1
        for more, colour in ((self._edge_px, DARK), (0, LIGHT), (-self._line_px, DARK)):
            r = radius + more
            self._pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
        self._name(x + radius + 2 * self._edge_px, y + radius, name)

    def _box(self, sides: tuple[int, int, int, int], name: str) -> None:
        left, top, right, bottom = sides
        edge = self._edge_px
        outer = (left - edge, top - edge, right + edge, bottom + edge)
        self._pen.rectangle(outer, outline=DARK, width=self._line_px + 2 * edge)
        self._pen.rectangle(sides, outline=LIGHT, width=self._line_px)
        self._name(left, top, name)

    def _name(self, x: int, y: int, name: str) -> None:
        """`name` above (x, y), as far as there is room; else below it, within the picture."""
        _, _, right, bottom = self._font.getbbox(name, stroke_width=self._edge_px)
        gap = self._line_px + self._edge_px
        above = y - gap - bottom
        x = max(0, min(x, self._width - math.ceil(right) - self._edge_px))
        y = round(above if above >= 0 else min(y + gap, self._height - bottom))
        self._pen.text(
            (x, max(0, y)),
            name,
            fill=LIGHT,
            font=self._font,
            stroke_width=self._edge_px,
            stroke_fill=DARK,
        )


def _pixel(part: float, size: int) -> int:
    """Where `part` of `size` pixels is: 0 the first, 1 the last one, and beyond them just out of sight."""
    if not 0 <= part <= 1:  # so far out that no edge of a line shows, and no number is too large to draw
        return -size if part < 0 else 2 * size
    return min(int(part * size), size - 1)
