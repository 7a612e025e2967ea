"""The architecture as it is trained: parameter names are the released ones, so that exporting is a prefix.

Shapes are written in suffixes: B pictures, P image tokens, D width, H heads, N rows of packed questions of T tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamqa.model.tiny.sizes import Sizes


class Mlp(nn.Module):
    """Two linear layers with a tanh GELU between them."""

    def __init__(self, dim: int, inner: int, out: int) -> None:
        """Widths of input, middle and output."""
        super().__init__()
        self.fc1 = nn.Linear(dim, inner)
        self.fc2 = nn.Linear(inner, out)

    def forward(self, x: Tensor) -> Tensor:
        """(…, dim) -> (…, out)."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
        return out


class Attention(nn.Module):
    """The two projections of multi-head attention; who sees whom is decided by the caller."""

    def __init__(self, dim: int, heads: int) -> None:
        """`dim` must be divisible by `heads`."""
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def split(self, x_BTD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, H, T, D / H)."""
        b, t, d = x_BTD.shape
        q, k, v = self.qkv(x_BTD).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        return q, k, v

    def join(self, x_BHTd: Tensor) -> Tensor:
        """Put the heads side by side again and project: (B, T, D)."""
        out: Tensor = self.proj(x_BHTd.transpose(1, 2).flatten(2))
        return out


class VisionBlock(nn.Module):
    """Attention, then MLP, each after its own LayerNorm."""

    def __init__(self, sizes: Sizes) -> None:
        """One of the vision tower's layers."""
        super().__init__()
        self.ln1 = nn.LayerNorm(sizes.vision_dim)
        self.attn = Attention(sizes.vision_dim, sizes.vision_heads)
        self.ln2 = nn.LayerNorm(sizes.vision_dim)
        self.mlp = Mlp(sizes.vision_dim, sizes.vision_ff, sizes.vision_dim)

    def forward(self, x_BPD: Tensor) -> Tensor:
        """(B, P, D) -> (B, P, D)."""
        q, k, v = self.attn.split(self.ln1(x_BPD))
        x_BPD = x_BPD + self.attn.join(_attend(q, k, v))
        out: Tensor = x_BPD + self.mlp(self.ln2(x_BPD))
        return out


class Vision(nn.Module):
    """The vision tower and its projection to text width."""

    def __init__(self, sizes: Sizes) -> None:
        """All sizes from `sizes`."""
        super().__init__()
        self.patch = sizes.patch
        self.patch_emb = nn.Linear(3 * sizes.patch**2, sizes.vision_dim)
        self.pos_emb = nn.Parameter(torch.randn(1, sizes.image_tokens, sizes.vision_dim) * 0.02)
        self.blocks = nn.ModuleList(VisionBlock(sizes) for _ in range(sizes.vision_layers))
        self.post_ln = nn.LayerNorm(sizes.vision_dim)
        self.proj_mlp = Mlp(2 * sizes.vision_dim, sizes.proj_inner, sizes.text_dim)

    def features(self, images: Tensor) -> Tensor:
        """Normalised pictures (B, 3, S, S) -> features (B, P, D)."""
        b, c, s, _ = images.shape
        g, p = s // self.patch, self.patch
        patches = images.view(b, c, g, p, g, p).permute(0, 2, 4, 1, 3, 5).reshape(b, g * g, c * p * p)
        x = self.patch_emb(patches) + self.pos_emb
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.post_ln(x)
        return out

    def project(self, f_BPD: Tensor) -> Tensor:
        """Features -> image tokens. One crop is both the global and the local picture: its features twice."""
        out: Tensor = self.proj_mlp(torch.cat((f_BPD, f_BPD), dim=-1))
        return out


class TextBlock(nn.Module):
    """Attention and MLP side by side after one LayerNorm."""

    def __init__(self, sizes: Sizes) -> None:
        """One of the decoder's layers."""
        super().__init__()
        self.ln = nn.LayerNorm(sizes.text_dim)
        self.attn = Attention(sizes.text_dim, sizes.text_heads)
        self.mlp = Mlp(sizes.text_dim, sizes.text_ff, sizes.text_dim)

    def prefix(self, x_BPD: Tensor, rotary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The picture's positions, which all see each other. Also gives their keys and values."""
        h = self.ln(x_BPD)
        q, k, v = self.attn.split(h)
        q, k = rotate(q, rotary), rotate(k, rotary)
        return x_BPD + self.attn.join(_attend(q, k, v)) + self.mlp(h), k, v

    def rows(self, x_BND: Tensor, kv: tuple[Tensor, Tensor], rotary: Tensor, mask: Tensor) -> Tensor:
        """Packed questions: each row of T tokens sees its picture's prefix and, where `mask` is 0, itself.

        `x_BND` (B, N * T, D), `mask` (B, 1, N, T, T) additive.
        """
        h = self.ln(x_BND)
        q, k, v = self.attn.split(h)
        q, k = rotate(q, rotary), rotate(k, rotary)
        b, heads, _, d = q.shape
        n, t = mask.shape[2], mask.shape[3]
        q = q * d**-0.5
        seen = (q @ kv[0].transpose(-1, -2)).view(b, heads, n, t, -1)
        own = q.reshape(b, heads, n, t, d) @ k.reshape(b, heads, n, t, d).transpose(-1, -2) + mask
        p = torch.softmax(torch.cat((seen, own), dim=-1), dim=-1)
        size = kv[0].shape[2]
        out = p[..., :size].reshape(b, heads, n * t, size) @ kv[1]
        out = out + (p[..., size:] @ v.reshape(b, heads, n, t, d)).reshape(b, heads, n * t, d)
        after: Tensor = x_BND + self.attn.join(out) + self.mlp(h)
        return after


class Text(nn.Module):
    """The decoder."""

    def __init__(self, sizes: Sizes) -> None:
        """All sizes from `sizes`."""
        super().__init__()
        self.wte = nn.Parameter(torch.randn(sizes.vocab, sizes.text_dim) * 0.05)
        self.blocks = nn.ModuleList(TextBlock(sizes) for _ in range(sizes.text_layers))
        self.post_ln = nn.LayerNorm(sizes.text_dim)
        self.lm_head = nn.Linear(sizes.text_dim, sizes.vocab)
        self.rotary_dim = sizes.text_dim // sizes.text_heads // 2

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, D) -> (…, vocabulary)."""
        out: Tensor = self.lm_head(self.post_ln(hidden))
        return out


class Region(nn.Module):
    """Coordinates and sizes: their encoders and decoders."""

    def __init__(self, sizes: Sizes) -> None:
        """All sizes from `sizes`."""
        super().__init__()
        dim, inner = sizes.text_dim, sizes.region_inner
        self.coord_features = nn.Parameter(torch.randn(1, sizes.coord_feat // 2) * 2.0)
        self.size_features = nn.Parameter(torch.randn(2, sizes.size_feat // 2) * 2.0)
        self.coord_encoder = nn.Linear(sizes.coord_feat, dim)
        self.coord_decoder = Mlp(dim, inner, sizes.coord_out)
        self.size_encoder = nn.Linear(sizes.size_feat, dim)
        self.size_decoder = Mlp(dim, inner, sizes.size_out)


class Network(nn.Module):
    """The whole model."""

    def __init__(self, sizes: Sizes) -> None:
        """All sizes from `sizes`."""
        super().__init__()
        self.sizes = sizes
        self.vision = Vision(sizes)
        self.text = Text(sizes)
        self.region = Region(sizes)

    def hidden(self, features: Tensor, x_BND: Tensor, positions_BN: Tensor, mask: Tensor) -> Tensor:
        """Last hidden states (B, N * T, D) of packed questions about pictures with these vision features.

        `x_BND` (B, N * T, D) are the tokens' embeddings, `positions_BN` their places, `mask` (B, 1, N, T, T) is 0
        where a token may look and very negative elsewhere.
        """
        tokens = self.vision.project(features)
        bos = self.text.wte[:1].expand(len(tokens), 1, -1)
        picture = torch.cat((bos, tokens), dim=1)
        table = rotary_table(self.sizes.context, self.text.rotary_dim).to(picture.dtype)
        at = table[: picture.shape[1]]
        there = table[positions_BN].unsqueeze(1)
        for block in self.text.blocks:
            assert isinstance(block, TextBlock)
            picture, k, v = block.prefix(picture, at)
            x_BND = block.rows(x_BND, (k, v), there, mask)
        return x_BND


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    # Plain on purpose: SDPA trained 1.4 to 2.3 times slower here (bf16, one thread of an EPYC).
    return torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), dim=-1) @ v


def rotary_table(length: int, dim: int, theta: float = 10000.0) -> Tensor:
    """Cosines and sines side by side, fp32 (length, dim)."""
    inverse = theta ** (-torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    angle = torch.arange(length, dtype=torch.float32)[:, None] * inverse
    return torch.cat((angle.cos(), angle.sin()), dim=-1)


def rotate(x_BHTd: Tensor, table: Tensor) -> Tensor:
    """Rotate the first half of each head, in split halves. `table` (…, T, d / 2) as of `rotary_table`."""
    half = table.shape[-1] // 2
    cos, sin = table[..., :half], table[..., half:]
    a, b, rest = x_BHTd[..., :half], x_BHTd[..., half : 2 * half], x_BHTd[..., 2 * half :]
    return torch.cat((a * cos - b * sin, b * cos + a * sin, rest), dim=-1)
