"""A decoder layer in two matrix multiplications: attention and MLP read the same norm and are added up alike.

For GPUs, where a multiplication by few rows waits for its launch and for the weights; on two CPU cores it gains
nothing (measured: 1.03 times the time of four).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from streamqa.model.moondream.layers import Dense
from streamqa.model.moondream.text import Opened, TextBlock


class FusedBlock(nn.Module):
    """[QKV | fc1] in one layer, [proj | fc2] in another; a `text.Block`, equal to the `TextBlock` it is made of."""

    def __init__(self, block: TextBlock) -> None:
        """`block` gives up its norm and is not used afterwards; its other weights are copied."""
        super().__init__()
        self.heads, self.ln = block.heads, block.ln
        qkv, proj, fc1, fc2 = block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2
        self.qkv_dim, self.dim = len(qkv.weight), len(proj.weight)
        self.into = _dense(torch.cat((qkv.weight, fc1.weight)), torch.cat((qkv.bias, fc1.bias)))
        # Added in float32: the two are rounded once, as their sum is.
        bias = (proj.bias.float() + fc2.bias.float()).to(proj.bias.dtype)
        self.out_of = _dense(torch.cat((proj.weight, fc2.weight), dim=1), bias)

    def open(self, x_RD: Tensor, turn_R1h: Tensor) -> Opened:
        """The rest is the MLP before its activation, [R, ff]."""
        joined_RC: Tensor = self.into(self.ln(x_RD))
        q_RHd, k_RKd, v_RKd = self.heads.rotated(joined_RC[:, : self.qkv_dim], turn_R1h)
        return Opened(q_RHd, k_RKd, v_RKd, joined_RC[:, self.qkv_dim :])

    def close(self, x_RD: Tensor, seen_RHd: Tensor, rest: Tensor) -> Tensor:
        """The layer's output, [R, D]."""
        # Written in place beside each other: a concatenation would copy the activated MLP once more.
        joined_RC = x_RD.new_empty(len(x_RD), self.dim + rest.shape[1])
        joined_RC[:, : self.dim] = seen_RHd.flatten(1)
        torch.ops.aten.gelu.out(rest, approximate="tanh", out=joined_RC[:, self.dim :])
        # The bias goes into the multiplication, where it costs nothing; so the sum is one pass more, not two.
        out: Tensor = self.out_of(joined_RC)
        return out.add_(x_RD)


def _dense(weight: Tensor, bias: Tensor) -> Dense:
    """A layer of these weights, which are not copied again."""
    layer = Dense(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = (nn.Parameter(t, requires_grad=False) for t in (weight, bias))
    return layer
