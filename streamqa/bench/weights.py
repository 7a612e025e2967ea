"""A model of full size without a download: random weights, made on the spot, behind the product's own `Moondream`.

What random weights can and cannot show: time, and whether two ways of computing agree. Not quality, not how often a
draft holds, not where an answer ends (so it never does: eos is biased away, and answers have their full length).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from streamqa.model.moondream.config import (
    MoondreamConfig,
    RegionConfig,
    Template,
    Templates,
    TextConfig,
    TokenizerConfig,
    VisionConfig,
)
from streamqa.model.moondream.model import TASKS, Moondream
from streamqa.model.moondream.network import Network
from streamqa.model.moondream.prepare import prepare
from streamqa.types import ModelInfo, Precision

SIZES = ("full", "small")
# Standard deviation of the logits. The two likeliest of 51,200 normal ones are then 0.9 apart on average, which is
# little for a trained model: tokens that rounding flips are over-counted here.
LOGIT_STD = 4.0
EOS_BIAS = -1e4
FIRST_WORD = 64  # ids below are control tokens, or might be
# Of one block of random numbers every tensor takes a stretch. A prime length: tiled under rows of any even width,
# it begins anew at another column each time, so that no two rows of a matrix are the same.
_BLOCK, _SMALL_BLOCK = 16_777_259, 65_537


def config_of(size: str) -> MoondreamConfig:
    """The released model, or `small`: one of the same shape that answers in milliseconds."""
    if size == "full":
        return MoondreamConfig()
    return MoondreamConfig(
        text=TextConfig(64, 128, 2, 512, 128, n_heads=4, n_kv_heads=2, prefix_attn=17),
        vision=VisionConfig(
            32, 4, 2, 48, 2, proj_inner_dim=64, proj_out_dim=64, crop_size=16, overlap_margin=1
        ),
        region=RegionConfig(64, 8, 64, 8, 128, 16),
        tokenizer=TokenizerConfig(templates=Templates(query=Template((1, 40, 2), (3,)))),
    )


def picture_size(crops: int, config: MoondreamConfig) -> tuple[int, int]:
    """Height and width of a 16:9 picture that is read as 1 or 9 crops: 640x360 or 1280x720 at full size."""
    height = (360 if crops == 1 else 720) * config.vision.crop_size // 378
    return height, height * 16 // 9


def random_weights(
    config: MoondreamConfig, dtype: torch.dtype, device: torch.device, seed: int = 0
) -> dict[str, Tensor]:
    """Every tensor of a network, of `dtype`; 1.9 billion parameters take seconds.

    Matrices are scaled by the root of their inputs, norms are 1 and 0, so activations stay near 1 in every layer.
    """
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Network(config).state_dict().items()}
    total = sum(shape.numel() for shape in shapes.values())
    generator = torch.Generator().manual_seed(seed)
    length = _BLOCK if total > _BLOCK else _SMALL_BLOCK
    block = torch.randn(length, generator=generator).to(device, dtype)
    weights, start = {}, 0
    for name, shape in shapes.items():
        weights[name] = _tensor(name, shape, block, start)
        start = (start + shape.numel()) % length
    weights["text.lm_head.bias"][config.tokenizer.eos_id] = EOS_BIAS
    return weights


def _tensor(name: str, shape: torch.Size, block: Tensor, start: int) -> Tensor:
    is_norm = ".ln" in name or "post_ln" in name
    if is_norm:
        return block.new_full(shape, 1.0 if name.endswith("weight") else 0.0)
    tensor = block.new_empty(shape)
    flat, scale, done = tensor.view(-1), _scale(name, shape), 0
    while done < len(flat):
        taken = min(len(flat) - done, len(block) - start)
        torch.mul(block[start : start + taken], scale, out=flat[done : done + taken])
        done, start = done + taken, (start + taken) % len(block)
    return tensor


def _scale(name: str, shape: torch.Size) -> float:
    if name == "text.lm_head.weight":
        return LOGIT_STD / math.sqrt(shape[1])
    if name.endswith("bias") or name == "vision.pos_emb":
        return 0.02
    if name == "text.wte" or name.endswith("features"):
        return 1.0
    return 1.0 / math.sqrt(shape[-1])


class WordTokenizer:
    """Ids as words: `w70 w512`. Any ids become text and come back as they were; other words are hashed."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def encode(self, text: str) -> list[int]:
        """One id for each word; with a space before it, a word that stands for no id has another id."""
        words = [word for word in text.replace(" ", "\0 ").split("\0") if word.strip()]
        return [self._id(word) for word in words]

    def decode(self, ids: Sequence[int]) -> str:
        """Their words."""
        return " ".join(f"w{token}" for token in ids)

    def _id(self, word: str) -> int:
        number = word.strip().removeprefix("w")
        if number.isdecimal() and int(number) < self.vocab_size:
            return int(number)
        return FIRST_WORD + zlib.crc32(word.encode()) % (self.vocab_size - FIRST_WORD)


def random_model(
    config: MoondreamConfig, weights: Mapping[str, Tensor], precision: Precision = "exact"
) -> Moondream:
    """The product's model around `weights`, laid out for the device where that is faster.

    Raises:
        ModelError: the device cannot compute with that precision.
    """
    with torch.device("meta"):
        network = Network(config)
    network.load_state_dict(dict(weights), strict=True, assign=True)
    network.requires_grad_(False).eval()
    prepare(network, precision)  # as the product does on loading; `weights` stay as they are
    wte = weights["text.wte"]
    name = str(wte.dtype).removeprefix("torch.")
    info = ModelInfo("moondream2", "random weights", str(wte.device), name, TASKS)
    return Moondream(network, WordTokenizer(config.text.vocab_size), info)
