"""A model of a few thousand parameters for the tests of this folder."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from streamqa.model.tiny.network import Network
from streamqa.model.tiny.sizes import Sizes
from streamqa.model.tiny.tokens import train_tokenizer
from streamqa.scenes import sample
from streamqa.scenes.truth import Facts, facts
from streamqa.scenes.world import Scene

SIZES = Sizes(
    crop=40, patch=8, vision_dim=32, vision_layers=1, vision_heads=1, vision_ff=64, proj_inner=48,
    text_dim=64, text_layers=2, text_heads=2, text_ff=96, coord_feat=16, size_feat=16, region_inner=24,
)  # fmt: skip
_TOKENIZERS: list[Tokenizer] = []


def tokenizer() -> Tokenizer:
    """The shipped vocabulary, learned once for all tests."""
    if not _TOKENIZERS:
        _TOKENIZERS.append(train_tokenizer(SIZES.vocab, scenes=600))
    return _TOKENIZERS[0]


def network(seed: int = 0) -> Network:
    """Random weights, large enough for outputs to differ."""
    torch.manual_seed(seed)
    made = Network(SIZES)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return made


def save(made: Network, directory: Path) -> None:
    """Write weights as they ship, in fp32."""
    save_file({"model." + n: p.detach() for n, p in made.named_parameters()}, directory / "model.safetensors")
    tokenizer().save(str(directory / "tokenizer.json"))


def scenes(count: int, name: str = "micro") -> list[Scene]:
    """Random static scenes."""
    return [sample.scene(random.Random(f"{name} {i}")) for i in range(count)]


def known(count: int, name: str = "micro") -> list[Facts]:
    """Facts of random static scenes."""
    return [facts(scene) for scene in scenes(count, name)]
