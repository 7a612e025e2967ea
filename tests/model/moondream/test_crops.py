import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from streamqa.model.moondream.config import VisionConfig
from streamqa.model.moondream.crops import all_crops, tiling, to_pil, unique_crops

RELEASED = VisionConfig()


def test_tilings_of_the_reference(golden: Any) -> None:
    for height, width, rows, cols in golden.data["real_config_tiling_cases_h_w_th_tw"]:
        assert tiling(height, width, RELEASED) == (rows, cols)


def test_crops_of_the_reference(golden: Any) -> None:
    for i, image in enumerate(golden.images):
        crops, grid = golden.model.crops(image)
        assert list(grid) == golden.data["images"][i]["tiling"]
        np.testing.assert_array_equal(crops, golden.arrays[f"img{i}.crops_u8_pil"].numpy())


def test_full_size_crops_of_the_reference(golden: Any) -> None:
    truth = golden.data["real_config_crops"]
    crops, grid = all_crops(Image.open(golden.directory / truth["file"]), RELEASED)
    assert list(grid) == truth["tiling"]
    assert [hashlib.sha256(crop.tobytes()).hexdigest() for crop in crops] == truth["pil"]["sha256_per_crop"]


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
    crops, (rows, cols) = all_crops(image, config)
    tiles = crops[1:].reshape(rows, cols, 16, 16, 3)
    np.testing.assert_array_equal(tiles[:, :-1, :, 8:], tiles[:, 1:, :, :8])
    np.testing.assert_array_equal(tiles[:-1, :, 8:], tiles[1:, :, :8])


def test_a_model_of_one_crop_never_tiles() -> None:
    config = VisionConfig(crop_size=160, enc_patch_size=16, max_crops=1, overlap_margin=1)
    assert {tiling(h, w, config) for h in range(1, 900, 7) for w in (90, 160, 640, 3000)} == {(1, 1)}
