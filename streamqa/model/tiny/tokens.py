"""The embedded model's tokenizer, and questions packed into rows for training.

A question is `[query] text [answer] [answer]`, then its answer, then the end: what the product feeds and expects.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from streamqa.model.tiny.grammar import QA, training_mix
from streamqa.model.tiny.sizes import SPECIAL
from streamqa.scenes.sample import scene
from streamqa.scenes.truth import facts

ANSWERS = ("Yes", "No", "0", "1", "2", "3", "4", "open", "closed", "on", "off", "day", "night")
COLOURS = ("red", "blue", "green", "yellow", "white", "black")
_LENGTHS = {"short": SPECIAL.short, "normal": SPECIAL.normal, "long": SPECIAL.long}


def train_tokenizer(vocab: int, scenes: int = 3000) -> Tokenizer:
    """Byte-level BPE on the grammar's own text. Every closed answer becomes one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=list(SPECIAL.names),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(scenes), trainer)
    for answer in (*ANSWERS, *COLOURS):
        if len(tokenizer.encode(answer).ids) != 1:
            raise ValueError(f"{answer!r} is not one token")
    return tokenizer


def _corpus(scenes: int) -> Iterable[str]:
    for seed in range(scenes):
        rng = random.Random(f"corpus {seed}")
        for qa in training_mix(facts(scene(rng)), rng, 14):
            yield qa.question
            yield qa.answer
    # The end of each closed answer is also common: as merges are by frequency, say each often enough.
    yield from [*ANSWERS, *COLOURS, "I can't tell."] * 400


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json`."""
    return Tokenizer.from_file(str(path))


@dataclass(frozen=True, slots=True)
class Asked:
    """Tokens of one question with its answer; `targets` is what each position must predict, -1 where nobody asks.

    `fed` and `wanted` belong to points and boxes: by position, the coordinate or size that is fed there instead of
    the token, and the classes that must be decoded there.
    """

    tokens: list[int]
    targets: list[int]
    type: str
    fed: dict[int, tuple[float, ...]] = field(default_factory=dict)
    wanted: dict[int, tuple[int, ...]] = field(default_factory=dict)


def encode(qa: QA, tokenizer: Tokenizer, thinking: bool = False) -> Asked:
    """`thinking`: asked with reasoning, which this model ends at once."""
    s = SPECIAL
    answer = [*tokenizer.encode(qa.answer).ids, s.eos]
    if qa.task != "query":
        prompt, targets = [s.caption, _LENGTHS[qa.task]], [-1]
    elif thinking:
        prompt = [s.query, *tokenizer.encode(qa.question).ids, s.answer, s.thinking, s.answer]
        targets = [-1] * (len(prompt) - 2) + [s.answer]
    else:
        prompt = [s.query, *tokenizer.encode(qa.question).ids, s.answer, s.answer]
        targets = [-1] * (len(prompt) - 1)
    return Asked(prompt + answer[:-1], targets + answer, qa.type)


@dataclass(frozen=True, slots=True)
class Packed:
    """Questions about B pictures in N rows of T tokens: `tokens`, `positions`, `targets`, `group` are (B, N * T).

    `group` numbers a picture's questions, -1 is padding; `types` names them. `mask` is (B, 1, N, T, T), additive.
    """

    tokens: Tensor
    positions: Tensor
    targets: Tensor
    group: Tensor
    mask: Tensor
    types: list[list[str]]
    # Places are in the flat batch (B * N * T). Fed: coordinates (K,) and sizes (K, 2); asked for: their classes.
    coord_at: Tensor
    coord: Tensor
    size_at: Tensor
    size: Tensor
    coord_asked: Tensor
    coord_bin: Tensor
    size_asked: Tensor
    size_bin: Tensor


def pack(batch: Sequence[Sequence[Asked]], rows: int, width: int, start: int) -> Packed:
    """First fit into `rows` rows of `width` tokens; what does not fit is left out. `start` is the first position."""
    shape = (len(batch), rows, width)
    tokens, positions = np.zeros(shape, np.int64), np.full(shape, start, np.int64)
    targets, group = np.full(shape, -1, np.int64), np.full(shape, -1, np.int64)
    types: list[list[str]] = []
    fed: dict[int, tuple[float, ...]] = {}
    wanted: dict[int, tuple[float, ...]] = {}
    for b, questions in enumerate(batch):
        used = [0] * rows
        kept: list[str] = []
        for question in questions:
            size = len(question.tokens)
            row = next((r for r in range(rows) if used[r] + size <= width), None)
            if row is None:
                continue
            place = np.s_[b, row, used[row] : used[row] + size]
            tokens[place], targets[place], group[place] = question.tokens, question.targets, len(kept)
            positions[place] = np.arange(start, start + size)
            first = (b * rows + row) * width + used[row]
            fed.update({first + at: values for at, values in question.fed.items()})
            wanted.update({first + at: values for at, values in question.wanted.items()})
            used[row] += size
            kept.append(question.type)
        types.append(kept)
    g = torch.from_numpy(group)
    flat = [torch.from_numpy(a).flatten(1) for a in (tokens, positions, targets)]
    lists = [part for values in (fed, wanted) for part in (*_ones(values), *_pairs(values))]
    lists[5], lists[7] = lists[5].long(), lists[7].long()
    return Packed(flat[0], flat[1], flat[2], g.flatten(1), _mask(g), types, *lists)


def _mask(group: Tensor) -> Tensor:
    """Each question sees itself up to the present token."""
    width = group.shape[-1]
    same = group[..., :, None] == group[..., None, :]
    seen = same & torch.ones(width, width, dtype=torch.bool).tril()
    return torch.where(seen, 0.0, -1e4).unsqueeze(1)


def _ones(values: dict[int, tuple[float, ...]]) -> tuple[Tensor, Tensor]:
    found = {at: value for at, value in values.items() if len(value) == 1}
    return torch.tensor(list(found), dtype=torch.long), torch.tensor([v[0] for v in found.values()])


def _pairs(values: dict[int, tuple[float, ...]]) -> tuple[Tensor, Tensor]:
    found = {at: value for at, value in values.items() if len(value) == 2}
    return torch.tensor(list(found), dtype=torch.long), torch.tensor(list(found.values())).view(-1, 2)
