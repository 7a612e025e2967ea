"""The decoder: parallel attention and MLP, partial rotary positions, a bidirectional image prefix.

What the rows of a forward may look at is the caller's business (`packing`); this module owns the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamqa.model.moondream.config import TextConfig
from streamqa.model.moondream.layers import EPS, MLP, Attention, Dense, rope, rotate_


class Attend(Protocol):
    """Attention of packed rows in one layer."""

    def __call__(self, layer: int, q_RHd: Tensor, k_RKd: Tensor, v_RKd: Tensor) -> Tensor:
        """Rotated queries, keys and values of the rows -> what each row saw, [R, H, d].

        It may leave leading rows out, which then end here.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """Keys and values of [bos, image tokens] of B pictures: computed once, shared read-only by every prompt."""

    keys: tuple[Tensor, ...]  # of each layer [B, K, S, d]
    values: tuple[Tensor, ...]
    length: int  # positions taken; the S - length slots after them hold nothing

    def __len__(self) -> int:
        return self.keys[0].shape[0]

    @property
    def mask(self) -> Tensor | None:
        """Additive float32 [1, 1, 1, S] that hides the slots that hold nothing; None where there are none."""
        return padding_mask(self.keys[0].shape[2], self.length, self.keys[0].device)

    def select(self, images: list[int]) -> Prefix:
        """Some of the pictures: a view where they are neighbours, otherwise a copy."""
        if images == list(range(images[0], images[-1] + 1)):
            part = slice(images[0], images[-1] + 1)
            return Prefix(tuple(k[part] for k in self.keys), tuple(v[part] for v in self.values), self.length)
        index = torch.tensor(images, device=self.keys[0].device)
        return Prefix(
            tuple(k.index_select(0, index) for k in self.keys),
            tuple(v.index_select(0, index) for v in self.values),
            self.length,
        )

    @classmethod
    def join(cls, parts: list[Prefix]) -> Prefix:
        """Pictures that were encoded apart, side by side: a copy."""
        return cls(
            tuple(torch.cat(layer) for layer in zip(*(p.keys for p in parts), strict=True)),
            tuple(torch.cat(layer) for layer in zip(*(p.values for p in parts), strict=True)),
            parts[0].length,
        )


def padding_mask(slots: int, length: int, device: torch.device) -> Tensor | None:
    """Additive float32 [1, 1, 1, slots]: only the first `length` are seen; None where these are all."""
    if slots == length:
        return None
    mask = torch.zeros(1, 1, 1, slots, device=device)
    mask[..., length:] = float("-inf")
    return mask


class Block(Protocol):
    """One layer, cut where the rows look at each other: x + attention(ln(x)) + mlp(ln(x)), with a single norm."""

    def open(self, x_RD: Tensor, turn_R1h: Tensor) -> Opened:
        """What the rows bring to the attention."""
        ...

    def close(self, x_RD: Tensor, seen_RHd: Tensor, rest: Tensor) -> Tensor:
        """The layer's output [R, D], from its input, what the rows saw, and `Opened.rest` of the same rows."""
        ...


class Opened(NamedTuple):
    """The first half of a layer."""

    q_RHd: Tensor  # rotated
    k_RKd: Tensor  # rotated
    v_RKd: Tensor
    rest: Tensor  # [R, ...]: what the second half needs beside the input


@dataclass(frozen=True, slots=True)
class Heads:
    """How a QKV output is cut into heads."""

    queries: int
    keys: int  # and as many values
    dim: int
    in_pairs: bool = (
        False  # whether the rotated dimensions of queries and keys lie in pairs, see `layers.paired`
    )

    def rotated(self, qkv_RC: Tensor, turn_R1h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries [R, H, d] and keys [R, K, d], values [R, K, d]: views of `qkv_RC`, which is overwritten."""
        rotated = self.queries + self.keys
        heads = qkv_RC.view(len(qkv_RC), rotated + self.keys, self.dim)
        rotate_(heads[:, :rotated], turn_R1h, self.in_pairs)
        return heads[:, : self.queries], heads[:, self.queries : rotated], heads[:, rotated:]


class TextBlock(nn.Module):
    """A layer as the weights have it; a `Block`."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads = Heads(config.n_heads, config.n_kv_heads, config.head_dim)
        self.ln = nn.LayerNorm(config.dim, eps=EPS)
        self.attn = Attention(config.dim, (config.n_heads + 2 * config.n_kv_heads) * config.head_dim)
        self.mlp = MLP(config.dim, config.ff_dim, config.dim)

    def open(self, x_RD: Tensor, turn_R1h: Tensor) -> Opened:
        """The rest is the normed input."""
        normed_RD = self.ln(x_RD)
        return Opened(*self.heads.rotated(self.attn.qkv(normed_RD), turn_R1h), normed_RD)

    def close(self, x_RD: Tensor, seen_RHd: Tensor, rest: Tensor) -> Tensor:
        """The layer's output, [R, D]."""
        out: Tensor = self.attn.proj(seen_RHd.flatten(1))
        return out.add_(x_RD).add_(self.mlp(rest))


class TextModel(nn.Module):
    """Embedding, layers, head."""

    slot_step = 1  # the slots of a picture's prefix are a multiple of this; what is over is padding

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Parameter(torch.zeros(config.vocab_size, config.dim))
        self.blocks = nn.ModuleList(TextBlock(config) for _ in range(config.n_layers))
        self.post_ln = nn.LayerNorm(config.dim, eps=EPS)
        self.lm_head = Dense(config.dim, config.vocab_size)

    def layers(self) -> list[Block]:
        """The blocks, typed, which ModuleList is not."""
        return cast("list[Block]", list(self.blocks))

    def embed(self, ids_R: Tensor) -> Tensor:
        """[R] -> [R, D]."""
        return functional.embedding(ids_R, self.wte)

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """Hidden states before the last norm [N, D] -> float32 [N, V]."""
        out: Tensor = self.lm_head(self.post_ln(hidden_ND))
        return out.float()

    def pictures(self, tokens_BPD: Tensor, bos_id: int) -> Tensor:
        """Rows of the prefix: [bos, image tokens, padding] of each picture, [B, S, D]."""
        batch, patches, width = tokens_BPD.shape
        slots = -(-(patches + 1) // self.slot_step) * self.slot_step
        x_BSD = tokens_BPD.new_zeros(batch, slots, width)
        x_BSD[:, 0] = self.wte[bos_id]
        x_BSD[:, 1 : patches + 1] = tokens_BPD
        return x_BSD

    def forward(self, x_RD: Tensor, positions_R: Tensor, attend: Attend) -> Tensor:
        """Embeddings of packed rows -> hidden states before the last norm, of the rows that `attend` kept."""
        turn_R1h = rope(positions_R, self.config.rotary_dim, self.config.rope_theta)
        for layer, block in enumerate(self.layers()):
            q_RHd, k_RKd, v_RKd, rest = block.open(x_RD, turn_R1h)
            seen_RHd = attend(layer, q_RHd, k_RKd, v_RKd)
            ended = len(x_RD) - len(seen_RHd)
            if ended == len(x_RD):
                return x_RD[ended:]
            x_RD = block.close(x_RD[ended:], seen_RHd, rest[ended:])
        return x_RD
