"""The change gate: has a picture changed enough for the question to be worth asking again? Pure.

The measure: a picture is reduced to 32 × 32 luma values, each the mean of 8 × 8 samples spread over its part
of the picture. Between two pictures, the mean absolute difference inside each of 8 × 8 cells is taken, and the
change is that of the cell that changed most, as a part of full scale: 0 is the same, 1 from black to white. A
mean over the whole picture would hide a person far away; a maximum over single values would answer to noise
(a camera's noise of 5 grey levels of 256 gives about 0.003).

Approximate by nature: what is too small, or changes in colour alone, goes by unnoticed until the next forced or
audited look. So it is off unless a question asks for it, and what it reuses is flagged.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from streamqa.types import Gate, Reading

if TYPE_CHECKING:
    from streamqa.types import Image

Thumbnail: TypeAlias = npt.NDArray[np.float32]  # (32, 32) luma, 0…1
Verdict = Literal["ask", "audit", "reuse"]

_SIDE = 32
_SAMPLES = 8  # per value and direction
_CELL = 4  # values per cell and direction
_LUMA = np.array([0.299, 0.587, 0.114], np.float32) / 255


class Seen(NamedTuple):
    """The last real answer that may be reused: of which time and picture, and what it said."""

    t_ns: int
    thumbnail: Thumbnail
    reading: Reading


def thumbnail(image: Image) -> Thumbnail:
    """What is compared of a picture, uint8 (H, W, 3) RGB of any size: (32, 32) float32 luma, 0…1."""
    height, width, _ = image.shape
    places = (np.arange(_SIDE * _SAMPLES) + 0.5) / (_SIDE * _SAMPLES)
    rows, columns = (places * height).astype(np.intp), (places * width).astype(np.intp)
    luma = image[rows[:, None], columns[None, :]] @ _LUMA
    means: Thumbnail = luma.reshape(_SIDE, _SAMPLES, _SIDE, _SAMPLES).mean(axis=(1, 3))
    return means


def change(before: Thumbnail, after: Thumbnail) -> float:
    """How much the cell that changed most has changed, 0…1 of full scale."""
    cells = _SIDE // _CELL
    return float(np.abs(after - before).reshape(cells, _CELL, cells, _CELL).mean(axis=(1, 3)).max())


def verdict(gate: Gate, seen: Seen | None, now: Thumbnail, t_ns: int, chance: random.Random) -> Verdict:
    """Whether to ask about the picture `now` of stream time `t_ns`, or to reuse what was `seen`.

    "audit": nothing has changed, and it is asked all the same, to learn how often reusing would have been wrong.
    """
    if seen is None or t_ns - seen.t_ns >= gate.refresh_ns or change(seen.thumbnail, now) > gate.threshold:
        return "ask"
    return "audit" if chance.random() < gate.audit else "reuse"


def agrees(reading: Reading, seen: Seen) -> bool:
    """Whether an audit says the same as what would have been reused; of points and boxes, as many of them."""
    now, before = reading.value, seen.reading.value
    if isinstance(now, tuple) and isinstance(before, tuple):
        return len(now) == len(before)
    return now == before
