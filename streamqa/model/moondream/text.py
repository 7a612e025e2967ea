"""The decoder: parallel attention and MLP, partial rotary positions, a bidirectional image prefix.

What the rows of a forward may look at is the caller's business (`packing.Session`); this module owns the weights,
and the one pass that looks at everything: the image prefix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamqa.model.moondream.config import TextConfig
from streamqa.model.moondream.layers import EPS, MLP, Attention, rope, rotate


class Attend(Protocol):
    """Attention of packed rows in one layer."""

    def __call__(self, layer: int, q_RHd: Tensor, k_RKd: Tensor, v_RKd: Tensor) -> Tensor:
        """Rotated queries, keys and values of the rows -> what each row saw, [R, H, d]."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """Keys and values of [bos, image tokens] of B pictures: computed once, shared read-only by every prompt."""

    k_LBKTd: Tensor
    v_LBKTd: Tensor

    @property
    def length(self) -> int:
        """Positions taken."""
        return self.k_LBKTd.shape[3]

    def __len__(self) -> int:
        return self.k_LBKTd.shape[1]

    def select(self, images: list[int]) -> Prefix:
        """Some of the pictures: a view where they are neighbours, otherwise a copy."""
        if images == list(range(images[0], images[-1] + 1)):
            part = slice(images[0], images[-1] + 1)
            return Prefix(self.k_LBKTd[:, part], self.v_LBKTd[:, part])
        index = torch.tensor(images, device=self.k_LBKTd.device)
        return Prefix(self.k_LBKTd.index_select(1, index), self.v_LBKTd.index_select(1, index))


class TextBlock(nn.Module):
    """One layer: x + attention(ln(x)) + mlp(ln(x)), with a single norm."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_dim = config.n_heads, config.n_kv_heads, config.head_dim
        self.ln = nn.LayerNorm(config.dim, eps=EPS)
        self.attn = Attention(config.dim, (config.n_heads + 2 * config.n_kv_heads) * config.head_dim)
        self.mlp = MLP(config.dim, config.ff_dim, config.dim)

    def qkv(self, normed_RD: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries [R, H, d] and keys [R, K, d], values [R, K, d]."""
        heads = self.attn.qkv(normed_RD).view(-1, self.n_heads + 2 * self.n_kv_heads, self.head_dim)
        rotated = self.n_heads + self.n_kv_heads
        qk = rotate(heads[:, :rotated], cos, sin)
        return qk[:, : self.n_heads], qk[:, self.n_heads :], heads[:, rotated:]

    def join(self, x_RD: Tensor, normed_RD: Tensor, seen_RHd: Tensor) -> Tensor:
        """The layer's output, [R, D]."""
        out: Tensor = x_RD + self.attn.proj(seen_RHd.flatten(1)) + self.mlp(normed_RD)
        return out


class TextModel(nn.Module):
    """Embedding, layers, head."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Parameter(torch.zeros(config.vocab_size, config.dim))
        self.blocks = nn.ModuleList(TextBlock(config) for _ in range(config.n_layers))
        self.post_ln = nn.LayerNorm(config.dim, eps=EPS)
        self.lm_head = nn.Linear(config.dim, config.vocab_size)

    def _layers(self) -> list[TextBlock]:
        return [
            block for block in self.blocks if isinstance(block, TextBlock)
        ]  # typed, which ModuleList is not

    def embed(self, ids_R: Tensor) -> Tensor:
        """[R] -> [R, D]."""
        return functional.embedding(ids_R, self.wte)

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """Hidden states before the last norm [N, D] -> float32 [N, V]."""
        out: Tensor = self.lm_head(self.post_ln(hidden_ND))
        return out.float()

    def forward(self, x_RD: Tensor, positions_R: Tensor, attend: Attend) -> Tensor:
        """Embeddings of packed rows -> hidden states before the last norm, [R, D]."""
        cos, sin = rope(positions_R, self.config.rotary_dim, self.config.rope_theta)
        for layer, block in enumerate(self._layers()):
            normed = block.ln(x_RD)
            x_RD = block.join(x_RD, normed, attend(layer, *block.qkv(normed, cos, sin)))
        return x_RD

    def prefix(self, tokens_BPD: Tensor, bos_id: int) -> Prefix:
        """Keys and values of [bos, image tokens] of B pictures.

        Nothing after the last layer's keys and values is needed, so nothing after them is computed.
        """
        return self.prefix_pass(tokens_BPD, bos_id, self.config.n_layers - 1)[0]

    def prefix_pass(self, tokens_BPD: Tensor, bos_id: int, n_whole: int) -> tuple[Prefix, Tensor]:
        """The prefix, and the hidden states [B, 1 + P, D] after the first `n_whole` layers."""
        batch, patches, width = tokens_BPD.shape
        length = patches + 1
        bos_B1D = self.wte[bos_id].expand(batch, 1, width)
        x_RD = torch.cat((bos_B1D, tokens_BPD), dim=1).flatten(0, 1)
        positions_T = torch.arange(length, device=x_RD.device)
        cos, sin = rope(positions_T.repeat(batch), self.config.rotary_dim, self.config.rope_theta)
        shape = (self.config.n_layers, batch, self.config.n_kv_heads, length, self.config.head_dim)
        keys, values = x_RD.new_empty(shape), x_RD.new_empty(shape)
        for layer, block in enumerate(self._layers()):
            normed = block.ln(x_RD)
            q, k, v = (
                t.view(batch, length, *t.shape[1:]).transpose(1, 2) for t in block.qkv(normed, cos, sin)
            )
            keys[layer], values[layer] = k, v
            if layer < n_whole:
                seen = self._all_see_all(q, keys[layer], values[layer])
                x_RD = block.join(x_RD, normed, seen.transpose(1, 2).flatten(0, 1))
        return Prefix(keys, values), x_RD.view(batch, length, width)

    def _all_see_all(self, q_BHTd: Tensor, k_BKTd: Tensor, v_BKTd: Tensor) -> Tensor:
        grouped = self.config.n_heads != self.config.n_kv_heads
        return functional.scaled_dot_product_attention(q_BHTd, k_BKTd, v_BKTd, enable_gqa=grouped)
