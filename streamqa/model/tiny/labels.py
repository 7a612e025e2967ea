"""Labels that the vision tower alone can learn from, before any text: what is in each patch, and the scene's counts.

The heads that read them are thrown away; they only make the features worth asking about.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from streamqa.model.tiny.sizes import Sizes
from streamqa.scenes.truth import Facts
from streamqa.scenes.world import COLOURS, HEIGHT, WIDTH, Scene

KINDS = ("person", "car", "dog", "box", "fire", "lying")
CENTRED = ("person", "car", "dog", "box")
GLOBALS = (
    ("people", 5),
    ("cars", 5),
    ("dogs", 3),
    ("boxes", 3),
    ("gate", 2),
    ("light", 2),
    ("day", 2),
    ("lying", 2),
    ("at_gate", 2),
    ("fire", 2),
)
_NAMES = tuple(COLOURS)


@dataclass(frozen=True, slots=True)
class Labels:
    """Of one picture on a g x g grid: `kinds` (6, g, g) and `centres` (4, g, g) are 0/1.

    `colour` (g, g) is -1 or a class, `whole` (10,) is -1 where it cannot be told.
    """

    kinds: NDArray[np.uint8]
    centres: NDArray[np.uint8]
    colour: NDArray[np.int8]
    whole: NDArray[np.int8]

    def flipped(self) -> Labels:
        """The labels of the mirrored picture."""
        return Labels(self.kinds[:, :, ::-1], self.centres[:, :, ::-1], self.colour[:, ::-1], self.whole)


def label(scene: Scene, known: Facts, grid: int) -> Labels:
    """Work out the labels of a scene."""
    kinds = np.zeros((len(KINDS), grid, grid), np.uint8)
    centres = np.zeros((len(CENTRED), grid, grid), np.uint8)
    colour = np.full((grid, grid), -1, np.int8)
    for thing in scene.things:
        if thing.visible() < 0.25 or thing.strength < 0.3:
            continue
        x0, y0, x1, y1 = thing.box()
        cover = np.outer(_overlap(y0, y1, grid, HEIGHT), _overlap(x0, x1, grid, WIDTH)) > 0.3
        kinds[KINDS.index(thing.kind)] |= cover
        if thing.lying > 0.5:
            kinds[KINDS.index("lying")] |= cover
        cx, cy = min(max((x0 + x1) / 2, 0), WIDTH - 1), min(max((y0 + y1) / 2, 0), HEIGHT - 1)
        column, row = int(cx * grid / WIDTH), int(cy * grid / HEIGHT)
        if thing.kind in CENTRED and thing.visible() > 0.5:
            centres[CENTRED.index(thing.kind), row, column] = 1
        if thing.kind in ("person", "car"):
            colour[row, column] = _NAMES.index(thing.colour) + (6 if thing.kind == "car" else 0)
    return Labels(kinds, centres, colour, _whole(known))


def _overlap(low: float, high: float, grid: int, size: int) -> NDArray[np.float64]:
    edges = np.arange(grid + 1) * size / grid
    inside = np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1])
    return np.asarray(np.maximum(0.0, inside) / (size / grid))


def _whole(known: Facts) -> NDArray[np.int8]:
    people, cars, dogs, boxes = (known.counts[k] for k in ("person", "car", "dog", "box"))
    gate = None if known.gate is None else known.gate == "open"
    day = None if known.daytime is None else known.daytime == "day"
    values = (
        people,
        cars,
        dogs,
        boxes,
        gate,
        known.light,
        day,
        known.fallen,
        known.at_gate,
        known.present["fire"],
    )
    most = [classes - 1 for _, classes in GLOBALS]
    return np.array([-1 if v is None else min(int(v), m) for v, m in zip(values, most, strict=True)], np.int8)


class Heads(nn.Module):
    """Linear readers of the vision features, used in training only."""

    def __init__(self, sizes: Sizes) -> None:
        """One linear layer per patch and one per picture."""
        super().__init__()
        self.patch = nn.Linear(sizes.vision_dim, len(KINDS) + len(CENTRED) + 2 * len(_NAMES))
        self.whole = nn.Linear(2 * sizes.vision_dim, sum(classes for _, classes in GLOBALS))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, P, D) -> per patch (B, P, 22) and per picture (B, sum of classes), fp32 logits."""
        pooled = torch.cat((features.mean(1), features.amax(1)), dim=-1)
        return self.patch(features).float(), self.whole(pooled).float()


def loss(heads: Heads, features: Tensor, labels: list[Labels]) -> tuple[Tensor, dict[str, float]]:
    """The auxiliary loss of a batch, and accuracies worth logging."""
    patch, whole = heads(features)
    kinds = torch.from_numpy(np.stack([x.kinds for x in labels])).flatten(2).transpose(1, 2).float()
    centres = torch.from_numpy(np.stack([x.centres for x in labels])).flatten(2).transpose(1, 2).float()
    colour = torch.from_numpy(np.stack([x.colour for x in labels])).flatten().long()
    k, c = len(KINDS), len(CENTRED)
    kind_loss = F.binary_cross_entropy_with_logits(
        patch[..., :k], kinds, pos_weight=torch.tensor([2.0, 2, 4, 4, 4, 6])
    )
    centre_loss = F.binary_cross_entropy_with_logits(
        patch[..., k : k + c], centres, pos_weight=torch.tensor(8.0)
    )
    colour_logits = patch[..., k + c :].flatten(0, 1)
    colour_loss = F.cross_entropy(colour_logits, colour, ignore_index=-1)
    whole_loss, right = _whole_loss(whole, torch.from_numpy(np.stack([x.whole for x in labels])).long())
    asked = colour >= 0
    right["colour"] = float((colour_logits.argmax(-1)[asked] == colour[asked]).float().mean())
    return 2 * kind_loss + 2 * centre_loss + 0.5 * colour_loss + whole_loss, right


def _whole_loss(logits: Tensor, wanted: Tensor) -> tuple[Tensor, dict[str, float]]:
    total = logits.new_zeros(())
    right: dict[str, float] = {}
    start = 0
    for i, (name, classes) in enumerate(GLOBALS):
        part, target = logits[:, start : start + classes], wanted[:, i]
        start += classes
        told = target >= 0
        if bool(told.any()):
            total = total + F.cross_entropy(part[told], target[told]) * (1.5 if classes == 5 else 1.0)
            right[name] = float((part[told].argmax(-1) == target[told]).float().mean())
    return total / len(GLOBALS), right
