"""Reliability diagrams as one PNG: how often answers of a certain confidence are right. Drawn with Pillow alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from streamqa.evaluate.calibration import BINS, Bin

PANEL_PX = (340, 370)  # width and height of one question's
COLUMNS = 3
PLOT_PX = 240  # the square in which confidence and accuracy go from 0 to 1
ORIGIN_PX = (62, 306)  # of the plot in its panel: where both are 0
MOST_PANELS = 60

WHITE, INK, GREY, LIGHT = (255, 255, 255), (30, 30, 30), (120, 120, 120), (225, 225, 225)
BAR, GAP = (70, 120, 190), (238, 176, 168)
_TITLE_CHARS = 34
_STEPS = 5  # labelled marks on each axis


@dataclass(frozen=True, slots=True)
class Panel:
    """One question's diagram."""

    title: str
    bins: tuple[Bin, ...]
    error: float | None  # expected calibration error; None: nothing has a probability

    def __post_init__(self) -> None:
        if len(self.bins) != BINS:
            raise ValueError(f"a panel has {BINS} bins, got {len(self.bins)}")


def diagram(panels: Sequence[Panel]) -> bytes:
    """The PNG, the same for the same panels: three beside each other; more than 60 are left out, and said so.

    Raises:
        ValueError: no panel.
    """
    if not panels:
        raise ValueError("nothing to draw")
    shown = panels[:MOST_PANELS]
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    width, height = PANEL_PX
    image = Image.new("RGB", (columns * width, rows * height), WHITE)
    pen = ImageDraw.Draw(image)
    for index, panel in enumerate(shown):
        _draw(pen, (index % columns * width, index // columns * height), panel)
    if len(panels) > len(shown):
        last = f"and {len(panels) - len(shown)} more, not drawn"
        pen.text((8, rows * height - 14), last, INK, _font(11))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _draw(pen: ImageDraw.ImageDraw, corner: tuple[int, int], panel: Panel) -> None:
    left, bottom = corner[0] + ORIGIN_PX[0], corner[1] + ORIGIN_PX[1]
    right, top = left + PLOT_PX, bottom - PLOT_PX
    n = sum(one.n for one in panel.bins)
    error = "no probabilities" if panel.error is None else f"ECE {panel.error:.3f}, n = {n:,}"
    middle = (left + right) // 2
    pen.text((middle, top - 38), _short(panel.title), INK, _font(15), anchor="ms")
    pen.text((middle, top - 20), error, INK, _font(13), anchor="ms")
    _axes(pen, left, bottom)
    for index, one in enumerate(panel.bins):
        if one.n:
            _bar(pen, left + index * PLOT_PX // BINS, bottom, one)
    pen.line((left, bottom, right, top), GREY, 1)
    pen.rectangle((left, top, right, bottom), outline=INK)
    for index, one in enumerate(panel.bins):
        if one.n:
            place = left + (2 * index + 1) * PLOT_PX // (2 * BINS)
            pen.text((place, top - 3), _count(one.n), GREY, _font(10), anchor="ms")


def _axes(pen: ImageDraw.ImageDraw, left: int, bottom: int) -> None:
    for step in range(_STEPS + 1):
        off, text = step * PLOT_PX // _STEPS, f"{step / _STEPS:g}"
        pen.line((left, bottom - off, left + PLOT_PX, bottom - off), LIGHT)
        pen.text((left - 6, bottom - off), text, INK, _font(11), anchor="rm")
        pen.text((left + off, bottom + 6), text, INK, _font(11), anchor="mt")
    pen.text((left + PLOT_PX // 2, bottom + 26), "confidence (dashes: its mean)", INK, _font(12), anchor="mt")
    pen.text((left - 52, bottom - PLOT_PX - 8), "share right", INK, _font(12), anchor="lb")


def _bar(pen: ImageDraw.ImageDraw, left: int, bottom: int, one: Bin) -> None:
    """As high as the share that is right; what is missing to the confidence, or beyond it, in another colour."""
    right = left + PLOT_PX // BINS - 1
    accuracy, confidence = (round(share * PLOT_PX) for share in (one.accuracy, one.confidence))
    pen.rectangle((left + 1, bottom - accuracy, right, bottom), BAR)
    if confidence > accuracy:
        pen.rectangle((left + 1, bottom - confidence, right, bottom - accuracy), GAP)
    pen.line((left + 1, bottom - confidence, right, bottom - confidence), INK, 2)


def _short(title: str) -> str:
    plain = "".join(char if char.isprintable() else " " for char in title)
    return plain if len(plain) <= _TITLE_CHARS else plain[: _TITLE_CHARS - 1] + "…"


def _count(n: int) -> str:
    return str(n) if n < 1000 else f"{n / 1000:.2g}k"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The one that Pillow brings along, so that every machine draws the same."""
    return ImageFont.load_default(size)
