import hashlib
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from streamqa.model.moondream import crops
from streamqa.model.moondream.config import VisionConfig
from streamqa.model.moondream.crops import all_crops, tiling, to_pil, unique_crops

RELEASED = VisionConfig()


def test_tilings_of_the_reference(golden: Any) -> None:
    for height, width, rows, cols in golden.data["real_config_tiling_cases_h_w_th_tw"]:
        assert tiling(height, width, RELEASED) == (rows, cols)


def test_crops_of_the_reference(golden: Any) -> None:
    for i, image in enumerate(golden.images):
        found, grid = golden.model.crops(image)
        assert list(grid) == golden.data["images"][i]["tiling"]
        np.testing.assert_array_equal(found, golden.arrays[f"img{i}.crops_u8_pil"].numpy())


def test_full_size_crops_of_the_reference(golden: Any) -> None:
    truth = golden.data["real_config_crops"]
    found, grid = all_crops(Image.open(golden.directory / truth["file"]), RELEASED)
    assert list(grid) == truth["tiling"]
    assert [hashlib.sha256(crop.tobytes()).hexdigest() for crop in found] == truth["pil"]["sha256_per_crop"]


def test_array_and_pillow_give_the_same(golden: Any) -> None:
    image = golden.images[1].convert("RGB")
    for a, b in zip(unique_crops(image, RELEASED), unique_crops(np.asarray(image), RELEASED), strict=True):
        np.testing.assert_array_equal(a, b)


def test_identical_crops_are_made_once(golden: Any) -> None:
    once, _ = unique_crops(golden.images[0], golden.model.config.vision)
    twice, _ = golden.model.crops(golden.images[0])
    assert (len(once), len(twice)) == (1, 2)
    np.testing.assert_array_equal(twice[0], twice[1])


def test_grey_is_replicated_and_alpha_dropped() -> None:
    assert to_pil(Image.new("L", (2, 2), 7)).getpixel((0, 0)) == (7, 7, 7)
    assert to_pil(Image.new("RGBA", (2, 2), (1, 2, 3, 0))).getpixel((1, 1)) == (1, 2, 3)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(image: Any) -> None:
    with pytest.raises(ValueError, match="image must"):
        unique_crops(image, RELEASED)


def test_a_picture_of_one_pixel() -> None:
    found, grid = unique_crops(np.full((1, 1, 3), 9, np.uint8), RELEASED)
    assert (found.shape, grid) == ((1, 378, 378, 3), (1, 1))
    assert (found == 9).all()


def test_a_huge_picture_is_refused_before_it_is_copied() -> None:
    huge = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (20_000, 20_000, 3))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="at most 100 megapixels, got 20000x20000; scale it down"):
            unique_crops(huge, RELEASED)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "MAX_PIXELS", 10_000)
    Image.new("1", (200, 100)).save(tmp_path / "huge.png")
    with Image.open(tmp_path / "huge.png") as image:
        monkeypatch.setattr(image, "convert", None)
        with pytest.raises(ValueError, match="megapixels, got 200x100"):
            unique_crops(image, RELEASED)


def test_the_longest_strip_that_is_taken_has_a_bounded_number_of_crops() -> None:
    for short in (1, 378, 379, 400, 1000):
        rows, cols = tiling(short, crops.MAX_PIXELS // short, RELEASED)
        assert rows * cols <= 77


def test_views_are_seen_as_their_copies() -> None:
    whole = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    whole.flags.writeable = False
    for view in (whole[::-1], whole[:, ::-2], whole.transpose(1, 0, 2), whole[..., ::-1], whole[5:50, 7:]):
        assert not view.flags.c_contiguous
        for a, b in zip(unique_crops(view, RELEASED), unique_crops(view.copy(), RELEASED), strict=True):
            np.testing.assert_array_equal(a, b)
    array = np.asarray(whole, order="F")
    np.testing.assert_array_equal(unique_crops(array, RELEASED)[0], unique_crops(whole, RELEASED)[0])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_pillow_modes_of_eight_bits(mode: str) -> None:
    assert to_pil(Image.new(mode, (3, 2))).mode == "RGB"


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deeper_pictures_are_refused_rather_than_cut_off_at_white(mode: str) -> None:
    with pytest.raises(ValueError, match="8 bits per channel"):
        to_pil(Image.new(mode, (3, 2), 4000))


def test_a_file_that_ends_early(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with Image.open(tmp_path / "a.png") as image, pytest.raises(ValueError, match="cannot be read"):
        unique_crops(image, RELEASED)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_tilings_stay_within_the_limit(height: int, width: int) -> None:
    rows, cols = tiling(height, width, RELEASED)
    assert rows >= 1
    assert cols >= 1
    assert rows * cols <= 12 or 1 in (rows, cols)  # as the reference does with strips


@given(st.integers(4, 60), st.integers(4, 60))
def test_neighbouring_crops_overlap_by_two_margins(height: int, width: int) -> None:
    config = VisionConfig(crop_size=16, enc_patch_size=4, max_crops=4, overlap_margin=1)
    image = np.arange(height * width * 3, dtype=np.uint32).astype(np.uint8).reshape(height, width, 3)
    found, (rows, cols) = all_crops(image, config)
    tiles = found[1:].reshape(rows, cols, 16, 16, 3)
    np.testing.assert_array_equal(tiles[:, :-1, :, 8:], tiles[:, 1:, :, :8])
    np.testing.assert_array_equal(tiles[:-1, :, 8:], tiles[1:, :, :8])


def test_a_model_of_one_crop_never_tiles() -> None:
    config = VisionConfig(crop_size=160, enc_patch_size=16, max_crops=1, overlap_margin=1)
    assert {tiling(h, w, config) for h in range(1, 900, 7) for w in (90, 160, 640, 3000)} == {(1, 1)}
