"""The golden checkpoint, its pictures and the reference's numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from streamqa.model.moondream.model import EncodedImage, Moondream

GOLDEN = Path(__file__).parents[2] / "golden"


@dataclass(frozen=True)
class Golden:
    directory: Path
    model: Moondream
    data: dict[str, Any]
    arrays: dict[str, torch.Tensor]
    images: list[Image.Image]
    encoded: list[EncodedImage]  # one by one

    def close(self, got: torch.Tensor, name: str) -> None:
        """Assert that `got` is the reference's array, within the tolerance of the golden data."""
        torch.testing.assert_close(got, self.arrays[name], atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    return GOLDEN


@pytest.fixture(scope="session")
def golden() -> Golden:
    data = json.loads((GOLDEN / "golden.json").read_text())
    model = Moondream.from_pretrained(GOLDEN)
    images = [Image.open(GOLDEN / image["file"]) for image in data["images"]]
    for image in images:
        image.load()
    encoded = [model.encode_image([image])[0] for image in images]
    return Golden(GOLDEN, model, data, load_file(GOLDEN / "golden.safetensors"), images, encoded)
