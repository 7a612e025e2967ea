"""The matrix products of a pass, from the shapes alone: what has to be computed, whoever computes it.

Useful rows only: no padding, no crop twice, no keys that hold nothing, nothing behind the last layer's keys and
values for rows that nothing is read from. 1 multiply-add = 2 FLOP.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor
from typing import Literal

from streamqa.model.moondream.config import MoondreamConfig, TextConfig, VisionConfig

Kind = Literal["linear", "attention"]


@dataclass(frozen=True, slots=True)
class Shape:
    """`batch` times [m, k] @ [k, n]."""

    kind: Kind  # linear: with a weight [n, k] and a bias; attention: of two activations
    m: int
    n: int
    k: int
    batch: int = 1

    def __post_init__(self) -> None:
        if min(self.m, self.n, self.k, self.batch) < 1:
            raise ValueError(f"a product has no empty side, got {self}")

    @property
    def flop(self) -> int:
        """Of one execution."""
        return 2 * self.m * self.n * self.k * self.batch


@dataclass(frozen=True, slots=True)
class Product:
    """A product of a pass, and how often it is in it."""

    name: str
    shape: Shape
    count: int

    @property
    def flop(self) -> int:
        """Of all its executions."""
        return self.shape.flop * self.count


@dataclass(frozen=True, slots=True)
class Work:
    """What one call of the engine is asked to do.

    The questions are spread evenly: picture i has floor((i + 1) * questions) - floor(i * questions) of them.
    """

    crops: int  # unique ones of each picture
    frames: int
    questions: float  # of each picture
    prompt_rows: int  # tokens of a prompt, template included
    answer_tokens: int  # 0: a closed question, whose options are one token each
    accepted: bool  # drafts hold: there is nothing to decode

    def __post_init__(self) -> None:
        if min(self.crops, self.frames, self.prompt_rows) < 1 or self.answer_tokens < 0:
            raise ValueError(f"work needs crops, frames and a prompt, got {self}")
        if floor(self.frames * self.questions) < 1:
            raise ValueError(f"work needs a question, got {self}")

    @property
    def per_frame(self) -> list[int]:
        """Questions of each picture."""
        ends = [floor(i * self.questions + 1e-9) for i in range(self.frames + 1)]
        return [b - a for a, b in pairwise(ends)]

    @property
    def prompts(self) -> int:
        """Questions of all pictures."""
        return sum(self.per_frame)

    @property
    def steps(self) -> int:
        """Decode steps after the pass over pictures and prompts."""
        return 0 if self.accepted else max(0, self.answer_tokens - 1)

    @property
    def rows(self) -> int:
        """Rows of one question in the pass: its prompt, and of an accepted draft all tokens that another follows."""
        return self.prompt_rows + (max(0, self.answer_tokens - 1) if self.accepted else 0)

    @property
    def choices(self) -> int:
        """Rows of one question in the pass from which a token is chosen, or options are scored."""
        return 1 + self.rows - self.prompt_rows


def total_flop(products: Sequence[Product]) -> int:
    """Of a whole pass."""
    return sum(product.flop for product in products)


def of_work(config: MoondreamConfig, work: Work) -> list[Product]:
    """Every product of a call, vision tower to last decode step."""
    return [
        *of_vision(config.vision, work.crops * work.frames),
        *of_projector(config.vision, work.frames),
        *of_pass(config, work),
        *of_steps(config, work),
    ]


def of_vision(config: VisionConfig, crops: int) -> list[Product]:
    """The tower, over `crops` crops together."""
    rows, width, layers = crops * config.n_patches, config.enc_dim, config.enc_n_layers
    patches, heads, head = config.n_patches, config.enc_n_heads, config.enc_dim // config.enc_n_heads
    return [
        _linear("vision patches", rows, width, config.in_channels * config.enc_patch_size**2),
        _linear("vision qkv", rows, 3 * width, width, layers),
        *_attention("vision", patches, patches, head, crops * heads, layers),
        _linear("vision proj", rows, width, width, layers),
        _linear("vision fc1", rows, config.enc_ff_dim, width, layers),
        _linear("vision fc2", rows, width, config.enc_ff_dim, layers),
    ]


def of_projector(config: VisionConfig, frames: int) -> list[Product]:
    """Merged features to image tokens."""
    rows = frames * config.n_patches
    return [
        _linear("projector fc1", rows, config.proj_inner_dim, 2 * config.enc_dim),
        _linear("projector fc2", rows, config.proj_out_dim, config.proj_inner_dim),
    ]


def of_prefill(config: TextConfig, rows: int, layers: int) -> list[Product]:
    """Whole decoder layers over one sequence whose rows all see each other."""
    return [
        *_layer(config, rows, layers, "text"),
        *_attention("text", rows, rows, config.head_dim, config.n_heads, layers),
    ]


def of_pass(config: MoondreamConfig, work: Work) -> list[Product]:
    """The decoder over all image prefixes and all prompts with their accepted drafts, packed."""
    text, prefix = config.text, config.prefix_len
    asked = work.prompts * work.rows
    whole = text.n_layers - 1  # of the last layer, the prefix's keys and values are all that is needed
    kv_width = 2 * text.n_kv_heads * text.head_dim
    products = [
        _linear("prefix last kv", work.frames * prefix, kv_width, text.dim),
        *_layer(text, asked, 1, "prompts last"),
        *_questions(config, work, work.rows, text.n_layers, "prompts"),
        _linear("prompts lm_head", work.prompts * work.choices, text.vocab_size, text.dim),
    ]
    if whole:
        products += _layer(text, work.frames * prefix + asked, whole, "packed")
        products += _attention("prefix", prefix, prefix, text.head_dim, work.frames * text.n_heads, whole)
    return products


def of_steps(config: MoondreamConfig, work: Work) -> list[Product]:
    """Decode steps, one token of every question at a time."""
    text, steps = config.text, work.steps
    if not steps:
        return []
    return [
        *_layer(text, work.prompts, steps * text.n_layers, "step"),
        *_questions(
            config, work, 1, steps * text.n_layers, "step", work.prompt_rows + work.answer_tokens // 2
        ),
        _linear("step lm_head", work.prompts, text.vocab_size, text.dim, steps),
    ]


def _questions(
    config: MoondreamConfig, work: Work, rows: int, count: int, name: str, own: int | None = None
) -> Iterator[Product]:
    """Attention of `rows` rows of each question: to its picture's prefix, and to `own` rows of its sequence."""
    text = config.text
    of_picture: dict[int, int] = {}  # rows of all questions of a picture -> pictures
    for questions in work.per_frame:
        if questions:
            of_picture[questions * rows] = of_picture.get(questions * rows, 0) + 1
    for seen, pictures in of_picture.items():
        label = f"{name} to prefix"
        yield from _attention(label, seen, config.prefix_len, text.head_dim, pictures * text.n_heads, count)
    batch = work.prompts * text.n_heads
    yield from _attention(f"{name} to own", rows, own or rows, text.head_dim, batch, count)


def _layer(config: TextConfig, rows: int, count: int, name: str) -> list[Product]:
    """The linear layers of decoder blocks."""
    width = (config.n_heads + 2 * config.n_kv_heads) * config.head_dim
    return [
        _linear(f"{name} qkv", rows, width, config.dim, count),
        _linear(f"{name} proj", rows, config.dim, config.dim, count),
        _linear(f"{name} fc1", rows, config.ff_dim, config.dim, count),
        _linear(f"{name} fc2", rows, config.dim, config.ff_dim, count),
    ]


def _linear(name: str, m: int, n: int, k: int, count: int = 1) -> Product:
    return Product(name, Shape("linear", m, n, k), count)


def _attention(name: str, queries: int, keys: int, head: int, batch: int, count: int) -> list[Product]:
    """Scores, and weighted values."""
    return [
        Product(f"{name} scores", Shape("attention", queries, keys, head, batch), count),
        Product(f"{name} values", Shape("attention", queries, head, keys, batch), count),
    ]
