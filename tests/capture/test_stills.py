from __future__ import annotations

import io
import random
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from streamqa.capture.stills import read_still
from streamqa.errors import SourceRefused

from .conftest import as_somebody

RED, BLUE = [255, 0, 0], [0, 0, 255]


def red_left(width: int = 16, height: int = 8) -> Pillow.Image:
    """Red in its left half, blue in its right one."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = RED, BLUE
    return Pillow.fromarray(image)


def test_each_format_is_read_as_rgb_that_torch_can_take(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp", "a.webp", "a.jpg"):
        red_left().save(tmp_path / name, lossless=True, quality=95, subsampling=0)
        image = read_still(str(tmp_path / name), name)
        assert (image.shape, image.dtype) == ((8, 16, 3), np.uint8), name
        assert image.flags.c_contiguous, name
        assert image.flags.writeable, name
        assert np.abs(image[4, 2].astype(int) - RED).max() < 10, name
        assert np.abs(image[4, 13].astype(int) - BLUE).max() < 10, name


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_upright_however_the_camera_was_held(
    tmp_path: Path, name: str, orientation: int
) -> None:
    upright = np.zeros((8, 16, 3), np.uint8)
    upright[:4, :8] = 255  # white in its upper left corner
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),  # to be turned clockwise to be shown
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    Pillow.fromarray(np.ascontiguousarray(stored)).save(tmp_path / name, exif=exif, quality=95, lossless=True)
    image = read_still(str(tmp_path / name), name)
    assert image.shape == (8, 16, 3)
    assert (image[:4, :8].mean() > 240, image[4:].mean() < 15, image[:, 8:].mean() < 15) == (True,) * 3


def test_sixteen_bits_of_grey_are_no_white(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Pillow.fromarray(np.full((4, 4), 0x8000, np.uint16)).save(path)
    assert read_still(str(path), "a")[0, 0].tolist() == [128, 128, 128]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_other_modes_become_rgb_without_a_warning(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image = red_left().convert(mode)
    image.save(path, **({"transparency": b"\x00\x80"} if mode == "P" else {}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_still(str(path), "a").shape == (8, 16, 3)


def claims(width: int, height: int) -> bytes:
    """A small PNG whose header says that it is of that size."""
    buffer = io.BytesIO()
    red_left().save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"not an image\n" * 50, "not a JPEG, PNG, WebP or BMP image"),
        (b"GIF89a" + bytes(50), "not a JPEG, PNG, WebP or BMP image"),
        (b"\xff\xd8\xff" + bytes(50), "not an image that can be read, or damaged"),
        (claims(16, 9)[:60], "not an image that can be read, or damaged"),
        (claims(20_000, 5_001), "20000x5001, more than 100 megapixels"),
        (claims(2**31 - 1, 2**31 - 1), "more than 100 megapixels"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(SourceRefused, match=words) as caught:
        read_still(str(path), "a.png")
    assert str(caught.value).startswith("a.png: ")


def test_what_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    red_left().save(path)
    path.chmod(0)
    with as_somebody(), pytest.raises(SourceRefused, match="Permission denied"):
        read_still(str(path), "a.png")
    with pytest.raises(SourceRefused, match="No such file"):
        read_still(str(tmp_path / "b.png"), "b.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp"])
def test_damaged_images_are_refused_or_shown_and_nothing_else(tmp_path: Path, suffix: str) -> None:
    path, rng = tmp_path / f"a.{suffix}", random.Random(4)
    exif = Pillow.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    red_left(40, 30).save(path, **({} if suffix == "bmp" else {"exif": exif}))
    whole, refused = path.read_bytes(), 0
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 2, 10))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data[: rng.choice((len(data), rng.randrange(len(data))))])
        try:
            assert read_still(str(path), "a").shape[2] == 3
        except SourceRefused:
            refused += 1
    assert refused > 20
