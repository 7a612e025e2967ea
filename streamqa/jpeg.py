"""Pictures as JPEG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image as Pictures

if TYPE_CHECKING:
    from streamqa.types import Image


def to_jpeg(image: Image, quality: int, most_side_px: int | None = None) -> bytes:
    """`image`, uint8 (H, W, 3) RGB, as JPEG of `quality` 1…95; made smaller where a side is beyond `most_side_px`."""
    picture = Pictures.fromarray(image)
    if most_side_px is not None:
        picture.thumbnail((most_side_px, most_side_px))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
