import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from streamqa.model.moondream.model import Moondream
from streamqa.model.tiny.export import export, released
from streamqa.model.tiny.train import Recipe, train
from tests.model.tiny.micro import SIZES


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory: Path = tmp_path_factory.mktemp("run")
    train(Recipe(ranks=1, steps=2, pictures=2, fresh=2, every=2, sizes=SIZES), directory)
    return directory / "vision.pt"


def test_the_product_loads_what_is_exported(checkpoint: Path, tmp_path: Path) -> None:
    report = export(checkpoint, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    assert all(name.startswith("model.") and value.dtype == torch.float16 for name, value in weights.items())
    assert report["parameters"] == sum(value.numel() for value in weights.values())
    for name, digest in report["sha256"].items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    Moondream.from_pretrained(tmp_path, device="cpu", dtype=torch.float32)


def test_heads_of_training_are_left_out() -> None:
    found = released({"network.text.wte": torch.zeros(2), "heads.patch.weight": torch.zeros(2)})
    assert list(found) == ["model.text.wte"]


def test_weights_too_large_for_half_precision_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)
    state["optimizer"]["means"]["network.text.wte"][0, 0] = 1e6
    broken = tmp_path / "broken.pt"
    torch.save(state, broken)
    with pytest.raises(ValueError, match=r"text\.wte"):
        export(broken, tmp_path)
