"""Small random models that say every kind of thing, and random batches of requests to try on them.

Their tokenizer writes one character for one id, special ids too. So a text says exactly which ids came out, and a
draft may hold any ids, eos included.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models

from streamqa.model.moondream.config import MoondreamConfig
from streamqa.model.moondream.crops import all_crops
from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.network import Network
from streamqa.types import Option, Prompt, Request
from tests.model.moondream.plain import EOS, Plain, Row

GOLDEN = Path(__file__).parents[2] / "golden"
# Width x height that bring crop counts from 1 to 13 at the golden sizes, 1 to 5 at the small ones.
SIZES = [(1, 1), (60, 50), (14, 40), (90, 90), (200, 150), (110, 260), (330, 86), (16, 30)]
OPTIONS = [
    Option(value, tuple(variants))
    for value, *variants in (
        ("yes", "Yes"),
        ("no", "No"),
        (1, "1", "one"),
        (10, "10", "ten"),
        (100, "100"),
        ("a", "red"),
        ("b", "reddish", "reddish blue"),
        ("c", "Blue green"),
    )
]
# The released special ids, made likely enough to be met, as in the golden weights.
LIKELY = {0: 4.5, 3: 4.0, 5: 6.0, 6: 4.0, 7: 4.5, 9: 4.0}


def letters(vocab: int) -> list[str]:
    """One character per id: ASCII where it is one, so that options can be written."""
    return [chr(i) if 32 <= i < 127 else chr(0x4E00 + i) for i in range(vocab)]


def tokenizer_json(vocab: int) -> str:
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters(vocab))}, []))
    tokenizer.decoder = decoders.Fuse()
    return str(tokenizer.to_str())


def random_weights(config: MoondreamConfig, seed: int) -> dict[str, torch.Tensor]:
    """Spread as the golden weights are, so that logits have margins and every branch is taken."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, parameter in Network(config).named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("bias"):
            weights[name] = 0.15 * noise
        elif "ln" in name:
            weights[name] = 1 + 0.2 * noise
        elif name.endswith("features"):
            weights[name] = noise
        elif name == "text.wte" or name.endswith("pos_emb"):
            weights[name] = 0.7 * noise
        else:
            gains = {"qkv": 1.6, "coord_decoder": 2.5, "size_decoder": 2.5, "lm_head": 2.2}
            gain = next((g for part, g in gains.items() if part in name), 1.3)
            weights[name] = gain * noise / parameter.shape[1] ** 0.5
    for token, more in LIKELY.items():
        weights["text.lm_head.bias"][token] += more
    return weights


@dataclass(repr=False)
class Subject:
    """A model, the plain one with the same tensors, and what the plain one has been asked."""

    directory: Path
    model: Moondream
    plain: Plain
    said: dict[Any, Row] = field(default_factory=dict)
    tokens: dict[int, torch.Tensor] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def letters(self) -> list[str]:
        return letters(self.plain.config.text.vocab_size)

    def encode(self, text: str) -> list[int]:
        place = {letter: i for i, letter in enumerate(self.letters)}
        return [place[letter] for letter in text if letter in place]

    def text(self, ids: Sequence[int]) -> str:
        return "".join(self.letters[i] for i in ids)

    def picture(self, number: int) -> np.ndarray:
        width, height = SIZES[number]
        return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)

    def see(self, number: int) -> torch.Tensor:
        """Image tokens by the plain path."""
        if number not in self.tokens:
            crops = all_crops(self.picture(number), self.plain.config.vision)
            with torch.inference_mode():
                self.tokens[number] = self.plain.look(*crops)
        return self.tokens[number]

    def expected(self, number: int | None, prompt: Prompt) -> Row:
        """What plain greedy decoding says; no draft changes it."""
        key = (number, replace(prompt, draft=""))
        if key not in self.said:
            tokens = None if number is None else self.see(number)
            self.said[key] = self.plain.answer(tokens, prompt, self.encode)
        return self.said[key]


def write_checkpoint(directory: Path, weights: dict[str, torch.Tensor], config: dict[str, Any]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    save_file(
        {f"model.{name.removeprefix('model.')}": t for name, t in weights.items()},
        directory / "model.safetensors",
    )
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "tokenizer.json").write_text(tokenizer_json(config["text"]["vocab_size"]))
    return directory


def open_subject(directory: Path, dtype: torch.dtype = torch.float32) -> Subject:
    config = MoondreamConfig.from_dict(json.loads((directory / "config.json").read_text()))
    plain = Plain(load_file(directory / "model.safetensors"), config, dtype)
    return Subject(directory, Moondream.from_pretrained(directory, dtype=dtype), plain)


def small_config(toy: dict[str, Any], **text: int) -> dict[str, Any]:
    """The toy's sizes with other text sizes, and without its tokenizer's probe."""
    special = {name: value for name, value in toy["tokenizer"].items() if name != "probe"}
    return {**toy, "text": {**toy["text"], **text}, "tokenizer": special}


Batch = list[tuple[int | None, tuple[Prompt, ...]]]


def requests_of(subject: Subject, batch: Batch) -> list[Request]:
    return [Request(None if n is None else subject.picture(n), prompts) for n, prompts in batch]


def random_batch(subject: Subject, rng: random.Random) -> Batch:
    """1 to 5 pictures (or none), of each 0 to 6 prompts of any task, length, draft and budget."""
    batch: Batch = []
    for _ in range(rng.randint(1, 5)):
        number = None if rng.random() < 0.15 else rng.randrange(len(SIZES))
        prompts = [_random_prompt(subject, rng, blind=number is None) for _ in range(rng.randint(0, 6))]
        batch.append((number, tuple(_drafted(subject, rng, number, prompt) for prompt in prompts)))
    return batch


def _random_prompt(subject: Subject, rng: random.Random, *, blind: bool) -> Prompt:
    tasks = ["query", "query", "scored", "reason", *([] if blind else ["caption", "point", "detect"])]
    task: Any = rng.choice(tasks)
    options = tuple(rng.sample(OPTIONS, rng.randint(1, 5))) if task == "scored" else ()
    max_tokens, max_objects = rng.choice([1, 1, 2, 3, 7, 16]), rng.choice([1, 2, 4])
    # After the words come the template, and room for whatever is said.
    config = subject.plain.config
    room = config.text.max_context - (1 if blind else config.prefix_len) - 8
    room -= {"scored": 14, "reason": 2 * max_tokens + 1}.get(task, max(max_tokens + 5, 3 * max_objects))
    longest = rng.choice([0, 4, 12, 12, 40, room if rng.random() < 0.1 else 12])
    words = [rng.randrange(config.text.vocab_size) for _ in range(rng.randint(0, max(0, min(longest, room))))]
    return Prompt(
        subject.text(words),
        task="query" if task == "scored" else task,
        options=options,
        max_tokens=max_tokens,
        max_objects=max_objects,
        length=rng.choice(["short", "normal", "long"]),
    )


def _drafted(subject: Subject, rng: random.Random, number: int | None, prompt: Prompt) -> Prompt:
    """The prompt with a draft: none, right, half right, too long, wrong, or with special ids in it."""
    right = subject.expected(number, prompt).ids
    if prompt.task in ("query", "caption") and not prompt.options and rng.random() < 0.2:
        # What would be said if it were not for the cap.
        longer = replace(prompt, max_tokens=prompt.max_tokens + rng.choice([1, 5]))
        return replace(prompt, draft=subject.text(subject.expected(number, longer).ids))
    noise = [rng.randrange(subject.plain.config.text.vocab_size) for _ in range(rng.randint(1, 5))]
    special = subject.plain.config.tokenizer
    drafts = [
        [],
        right,
        right[: len(right) // 2],
        right[: len(right) // 2] + noise,
        right[:-1] + noise,
        right + noise,
        [*right, special.eos_id, *noise],
        [special.eos_id],
        [*right[:1], special.answer_id, *right[1:]],
        noise,
        noise * 30,
    ]
    return replace(prompt, draft=subject.text(rng.choice(drafts)))


def traced(subject: Subject, prompt: Prompt, got: Any) -> list[Any]:
    """A generation in the form of `Row.trace`."""
    end = {"eos": EOS, "length": "<cap>"}[got.finish]
    if prompt.task in ("point", "detect"):
        points = [(p.x, p.y) for p in got.points]
        return [*points, *((b.x_min, b.y_min, b.x_max, b.y_max) for b in got.boxes), end]
    said = [*subject.encode(got.text), end]
    if prompt.task != "reason":
        return said
    thoughts = [("thought", token) for token in subject.encode(got.reasoning)]
    return [*thoughts, "thought", tuple((p.x, p.y) for p in got.points), *said]


def alike(a: Any, b: Any) -> bool:
    """Equal, numbers within the rounding of float32."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b, strict=True))
    return abs(a - b) <= 1e-6 if isinstance(a, float) and isinstance(b, float) else bool(a == b)
