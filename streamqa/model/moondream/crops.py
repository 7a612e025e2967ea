"""From a picture to the crops that the vision tower reads: one global view and a grid of overlapping tiles.

Resized with Pillow's LANCZOS, always: the reference's choice depends on whether pyvips imports.
"""

from __future__ import annotations

from math import ceil, floor, sqrt
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image as pil

from streamqa.model.moondream.config import VisionConfig

if TYPE_CHECKING:
    from streamqa.types import Image

Picture: TypeAlias = "pil.Image | Image"
Tiling = tuple[int, int]  # rows, columns
# Three times an 8K frame; that much takes 0.7 GB and 2.6 s to resize (measured, 10,000 x 10,000 on one core).
MAX_PIXELS = 100_000_000
# Pillow's modes of more than 8 bits, which its conversion to RGB cuts off at 255: bright pictures would be all white.
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def tiling(height: int, width: int, config: VisionConfig) -> Tiling:
    """Rows and columns of local crops for a picture of that size.

    At most `max_crops` together, but for long strips, where the reference goes beyond its own limit (1x15).
    """
    window, limit = config.window_px, config.max_crops
    if limit == 1:
        return 1, 1  # a model that was made for one crop has never seen a strip cut up
    tall, wide = height - 2 * config.margin_px, width - 2 * config.margin_px
    if tall <= window or wide <= window:
        return 1, 1
    min_rows, min_cols = ceil(tall / window), ceil(wide / window)
    if min_rows * min_cols > limit:
        ratio = sqrt(limit / (min_rows * min_cols))
        return max(1, floor(min_rows * ratio)), max(1, floor(min_cols * ratio))
    rows = max(floor(sqrt(limit * tall / wide)), min_rows)
    cols = max(floor(sqrt(limit * wide / tall)), min_cols)
    if rows * cols > limit:
        if cols > rows:
            cols = floor(limit / rows)
        else:
            rows = floor(limit / cols)
    return max(1, rows), max(1, cols)


def to_pil(image: Picture) -> pil.Image:
    """An RGB Pillow image; alpha is dropped, grey is replicated.

    Raises:
        ValueError: an array that is not uint8 (H, W, 3), an empty picture, one of more than `MAX_PIXELS`, a file that
            cannot be read.
    """
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"image must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
        _check_size(image.shape[1], image.shape[0])
        return pil.fromarray(np.ascontiguousarray(image))
    _check_size(*image.size)
    if image.mode in _DEEP:
        raise ValueError(
            f"image must have 8 bits per channel, got Pillow mode {image.mode}; scale its values first"
        )
    try:
        return image.convert("RGB")
    except OSError as error:  # Pillow reads a file when its pixels are first asked for
        raise ValueError(f"image cannot be read: {error}") from error


def _check_size(width: int, height: int) -> None:
    if min(width, height) < 1:
        raise ValueError(f"image must not be empty, got {width}x{height}")
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"image must have at most {MAX_PIXELS // 1_000_000} megapixels, got {width}x{height}; scale it down first"
        )


def unique_crops(image: Picture, config: VisionConfig, *, fast: bool = False) -> tuple[Image, Tiling]:
    """The crops worth encoding: [global, tiles row by row], or the global one alone at tiling 1x1.

    At 1x1 the only tile is resized to the very same size as the global view, so the two are identical.
    `fast` takes every picture so, whatever its size: a ninth of the tower's work, without small things.

    Returns:
        uint8 (n, S, S, 3), n = 1 or 1 + rows * columns, and the tiling.
    """
    picture = to_pil(image)
    size = config.crop_size
    rows, cols = (1, 1) if fast else tiling(picture.height, picture.width, config)
    small = np.asarray(picture.resize((size, size), pil.Resampling.LANCZOS))
    if (rows, cols) == (1, 1):
        return small[None], (1, 1)
    window, border = config.window_px, 2 * config.margin_px
    target = (cols * window + border, rows * window + border)
    large = np.asarray(picture.resize(target, pil.Resampling.LANCZOS))
    tiles = [
        large[i * window : i * window + size, j * window : j * window + size]
        for i in range(rows)
        for j in range(cols)
    ]
    return np.stack([small, *tiles]), (rows, cols)


def all_crops(image: Picture, config: VisionConfig) -> tuple[Image, Tiling]:
    """As `unique_crops`, with the identical second crop of tiling 1x1, as the reference makes them."""
    crops, grid = unique_crops(image, config)
    return (np.concatenate([crops, crops]) if len(crops) == 1 else crops), grid
