"""Laying the weights out for the device that computes with them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from streamqa.model.moondream.device import is_large, keep_memory
from streamqa.model.moondream.fused import FusedBlock
from streamqa.model.moondream.layers import Dense, paired
from streamqa.model.moondream.network import Network
from streamqa.model.moondream.quantise import quantise
from streamqa.model.moondream.text import TextBlock
from streamqa.types import Precision

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# On two cores with AMX the attention over 736 keys takes 3.2 ms a layer of the tower, over 729 keys 5.2 ms.
CPU_SLOT_STEP = 16


class OneDnnKernel:
    """A linear layer over weights in oneDNN's own blocked layout."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """`weight` [out, in], in bfloat16 or float32, on the CPU."""
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight)
        self._bias = bias

    def __call__(self, x: Tensor, gelu: bool) -> Tensor:
        """[..., in] -> [..., out]."""
        activation, algorithm = ("gelu", "tanh") if gelu else ("none", "")
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._weight, self._bias, activation, [], algorithm
        )
        return out


def prepare(network: Network, precision: Precision = "exact") -> None:
    """Lay the weights out anew; the answers are those of the plain layout up to rounding, if `precision` is exact.

    Afterwards the network computes, but its state dict is not that of a checkpoint any more. On a CPU a model of the
    released size also takes the process for itself: a thread for each core, and memory that is kept.

    Raises:
        ModelError: the device cannot compute with that precision.
    """
    if network.device.type == "cpu" and is_large(network):
        torch.set_num_threads(usable_cores())
        keep_memory()
    # In float32 it is the fused GELU that pays: 112 -> 74 ms for the decoder's first MLP layer. Small models stay.
    pays = network.dtype == torch.bfloat16 or is_large(network)
    if network.device.type == "cpu" and pays and has_onednn():
        lay_out(network, precision)
        return
    if network.device.type == "cuda":
        fuse(network)
    if precision != "exact":
        quantise(network, precision)


def fuse(network: Network) -> None:
    """The layout of a GPU: two matrix multiplications a decoder layer instead of four, rotation in pairs."""
    _pair(network)
    blocks = network.text.blocks
    for layer, block in enumerate(network.text.layers()):
        assert isinstance(block, TextBlock)
        blocks[layer] = FusedBlock(block)  # one at a time, so that no more than one layer is held twice


def lay_out(network: Network, precision: Precision = "exact") -> None:
    """The layout of the CPU, in bfloat16 or float32: `prepare` decides where it pays."""
    network.text.slot_step = network.vision.slot_step = CPU_SLOT_STEP
    network.vision.crops_per_layer = 1
    _pair(network)
    if precision != "exact":
        quantise(network, precision)
    for layer in dense_layers(network):
        if layer.kernel is None:
            layer.use(OneDnnKernel(layer.weight.data, layer.bias))


def has_onednn() -> bool:
    """Whether torch was built with the two operations that `OneDnnKernel` needs."""
    ops = torch.ops.mkldnn
    return (
        torch._C._has_mkldnn and hasattr(ops, "_reorder_linear_weight") and hasattr(ops, "_linear_pointwise")
    )


def dense_layers(network: nn.Module) -> list[Dense]:
    """Every linear layer."""
    return [module for module in network.modules() if isinstance(module, Dense)]


def release(network: Network) -> None:
    """Free the memory of all weights; the network cannot compute any more."""
    for layer in dense_layers(network):
        layer.kernel = None
    network.to_empty(device="meta")


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and in a container its share of time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CPU_QUOTA.read_text(encoding="ascii").split()
        return max(1, min(cores, -(-int(quota) // int(period))))
    except (OSError, ValueError):  # no such file, or "max"
        return cores


def _pair(network: Network) -> None:
    """Reorder queries and keys so that what is rotated together lies together."""
    config = network.config.text
    rotated, half = config.n_heads + config.n_kv_heads, config.rotary_dim // 2
    for block in network.text.layers():
        assert isinstance(block, TextBlock)
        qkv = block.attn.qkv
        qkv.weight = nn.Parameter(
            paired(qkv.weight.data, rotated, config.head_dim, half), requires_grad=False
        )
        qkv.bias = nn.Parameter(paired(qkv.bias.data, rotated, config.head_dim, half), requires_grad=False)
        block.heads = replace(block.heads, in_pairs=True)
