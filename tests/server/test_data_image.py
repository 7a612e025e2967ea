"""Pictures from anybody."""

from __future__ import annotations

import base64
import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as Pictures

from streamqa.errors import ConfigError
from streamqa.server import data_image
from streamqa.server.data_image import decoded


def file_of(array: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Pictures.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


HALVES = np.zeros((40, 60, 3), np.uint8)
HALVES[:, 30:] = (250, 10, 10)


def test_a_png_is_exactly_what_it_was() -> None:
    image = decoded(in_base64(file_of(HALVES)))
    assert (image.dtype, image.shape) == (np.uint8, (40, 60, 3))
    assert (image == HALVES).all()


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "I;16", "CMYK"])
def test_all_kinds_of_colour_become_rgb(mode: str) -> None:
    buffer = io.BytesIO()
    Pictures.new(mode, (20, 10)).save(buffer, "JPEG" if mode in ("L", "CMYK") else "PNG")
    assert decoded(in_base64(buffer.getvalue())).shape == (10, 20, 3)


def test_a_phones_picture_is_turned_upright() -> None:
    exif = Pictures.Exif()
    exif[0x0112] = 6
    image = decoded(in_base64(file_of(HALVES, "JPEG", exif=exif, quality=95)))
    assert image.shape == (60, 40, 3)
    assert image[50, 20, 0] > 200 > 60 > image[10, 20, 0]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that says that it is `side` pixels wide and high."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("side", [5_001, 9_000, 60_000])
@pytest.mark.filterwarnings("default::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_by_its_size(side: int) -> None:
    with pytest.raises(ConfigError, match="more than 25,000,000 pixels"):
        decoded(in_base64(bomb(side)))


def test_a_file_that_is_too_large_is_not_even_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_image, "MOST_BYTES", 1000)
    with pytest.raises(ConfigError, match="more than 1,000 bytes"):
        decoded("A" * 2000)


@pytest.mark.parametrize("text", ["", "####", "QUJD", "QUJ", in_base64(b"GIF89a" + b"\0" * 50), "é"])
def test_what_is_no_picture_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="image_url: "):
        decoded(text)


def test_damaged_files_are_told_and_raise_nothing_else() -> None:
    chance = random.Random(5)
    noise = np.random.default_rng(5).integers(0, 256, (32, 32, 3), np.uint8)
    outcomes: set[object] = set()
    for whole in (file_of(noise), file_of(noise, "JPEG")):
        for _ in range(150):
            data = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
            for _ in range(chance.randrange(4)):
                if data:
                    data[chance.randrange(len(data))] = chance.randrange(256)
            try:
                outcomes.add(decoded(in_base64(bytes(data))).ndim)
            except ConfigError:
                outcomes.add("told")
    assert outcomes == {3, "told"}
