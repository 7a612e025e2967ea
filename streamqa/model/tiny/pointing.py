"""Points and boxes: how they are asked and answered in tokens, and the loss of their coordinates.

A point is two coordinates, a box two of its middle and one size; each is fed back by its own encoder, and decoded
from the hidden state before it, as the product's detect and point loops do.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from streamqa.model.tiny import outside
from streamqa.model.tiny.network import Mlp, Region
from streamqa.model.tiny.sizes import SPECIAL
from streamqa.model.tiny.tokens import Asked, Packed
from streamqa.scenes.truth import state
from streamqa.scenes.world import HEIGHT, WIDTH, Box, Scene

NAMES: dict[str, tuple[str, ...]] = {
    "person": ("person", "person", "people", "human", "pedestrian"),
    "car": ("car", "car", "cars", "vehicle"),
    "dog": ("dog", "dogs"),
    "box": ("box", "cardboard box"),
    "fire": ("fire", "flames"),
}
Boxes = Mapping[str, Sequence[Box] | None]


def boxes(scene: Scene) -> Boxes:
    """By kind, each thing's box inside the picture, in 0..1 of width and height, from left to right.

    None where it cannot be told how many there are.
    """
    found: dict[str, Sequence[Box] | None] = {}
    for kind in NAMES:
        states = [(thing, state(thing)) for thing in scene.things if thing.kind == kind]
        if any(seen is None for _, seen in states):
            found[kind] = None
            continue
        cut = []
        for thing, seen in states:
            if seen:
                x0, y0, x1, y1 = thing.box()
                cut.append(
                    (max(0.0, x0 / WIDTH), max(0.0, y0 / HEIGHT), min(1.0, x1 / WIDTH), min(1.0, y1 / HEIGHT))
                )
        found[kind] = sorted(cut, key=lambda b: b[0] + b[2])
    return found


def flipped(found: Boxes) -> Boxes:
    """The boxes of the mirrored picture."""
    return {
        kind: None if some is None else [(1 - x1, y0, 1 - x0, y1) for x0, y0, x1, y1 in reversed(some)]
        for kind, some in found.items()
    }


def ask(found: Boxes, rng: random.Random, tokenizer: Tokenizer) -> Asked | None:
    """A random question for points or boxes, or None where it cannot be told."""
    kind = rng.choices((*NAMES, "outside"), (0.4, 0.3, 0.08, 0.07, 0.05, 0.1))[0]
    name = rng.choice(outside.NOUNS.train if kind == "outside" else NAMES[kind])
    some = () if kind == "outside" else found[kind]
    return None if some is None else encode(name, some, rng.random() < 0.5, tokenizer)


def encode(name: str, some: Sequence[Box], detect: bool, tokenizer: Tokenizer) -> Asked:
    """Tokens of a question for all things of a name, and of its answer: `some` boxes, or their middles."""
    s = SPECIAL
    tokens = [s.detect if detect else s.point, *tokenizer.encode(" " + name).ids, s.answer]
    targets = [-1] * len(tokens)
    fed: dict[int, tuple[float, ...]] = {}
    wanted: dict[int, tuple[int, ...]] = {}
    for x0, y0, x1, y1 in some:
        targets[-1] = s.coord
        parts: list[tuple[int, tuple[float, ...]]] = [
            (s.coord, ((x0 + x1) / 2,)),
            (s.coord, ((y0 + y1) / 2,)),
        ]
        if detect:
            parts.append((s.size, (x1 - x0, y1 - y0)))
        for token, values in parts:
            wanted[len(tokens) - 1] = tuple((coord_bin if token == s.coord else size_bin)(v) for v in values)
            fed[len(tokens)] = values
            tokens.append(token)
            targets.append(-1)
    targets[-1] = s.eos
    return Asked(tokens, targets, "detect" if detect else "point", fed, wanted)


def coord_bin(value: float) -> int:
    """The class of a coordinate in 0..1; class / 1024 is what the product reads."""
    return max(0, min(1023, round(value * 1024)))


def size_bin(value: float) -> int:
    """The class of a width or height in 0..1, on a scale of logarithms from 1/1024 to 1."""
    return max(0, min(1023, round((math.log2(max(value, 1e-4)) + 10) / 10 * 1023)))


def fourier(values: Tensor, features: Tensor) -> Tensor:
    """(K, n) values and (n, m) frequencies -> (K, 2 m) cosines and sines."""
    angle = 2 * math.pi * values @ features.float()
    return torch.cat((angle.cos(), angle.sin()), dim=-1).to(features.dtype)


def feed(region: Region, embedded: Tensor, packed: Packed) -> Tensor:
    """Put the encodings of coordinates and sizes in the place of their tokens' embeddings (B, N * T, D)."""
    flat = embedded.flatten(0, 1)
    if len(packed.coord_at):
        flat = flat.index_copy(
            0, packed.coord_at, region.coord_encoder(fourier(packed.coord[:, None], region.coord_features))
        )
    if len(packed.size_at):
        flat = flat.index_copy(
            0, packed.size_at, region.size_encoder(fourier(packed.size, region.size_features))
        )
    return flat.view_as(embedded)


def loss(region: Region, hidden: Tensor, packed: Packed) -> tuple[Tensor, dict[str, float]]:
    """The loss of coordinates and sizes, and their mean errors in per mille of the picture and of the size.

    `hidden` (B * N * T, D) are the last hidden states.
    """
    total = hidden.new_zeros((), dtype=torch.float32)
    errors: dict[str, float] = {}
    for name, decoder, at, wanted in (
        ("coord", region.coord_decoder, packed.coord_asked, packed.coord_bin[:, None]),
        ("size", region.size_decoder, packed.size_asked, packed.size_bin),
    ):
        if len(at):
            part, error = _soft_loss(decoder, hidden[at], wanted)
            total, errors[f"{name}_error"] = total + part, error
    return total, errors


def _soft_loss(decoder: Mlp, hidden: Tensor, wanted: Tensor) -> tuple[Tensor, float]:
    """Cross entropy against a bell over the neighbouring classes (standard deviation 8): near is nearly right."""
    scores = decoder(hidden).float().view(len(wanted), wanted.shape[1], -1)
    off = torch.arange(scores.shape[-1]) - wanted[..., None]
    bell = torch.softmax(-((off / 8.0) ** 2) / 2, dim=-1)
    value = -(bell * F.log_softmax(scores, dim=-1)).sum(-1).mean()
    error = float((scores.argmax(-1) - wanted).abs().float().mean())
    return value, error
