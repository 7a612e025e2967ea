"""Endless training pictures: rendered, spoiled as cameras and codecs do, and shown again mirrored."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from streamqa.model.tiny import pointing
from streamqa.model.tiny.labels import Labels, label
from streamqa.scenes import draw, sample
from streamqa.scenes.script import CYCLE_S, GateScene
from streamqa.scenes.truth import Facts, facts
from streamqa.scenes.world import Scene

TRAIN_SEEDS = 1_000_000
"""Scenes and scripts of training have seeds below this."""
VALIDATION_SEED = 5_000_000
TEST_SEED = 10_000_000
"""Seeds from here on are looked at once, when a training is over."""

_SIZES = ((320, 180), (480, 270), (854, 480), (1280, 720), (400, 300))
_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


@dataclass(frozen=True, slots=True)
class Example:
    """One training picture, uint8 (S, S, 3), with everything known about it."""

    image: NDArray[np.uint8]
    labels: Labels
    facts: Facts
    boxes: pointing.Boxes

    def flipped(self) -> Example:
        """Mirrored: no question asks for left or right."""
        return Example(self.image[:, ::-1], self.labels.flipped(), self.facts, pointing.flipped(self.boxes))


def spoil(image: Image.Image, rng: random.Random, crop: int) -> NDArray[np.uint8]:
    """What a camera, a codec and a resizer do to a picture: uint8 (crop, crop, 3)."""
    kind = rng.random()
    if kind < 0.35:
        image = image.resize(rng.choice(_SIZES[:3]), rng.choice(_FILTERS))
    elif kind < 0.4:
        image = image.resize(rng.choice(_SIZES), rng.choice(_FILTERS))
    if rng.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.6)))
    if rng.random() < 0.55:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=rng.randrange(25, 91), subsampling=rng.choice((0, 2, 2)))
        image = Image.open(buffer).convert("RGB")
    if rng.random() < 0.4:
        gain, lift = rng.uniform(0.88, 1.12), rng.uniform(-10, 10)
        image = image.point([max(0, min(255, round(v * gain + lift))) for v in range(256)] * 3)
    small = np.asarray(image.resize((crop, crop), Image.Resampling.LANCZOS))
    if rng.random() < 0.35:
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(1, 7), small.shape)
        small = np.clip(small + noise, 0, 255).astype(np.uint8)
    return small


def moments(rng: random.Random, count: int = 4) -> list[Scene]:
    """Some moments of one random script with a training seed."""
    script = GateScene(rng.randrange(TRAIN_SEEDS))
    return [script.scene(rng.uniform(0, 40 * CYCLE_S)) for _ in range(count)]


def examples(rng: random.Random, crop: int, grid: int, scripted: float = 0.5) -> Iterator[Example]:
    """Fresh examples for ever: static scenes and moments of scripts."""
    while True:
        scenes = moments(rng) if rng.random() < scripted else [sample.scene(rng) for _ in range(4)]
        for scene in scenes:
            known = facts(scene)
            image = spoil(draw.picture(scene), rng, crop)
            yield Example(image, label(scene, known, grid), known, pointing.boxes(scene))


class Pool:
    """Keeps the latest examples and shows each several times: rendering costs as much as a vision step otherwise."""

    def __init__(self, source: Iterator[Example], rng: random.Random, keep: int) -> None:
        """`keep` examples of 77 kB each stay in memory."""
        self._source = source
        self._rng = rng
        self._keep = keep
        self._kept: list[Example] = []
        self._next = 0

    def batch(self, count: int, fresh: int) -> list[Example]:
        """`fresh` new examples, and older ones, half of them mirrored."""
        missing = max(0, count - fresh - len(self._kept))
        found = [next(self._source) for _ in range(min(count, fresh + missing))]
        for _ in range(count - len(found)):
            old = self._kept[self._rng.randrange(len(self._kept))]
            found.append(old.flipped() if self._rng.random() < 0.5 else old)
        for example in found[: min(count, fresh + missing)]:
            if len(self._kept) < self._keep:
                self._kept.append(example)
            else:
                self._kept[self._next % self._keep] = example
                self._next += 1
        return found


def tensor(images: list[NDArray[np.uint8]], dtype: torch.dtype) -> Tensor:
    """uint8 (S, S, 3) pictures -> (B, 3, S, S), normalised to -1..1 as the product does."""
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous().float()
    return ((stacked / 255 - 0.5) / 0.5).to(dtype)
