"""Image files to pictures, through Pillow: upright, RGB, and within limits."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image as Pillow
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from streamqa.errors import SourceRefused

if TYPE_CHECKING:
    from streamqa.types import Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
MOST_PIXELS = 100_000_000  # as RGB 300 MB; a small file can claim to be any size
_MOST_BYTES = 256 * 2**20

# What a file begins with -> its reader. Not Pillow's `open`: that one warns of large images on stderr, by a limit
# that is the whole process's, and has many more readers than these four.
_READERS: tuple[tuple[bytes, Callable[[BinaryIO], Pillow.Image]], ...] = (
    (b"\xff\xd8\xff", JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"RIFF", WebPImageFile),
    (b"BM", BmpImageFile),
)
# 7,500 damaged files raised four of these; the others are what readers of bytes raise where they trust them.
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, OverflowError, AttributeError),
    *(struct.error, zlib.error, MemoryError, Pillow.DecompressionBombError),
    UserWarning,  # of damaged EXIF; raised only where warnings are made errors
)
_ORIENTATION = 0x0112  # EXIF: how the camera was held
_UPRIGHT = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}


def read_still(path: str, name: str) -> Image:
    """The image in the file `path` as it is to be looked at: uint8 (H, W, 3) RGB, turned as its EXIF says.

    Raises:
        SourceRefused: missing, damaged, too large or no image; one line that starts with `name`.
    """
    try:
        with open(path, "rb") as file:
            return _read(file, name)
    except _DAMAGE as error:
        problem = error.strerror if isinstance(error, OSError) else None
        raise SourceRefused(f"{name}: {problem or 'not an image that can be read, or damaged'}") from None


def _read(file: BinaryIO, name: str) -> Image:
    size = file.seek(0, 2)
    if not size:
        raise SourceRefused(f"{name}: an empty file")
    if size > _MOST_BYTES:
        raise SourceRefused(f"{name}: {size / 2**20:.0f} MiB; an image has at most {_MOST_BYTES // 2**20}")
    file.seek(0)
    begin = file.read(8)
    file.seek(0)
    reader = next((reader for magic, reader in _READERS if begin.startswith(magic)), None)
    if reader is None:
        raise SourceRefused(f"{name}: not a JPEG, PNG, WebP or BMP image")
    with reader(file) as image:
        if image.width * image.height > MOST_PIXELS:
            pixels = f"{image.width}x{image.height}"
            raise SourceRefused(f"{name}: {pixels}, more than {MOST_PIXELS // 10**6} megapixels")
        image.load()
        turn = _UPRIGHT.get(_orientation(image))
        return _rgb(image if turn is None else image.transpose(turn))


def _orientation(image: Pillow.Image) -> Any:
    """1 to 8, or nothing of that kind. A damaged EXIF block is no reason not to show the picture."""
    try:
        return image.getexif().get(_ORIENTATION)
    except _DAMAGE:
        return None


def _rgb(image: Pillow.Image) -> Image:
    if image.mode.startswith("I;16"):  # Pillow would cut 16 bits at 255, which is white
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.ascontiguousarray(np.repeat(grey[:, :, None], 3, axis=2))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # without this step Pillow warns
    return np.array(image.convert("RGB"), dtype=np.uint8)
