"""Attention over a part of the keys, and the merging of such parts by their log-sum-exp.

Shape suffixes are those of `layers`.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor

Part = tuple[
    Tensor, Tensor
]  # what was seen [N, H, T, d], and the float32 log-sum-exp of the scores [N, H, T]


def attend_part(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Part:
    """Attention over some of the keys, with what is needed to merge it with the others.

    The device's own fused kernel where it gives the log-sum-exp too: on two cores it takes a third of the time of
    the same arithmetic written out, which makes float32 scores in memory.

    Args:
        q: [N, H, T, d].
        k: [N, K, S, d]; query head h looks at key head h // (H / K).
        v: [N, K, S, d].
        mask: additive float32, [N or 1, 1, T or 1, S]; every row sees at least one key. None: all see all.
    """
    n, heads, rows, width = q.shape
    groups = heads // k.shape[1]
    if groups > 1:  # the queries that share a key head become rows of it
        q = q.reshape(n, k.shape[1], groups * rows, width)
        if mask is not None and mask.shape[2] > 1:
            mask = mask.repeat(1, 1, groups, 1)
    out, lse = _attention(q, k, v, mask)
    return out.reshape(n, heads, rows, width), lse.reshape(n, heads, rows)


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Part:
    scale = q.shape[-1] ** -0.5
    if q.device.type == "cpu" and q.shape[2] > 0:
        if mask is not None:
            mask = mask.expand(-1, -1, q.shape[2], -1)
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, k, v, 0.0, False, attn_mask=mask, scale=scale
        )
        return out, lse
    kernel = gpu_kernel(q.dtype, _capability(q.device)) if q.device.type == "cuda" and mask is None else ""
    if kernel == "flash":
        out, lse, *_ = torch.ops.aten._scaled_dot_product_flash_attention(
            q, k, v, 0.0, False, False, scale=scale
        )
        return out, lse[:, :, : q.shape[2]]
    if kernel == "efficient":
        out, lse, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(
            q, k, v, None, True, 0.0, False, scale=scale
        )
        return out, lse[:, :, : q.shape[2]]  # made for a multiple of 32 rows
    scores = ((q * scale) @ k.transpose(-1, -2)).float()
    if mask is not None:
        scores = scores + mask
    lse = scores.logsumexp(dim=-1)
    return (scores - lse[..., None]).exp_().to(v.dtype) @ v, lse


def gpu_kernel(dtype: torch.dtype, capability: tuple[int, int]) -> Literal["flash", "efficient"]:
    """Which of torch's CUDA kernels attends without a mask: flash attention wants 16-bit floats and Ampere (8.0)."""
    half = dtype in (torch.float16, torch.bfloat16)
    return "flash" if half and capability >= (8, 0) else "efficient"


@cache
def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)


def merge_rows(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
    """Attention over the union of two sets of keys, from the two partial ones: rows [R, H, d], their sums [R, H]."""
    share = torch.sigmoid(b[1] - a[1])[..., None]
    return torch.lerp(a[0].float(), b[0].float(), share).to(a[0].dtype)
