"""The pieces shared by vision tower, decoder and region heads.

Shape suffixes: B images, N sequences, R packed rows (tokens of all sequences, one after the other), T rows of
the longest sequence, S key slots, H query heads, K key/value heads, D model width, d head width.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-5  # of every LayerNorm, in the vision tower too


class Kernel(Protocol):
    """How a linear layer is computed, where its weights were laid out anew for the device (`prepare`)."""

    def __call__(self, x: Tensor, gelu: bool) -> Tensor:
        """[..., in] -> [..., out], followed by a tanh-approximated GELU or not."""
        ...


class Dense(nn.Linear):
    """A linear layer whose weights may lie in a layout of the device's own; then `weight` is empty."""

    kernel: Kernel | None = None

    def use(self, kernel: Kernel) -> None:
        """Compute with `kernel` from now on; it holds the weights in its own layout, so `weight` is emptied."""
        self.kernel = kernel
        self.weight = nn.Parameter(self.weight.new_empty(0), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        return self.kernel(x, False) if self.kernel else functional.linear(x, self.weight, self.bias)

    def gelu(self, x: Tensor) -> Tensor:
        """As `forward`, followed by a tanh-approximated GELU."""
        if self.kernel:
            return self.kernel(x, True)
        return functional.gelu(functional.linear(x, self.weight, self.bias), approximate="tanh")


class MLP(nn.Module):
    """Two linear layers with a tanh-approximated GELU between them."""

    def __init__(self, dim: int, inner: int, out: int) -> None:
        super().__init__()
        self.fc1 = Dense(dim, inner)
        self.fc2 = Dense(inner, out)

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] -> [..., out]."""
        out: Tensor = self.fc2(self.fc1.gelu(x))
        return out


class Attention(nn.Module):
    """The projections around an attention; the attention itself depends on what is looked at."""

    def __init__(self, dim: int, qkv_dim: int) -> None:
        super().__init__()
        self.qkv = Dense(dim, qkv_dim)
        self.proj = Dense(dim, dim)


def rope(positions_R: Tensor, dim: int, theta: float) -> Tensor:
    """The rotation at each position as a unit complex number, complex64 [R, 1, dim / 2].

    Computed and not stored: a table in the module would be cast to bfloat16 with it, or left empty when the
    module is built on the meta device.
    """
    exponent = torch.arange(0, dim, 2, dtype=torch.float32, device=positions_R.device) / dim
    angle = positions_R[:, None].float() * (theta**-exponent)
    return torch.complex(angle.cos(), angle.sin())[:, None]


def rotate_(x_RHd: Tensor, turn_R1h: Tensor, in_pairs: bool) -> None:
    """Rotate the first 2 h dimensions in place, computed in float32.

    Args:
        x_RHd: queries or keys.
        turn_R1h: from `rope`.
        in_pairs: dimension 2 i turns with 2 i + 1, which is fast; otherwise i with i + h, as the weights have it.
    """
    half = turn_R1h.shape[-1]
    head = x_RHd[..., : 2 * half]
    x = head.float()
    if in_pairs:
        # Of float32 this is the memory itself, of bfloat16 a copy.
        x = x if x.is_contiguous() else x.contiguous()
        torch.view_as_complex(x.view(*x.shape[:-1], half, 2)).mul_(turn_R1h)
        head.copy_(x)
        return
    cos, sin = turn_R1h.real, turn_R1h.imag
    real, imaginary = x[..., :half], x[..., half:]
    head.copy_(torch.cat((real * cos - imaginary * sin, real * sin + imaginary * cos), dim=-1))


def paired(weight: Tensor, n_heads: int, head_dim: int, half: int) -> Tensor:
    """The first `n_heads` heads of a QKV weight or bias, reordered so that `rotate_` finds its pairs side by side.

    Scores do not change, since queries and keys are reordered alike.
    """
    order = torch.arange(head_dim, device=weight.device)
    order[: 2 * half] = torch.arange(2 * half, device=weight.device).view(2, half).t().flatten()
    rows = torch.arange(weight.shape[0], device=weight.device)
    starts = torch.arange(n_heads, device=weight.device)[:, None] * head_dim
    rows[: n_heads * head_dim] = (starts + order).flatten()
    return weight[rows]
