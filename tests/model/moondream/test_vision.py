from typing import Any

import numpy as np
import pytest
import torch

from streamqa.model.moondream.crops import unique_crops
from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.vision import VisionTower


def _crops(golden: Any, i: int) -> torch.Tensor:
    return golden.arrays[f"img{i}.crops_u8_pil"]


@pytest.mark.parametrize("i", range(5))
def test_features_pooled_and_tokens_of_the_reference(golden: Any, i: int) -> None:
    tower, grid = golden.model.network.vision, tuple(golden.data["images"][i]["tiling"])
    features = tower.encode(_crops(golden, i))
    golden.close(features, f"img{i}.vit")
    unique = features[:1] if grid == (1, 1) else features
    golden.close(tower.pool(unique, grid), f"img{i}.pooled")
    golden.close(golden.encoded[i].tokens, f"img{i}.img_emb")


def test_normalised_crops_of_the_reference(golden: Any) -> None:
    normalised = golden.model.network.vision.normalise(_crops(golden, 0)).permute(0, 3, 1, 2)
    torch.testing.assert_close(normalised, golden.arrays["img0.crops"], atol=0, rtol=0)


@pytest.mark.parametrize("i", [1, 2])
def test_stitched_map_of_the_reference(golden: Any, i: int) -> None:
    tower, grid = golden.model.network.vision, tuple(golden.data["images"][i]["tiling"])
    golden.close(tower.stitch(golden.arrays[f"img{i}.vit"][1:], grid), f"img{i}.reconstructed")


def test_different_tilings_together_equal_one_by_one(golden: Any) -> None:
    together = golden.model.encode_image(golden.images)
    for one, many in zip(golden.encoded, together, strict=True):
        torch.testing.assert_close(one.tokens, many.tokens, atol=1e-5, rtol=1e-5)


def test_identical_crops_are_encoded_once(toy: Moondream, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    encode = VisionTower.encode
    monkeypatch.setattr(
        VisionTower, "encode", lambda self, crops: (seen.append(len(crops)), encode(self, crops))[1]
    )
    toy.encode_image([np.zeros((12, 12, 3), np.uint8)] * 3)
    assert seen == [3]


def test_many_crops_go_in_chunks(toy: Moondream, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (40, 40, 3), dtype=np.uint8) for _ in range(3)]
    whole = torch.stack([e.tokens for e in toy.encode_image(images)])
    monkeypatch.setattr(toy.network.vision, "crops_per_pass", 4)
    chunked = torch.stack([e.tokens for e in toy.encode_image(images)])
    torch.testing.assert_close(chunked, whole)


@pytest.mark.parametrize("i", range(5))
def test_padding_changes_nothing(golden: Any, monkeypatch: pytest.MonkeyPatch, i: int) -> None:
    tower = golden.model.network.vision
    monkeypatch.setattr(tower, "slot_step", 16)
    golden.close(tower.encode(_crops(golden, i)), f"img{i}.vit")


def test_bfloat16_stays_near(golden: Any) -> None:
    tower = Moondream.from_pretrained(golden.directory, dtype=torch.bfloat16).network.vision
    for i, image in enumerate(golden.images):
        crops, grid = unique_crops(image, tower.config)
        got, expected = (
            tower(torch.from_numpy(crops.copy()), [grid])[0].float(),
            golden.arrays[f"img{i}.img_emb"],
        )
        assert (got - expected).norm() / expected.norm() <= 0.03
