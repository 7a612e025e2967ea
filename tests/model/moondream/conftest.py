"""The golden checkpoint, its pictures and the reference's numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from streamqa.model.moondream.config import MoondreamConfig
from streamqa.model.moondream.model import EncodedImage, Moondream
from streamqa.model.moondream.network import Network

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


TOY = {
    "text": {
        "dim": 32,
        "ff_dim": 64,
        "n_layers": 2,
        "vocab_size": 300,
        "max_context": 96,
        "n_heads": 4,
        "n_kv_heads": 2,
        "prefix_attn": 17,
    },
    "vision": {
        "enc_dim": 16,
        "enc_patch_size": 4,
        "enc_n_layers": 1,
        "enc_ff_dim": 24,
        "enc_n_heads": 2,
        "proj_out_dim": 32,
        "crop_size": 16,
        "in_channels": 3,
        "max_crops": 4,
        "overlap_margin": 1,
        "proj_inner_dim": 24,
    },
    "region": {
        "dim": 32,
        "coord_feat_dim": 8,
        "coord_out_dim": 64,
        "size_feat_dim": 8,
        "size_out_dim": 128,
        "inner_dim": 16,
    },
    "tokenizer": {
        "templates": {
            "query": {"prefix": [1, 40, 2], "suffix": [3]},
            "detect": {"prefix": [1, 41, 2], "suffix": [3]},
            "point": {"prefix": [1, 42, 2], "suffix": [3]},
            "caption": {"short": [1, 43, 2], "normal": [1, 44, 2], "long": [1, 45, 2]},
        },
        "probe": {"Yes": [267]},
    },
}
CONTROL = ["<|endoftext|>", *(f"<|md_reserved_{i}|>" for i in range(9))]


def toy_tokenizer() -> str:
    """Byte-level BPE with ten control tokens and a handful of merges, as `tokenizer.json`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Y", "e"), ("Ye", "s"), ("Ġ", "Yes"), ("N", "o"), ("Ġ", "No"), ("Ġ", "1"), ("r", "e")]
    tokens = [*CONTROL, *alphabet, *(a + b for a, b in merges)]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(CONTROL)
    return str(tokenizer.to_str())


@pytest.fixture(scope="session")
def toy_config() -> MoondreamConfig:
    return MoondreamConfig.from_dict(TOY)


@pytest.fixture(scope="session")
def toy_dir(tmp_path_factory: pytest.TempPathFactory, toy_config: MoondreamConfig) -> Path:
    """A checkpoint with random weights and fewer key/value heads than query heads."""
    directory = tmp_path_factory.mktemp("toy")
    torch.manual_seed(7)
    network = Network(toy_config)
    for name, parameter in network.named_parameters():
        torch.nn.init.normal_(parameter, mean=float("ln" in name and "weight" in name), std=0.3)
    weights = {f"model.{name}": tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps(TOY))
    (directory / "tokenizer.json").write_text(toy_tokenizer())
    return directory


@pytest.fixture(scope="session")
def toy(toy_dir: Path) -> Moondream:
    return Moondream.from_pretrained(toy_dir)


@pytest.fixture(scope="session")
def toy_images() -> list[np.ndarray]:
    """Of different tilings."""
    rng = np.random.default_rng(3)
    sizes = [(12, 14), (40, 40), (16, 90), (30, 21)]
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


Naive = Callable[[Moondream, EncodedImage | None, Sequence[int]], torch.Tensor]


def _naive_logits(model: Moondream, encoded: EncodedImage | None, ids: Sequence[int]) -> torch.Tensor:
    """Logits [T, V] after each id, the slow way: one sequence, one full mask, one head at a time."""
    text, config = model.network.text, model.config.text
    x = text.wte[list(ids)]
    prefix = 0
    if encoded is not None:
        x = torch.cat([text.wte[[model.config.tokenizer.bos_id]], encoded.tokens, x])
        prefix = 1 + len(encoded.tokens)
    n, d, kv = len(x), config.head_dim, config.n_kv_heads
    allowed = torch.ones(n, n).tril().bool()
    allowed[:prefix, :prefix] = True
    half = d // 4
    angle = torch.arange(n)[:, None] / 10000.0 ** (torch.arange(half) * 2 / (d // 2))
    for block in text.blocks:
        h = block.ln(x)
        rows = block.attn.qkv(h).split([config.dim, kv * d, kv * d], dim=1)
        heads = []
        for head in range(config.n_heads):
            group = head // (config.n_heads // kv)
            q, k = (_turn(rows[i][:, j * d : (j + 1) * d], angle, half) for i, j in ((0, head), (1, group)))
            scores = (q @ k.T / d**0.5).masked_fill(~allowed, float("-inf"))
            heads.append(scores.softmax(-1) @ rows[2][:, group * d : (group + 1) * d])
        x = x + block.attn.proj(torch.cat(heads, 1)) + block.mlp(h)
    return text.lm_head(text.post_ln(x))[prefix:]


def _turn(x: torch.Tensor, angle: torch.Tensor, half: int) -> torch.Tensor:
    a, b = x[:, :half], x[:, half : 2 * half]
    return torch.cat(
        [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos(), x[:, 2 * half :]], 1
    )


@pytest.fixture(scope="session")
def naive_logits() -> Naive:
    return _naive_logits
