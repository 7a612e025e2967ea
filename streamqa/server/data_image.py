"""Pictures that come along in a request: decoded with care, as they may come from anybody."""

from __future__ import annotations

import base64
import binascii
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures
from PIL import ImageOps

from streamqa.errors import ConfigError

if TYPE_CHECKING:
    from streamqa.types import Image

MOST_BYTES = 10_000_000  # of a file
MOST_PIXELS = 25_000_000  # 75 MB once decoded


def decoded(text: str) -> Image:
    """A JPEG or PNG file in base64 as uint8 (H, W, 3) RGB, upright as its metadata says.

    Raises:
        ConfigError: it is none, is damaged, or is too large.
    """
    if len(text) > MOST_BYTES * 4 // 3 + 4:
        raise ConfigError(f"image_url: more than {MOST_BYTES:,} bytes; send a smaller picture")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError("image_url: what follows base64, is not base64") from None
    try:
        picture = Pictures.open(io.BytesIO(data), formats=("JPEG", "PNG"))
        if picture.width * picture.height > MOST_PIXELS:
            raise ConfigError(f"image_url: more than {MOST_PIXELS:,} pixels; send a smaller picture")
        upright = ImageOps.exif_transpose(picture).convert("RGB")
    except Pictures.DecompressionBombError:
        raise ConfigError(f"image_url: more than {MOST_PIXELS:,} pixels; send a smaller picture") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError):
        # all of which Pillow raises for files that are damaged somewhere
        raise ConfigError("image_url: the picture is damaged, or is neither JPEG nor PNG") from None
    image: Image = np.asarray(upright)
    return image
