"""The pieces shared by vision tower, decoder and region heads; attention over a prefix and a suffix.

Shape suffixes: B images, N sequences, R packed rows (tokens of all sequences, one after the other), T rows of
the longest sequence, S key slots, H query heads, K key/value heads, G = H / K, D model width, d head width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-5  # of every LayerNorm, in the vision tower too


class MLP(nn.Module):
    """Two linear layers with a tanh-approximated GELU between them."""

    def __init__(self, dim: int, inner: int, out: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, inner)
        self.fc2 = nn.Linear(inner, out)

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] -> [..., out]."""
        out: Tensor = self.fc2(functional.gelu(self.fc1(x), approximate="tanh"))
        return out


class Attention(nn.Module):
    """The projections around an attention; the attention itself depends on what is looked at."""

    def __init__(self, dim: int, qkv_dim: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(dim, qkv_dim)
        self.proj = nn.Linear(dim, dim)


def rope(positions_R: Tensor, dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotation at each position, float32 [R, 1, dim / 2].

    Computed and not stored: a table in the module would be cast to bfloat16 with it, or left empty when the
    module is built on the meta device.
    """
    exponent = torch.arange(0, dim, 2, dtype=torch.float32, device=positions_R.device) / dim
    angle = positions_R[:, None].float() * (theta**-exponent)
    return angle.cos()[:, None], angle.sin()[:, None]


def rotate(x_RHd: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the first 2 * cos.shape[-1] dimensions, dimension i with i + half; in float32, then cast back."""
    half = cos.shape[-1]
    x = x_RHd.float()
    real, imaginary, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    turned = torch.cat((real * cos - imaginary * sin, real * sin + imaginary * cos, rest), dim=-1)
    return turned.to(x_RHd.dtype)


def partial_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Attention over some of the keys, with what is needed to merge it with the others.

    Args:
        q: [N, H, T, d], scaled already.
        k: [N, K, S, d]; query head h looks at key head h // (H / K).
        v: [N, K, S, d].
        mask: bool [N, T, S], true where the key may be seen; at least one per row. None: all.

    Returns:
        The weighted values [N, H, T, d], and the float32 log of the sum of exponentials [N, H, T, 1].
    """
    n, heads, rows, width = q.shape
    groups = heads // k.shape[1]
    scores = (q.reshape(n, k.shape[1], groups * rows, width) @ k.transpose(-1, -2)).float()
    if mask is not None:
        scores.view(n, -1, rows, k.shape[2]).masked_fill_(~mask[:, None], float("-inf"))
    lse = scores.logsumexp(dim=-1, keepdim=True)
    out = (scores - lse).exp_().to(v.dtype) @ v
    return out.view(n, heads, rows, width), lse.view(n, heads, rows, 1)


def merge_attention(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
    """Attention over the union of two sets of keys, from the two partial ones (same layout)."""
    share = torch.sigmoid(b[1] - a[1])
    return torch.lerp(a[0].float(), b[0].float(), share).to(a[0].dtype)
