"""The approximate class of linear layers: eight-bit weights and activations. Off unless `precision` asks for it.

Weights have a scale for each output, activations one for the whole of a layer's input (int8) or for each row (fp8,
where the device can), measured anew in every forward: nothing is calibrated. What that does to answers of real
weights was not measured, since there were none at hand; `streamqa bench engine --approximate` shows random ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamqa.errors import ModelError
from streamqa.model.moondream.layers import Dense
from streamqa.model.moondream.network import Network
from streamqa.types import Precision

_INT8_MAX = 127.0
_BLOCK = 1 << 19  # numbers: 2 MiB of float32
_SMALLEST_SCALE = 1e-12  # of a layer whose input is all zeros
_FP8 = torch.float8_e4m3fn


class Int8Kernel:
    """W8A8 by oneDNN, which accumulates in int32. `torch._int_mm` was five times slower."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """`weight` [out, in], `bias` [out], on the CPU."""
        scale = weight.float().abs().amax(dim=1).clamp_(min=_SMALLEST_SCALE) / _INT8_MAX
        whole = (weight.float() / scale[:, None]).round_().clamp_(-_INT8_MAX, _INT8_MAX).to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(whole, None)
        self._scale = scale
        self._zero = torch.zeros(len(scale), dtype=torch.int32)
        self._bias = None if bias is None else bias.float()

    def __call__(self, x: Tensor, gelu: bool) -> Tensor:
        """[..., in] bfloat16 -> [..., out] bfloat16."""
        low, high = x.aminmax()
        scale = max(float(high), -float(low), _SMALLEST_SCALE) / _INT8_MAX
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            _to_int8(x, scale),
            scale,
            0,
            self._weight,
            self._scale,
            self._zero,
            self._bias,
            1.0,
            0,
            x.dtype,
            "gelu" if gelu else "none",
            [],
            "tanh" if gelu else "",
        )
        return out


def _to_int8(x: Tensor, scale: float) -> Tensor:
    """The whole numbers whose multiples by `scale` are nearest to `x`.

    In blocks of rows whose float32 stays in the cache: 1.3 ms where the same in one piece took 2.2 (796 x 8192).
    """
    rows = x.reshape(-1, x.shape[-1])
    whole = torch.empty_like(rows, dtype=torch.int8)
    at_once = max(1, _BLOCK // rows.shape[-1])
    block = torch.empty(min(at_once, len(rows)), rows.shape[-1])
    for start in range(0, len(rows), at_once):
        part = rows[start : start + at_once]
        numbers = block[: len(part)]
        numbers.copy_(part).mul_(1 / scale).round_()
        whole[start : start + at_once].copy_(numbers)
    return whole.view(x.shape)


class Fp8Kernel:
    """E4M3 weights and activations on GPUs of compute capability 8.9 and later; a scale for each row from 9.0 on."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """`weight` [out, in], both a multiple of 16, on a CUDA device."""
        self._by_row = torch.cuda.get_device_capability(weight.device) >= (9, 0)
        whole, scale = _to_fp8(weight, self._by_row)
        self._weight, self._scale = whole.t(), scale.t() if self._by_row else scale
        self._bias = bias

    def __call__(self, x: Tensor, gelu: bool) -> Tensor:
        """[..., in] -> [..., out], in the dtype of `x`, which is bfloat16."""
        rows = x.reshape(-1, x.shape[-1])
        whole, scale = _to_fp8(rows, self._by_row)
        out: Tensor = torch._scaled_mm(
            whole, self._weight, scale_a=scale, scale_b=self._scale, bias=self._bias, out_dtype=x.dtype
        )
        out = functional.gelu(out, approximate="tanh") if gelu else out
        return out.view(*x.shape[:-1], -1)


def _to_fp8(x: Tensor, by_row: bool) -> tuple[Tensor, Tensor]:
    """Values and the scale that they are to be multiplied with: float32 [rows, 1], or a scalar."""
    largest = x.abs().amax(dim=1, keepdim=True) if by_row else x.abs().amax()
    scale = largest.float().clamp(min=_SMALLEST_SCALE) / torch.finfo(_FP8).max
    return (x / scale.to(x.dtype)).to(_FP8), scale


def quantise(network: Network, precision: Precision) -> None:
    """Give the large layers of projector and decoder eight-bit weights, and with fp8 those of the tower, too.

    The head, the region heads and the first layer keep their own: they are small, and closest to what is said. The
    tower's layers gained nothing from int8 (a crop in 0.44 s either way, nine crops a tenth slower), so they stay.

    Raises:
        ModelError: the device has no such arithmetic.
    """
    make = _kernel(network.device, network.dtype, precision)
    for layer in _large_layers(network, precision):
        layer.use(make(layer.weight.data, layer.bias))


def has_int8() -> bool:
    """Whether torch was built with the operations of `Int8Kernel`."""
    return all(hasattr(torch.ops.onednn, name) for name in ("qlinear_prepack", "qlinear_pointwise"))


def _kernel(device: torch.device, dtype: torch.dtype, precision: Precision) -> type[Int8Kernel | Fp8Kernel]:
    if precision == "int8" and device.type == "cpu" and dtype == torch.bfloat16 and has_int8():
        return Int8Kernel
    if precision == "fp8" and device.type == "cuda" and dtype == torch.bfloat16:
        major, minor = torch.cuda.get_device_capability(device)
        if (major, minor) >= (8, 9):
            return Fp8Kernel
    raise ModelError(
        f"moondream2 cannot compute with precision {precision} on {device} in {dtype}: int8 needs a CPU that computes"
        " with bfloat16, fp8 a GPU of compute capability 8.9 or later; leave precision out"
    )


def _large_layers(network: Network, precision: Precision) -> Iterator[Dense]:
    parts: list[nn.Module] = [network.vision.proj_mlp, network.text.blocks]
    if precision == "fp8":
        parts.append(network.vision.blocks)
    for part in parts:
        for module in part.modules():
            if isinstance(module, Dense):
                yield module
