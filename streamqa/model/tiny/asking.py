"""The loss of packed questions, and how many of them are answered word for word."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from streamqa.model.tiny import pointing
from streamqa.model.tiny.data import Example
from streamqa.model.tiny.grammar import questions_for, training_mix
from streamqa.model.tiny.network import Network
from streamqa.model.tiny.tokens import Asked, Packed, encode, pack
from streamqa.scenes.truth import Facts

ROWS, WIDTH = 5, 44
_LONG = ("caption", "describe")


def training_questions(
    examples: Sequence[Example], rng: random.Random, tokenizer: Tokenizer, start: int
) -> Packed:
    """About 14 questions for each picture; every second picture is also asked for points or boxes."""
    batch: list[list[Asked]] = []
    for example in examples:
        mix = training_mix(example.facts, rng, 14)
        asked = [encode(qa, tokenizer, thinking=rng.random() < 0.02) for qa in mix]
        region = pointing.ask(example.boxes, rng, tokenizer) if rng.random() < 0.5 else None
        batch.append(asked if region is None else [region, *asked])
    return pack(batch, ROWS, WIDTH, start)


def validation_questions(
    known: Sequence[Facts], rng: random.Random, tokenizer: Tokenizer, start: int, heldout: bool
) -> Packed:
    """One question of every type for each picture."""
    batch: list[list[Asked]] = [
        [encode(qa, tokenizer) for qa in questions_for(facts, rng, heldout)] for facts in known
    ]
    return pack(batch, ROWS + 4, WIDTH, start)


def logits(network: Network, features: Tensor, packed: Packed) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (K, vocabulary), fp32, of the K positions that have a target, those positions, and all hidden states."""
    embedded = pointing.feed(network.region, network.text.wte[packed.tokens], packed)
    hidden = network.hidden(features, embedded, packed.positions, packed.mask.to(embedded.dtype)).flatten(
        0, 1
    )
    asked = (packed.targets.flatten() >= 0).nonzero().squeeze(1)
    return network.text.logits(hidden[asked]).float(), asked, hidden


def loss(network: Network, features: Tensor, packed: Packed) -> tuple[Tensor, dict[str, float]]:
    """Mean loss of the answers' tokens, those of long answers at a third, and the share of right answers by type."""
    scores, asked, hidden = logits(network, features, packed)
    targets = packed.targets.flatten()[asked]
    weights = _weights(packed)[asked]
    each = F.cross_entropy(scores, targets, reduction="none")
    where, errors = pointing.loss(network.region, hidden, packed)
    shares = {k: r / n for k, (r, n) in right(scores, asked, packed).items()}
    return (each * weights).sum() / weights.sum() + 0.15 * where, {**errors, **shares}


def _weights(packed: Packed) -> Tensor:
    weights = torch.ones(packed.group.shape)
    for b, types in enumerate(packed.types):
        for index, name in enumerate(types):
            if name in _LONG:
                weights[b][packed.group[b] == index] = 0.3
    return weights.flatten()


def right(scores: Tensor, asked: Tensor, packed: Packed) -> dict[str, tuple[int, int]]:
    """By type: how many answers are right in every token given the tokens before, which is what greedy decoding
    would then say, and how many there are."""
    hit = scores.argmax(-1) == packed.targets.flatten()[asked]
    most = max(len(types) for types in packed.types) + 1
    picture = asked // packed.tokens.shape[1]
    key = picture * most + packed.group.flatten()[asked]
    wrong = torch.zeros(len(packed.types) * most, dtype=torch.long).index_add_(0, key, (~hit).long())
    counts: dict[str, tuple[int, int]] = {}
    for b, types in enumerate(packed.types):
        for index, name in enumerate(types):
            good, total = counts.get(name, (0, 0))
            counts[name] = (good + int(wrong[b * most + index] == 0), total + 1)
    return counts
