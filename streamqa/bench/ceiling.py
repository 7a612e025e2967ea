"""How fast this machine multiplies the very shapes of a pass when nothing else is done, and how fast it copies.

The best time of a shape is over all its rounds, which lie between the rounds of the rows, and over every
implementation at hand; weights and inputs are warm. A pass that takes the sum of its shapes' best times is at 100 %.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from streamqa.bench.products import Product, Shape

_LONG_S = 0.05  # a shape is repeated for so long in each round, at least twice
_MAX_REPEATS = 20
_MAX_BATCH = 256  # of an attention; more are measured as so many, and count in proportion
_COPY_BYTES = 256 << 20
_BLOCK = 1 << 24


@dataclass(frozen=True, slots=True)
class Best:
    """The fastest that a shape was ever seen."""

    seconds: float
    how: str


@dataclass(slots=True, eq=False)
class Ceiling:
    """Measures shapes, and remembers the best."""

    device: torch.device
    dtype: torch.dtype
    best: dict[Shape, Best] = field(default_factory=dict)
    quick: bool = False  # to try the bench itself: as few repeats as there can be
    copy_bytes_per_s: float = 0.0
    _block: Tensor | None = None

    @torch.inference_mode()
    def measure(self, shapes: Sequence[Shape]) -> None:
        """One round over `shapes`."""
        for shape in shapes:
            run = min(shape.batch, _MAX_BATCH)
            for how, once in self._ways(shape, run).items():
                seconds = self._seconds(once) * shape.batch / run
                if shape not in self.best or seconds < self.best[shape].seconds:
                    self.best[shape] = Best(seconds, how)

    @torch.inference_mode()
    def measure_copy(self) -> None:
        """One round of copying; what is read and what is written both count."""
        size = _COPY_BYTES >> (8 if self.quick else 0)
        source = torch.ones(size, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        rate = 2 * size / self._seconds(lambda: target.copy_(source))
        self.copy_bytes_per_s = max(self.copy_bytes_per_s, rate)

    def seconds(self, products: Sequence[Product]) -> float:
        """The sum of count x best; every shape must have been measured."""
        return sum(product.count * self.best[product.shape].seconds for product in products)

    def as_json(self, square: Shape) -> dict[str, Any]:
        """`square`: the big product that stands for the machine."""
        return {
            "dtype": str(self.dtype).removeprefix("torch."),
            "gemm_tflops": _tflops(square, self.best[square]),
            "gemm_size": square.m,
            "copy_gb_per_s": round(self.copy_bytes_per_s / 1e9, 2),
            "shapes": [
                {
                    "kind": shape.kind,
                    "batch": shape.batch,
                    "m": shape.m,
                    "n": shape.n,
                    "k": shape.k,
                    "best_ms": round(best.seconds * 1e3, 4),
                    "tflops": _tflops(shape, best),
                    "how": best.how,
                }
                for shape, best in self.best.items()
            ],
        }

    def _ways(self, shape: Shape, batch: int) -> dict[str, Callable[[], object]]:
        if shape.kind == "attention":
            a = self._random(batch, shape.m, shape.k)
            b = self._random(batch, shape.k, shape.n)
            return {"bmm": lambda: torch.bmm(a, b)}
        x, weight, bias = (
            self._random(shape.m, shape.k),
            self._random(shape.n, shape.k),
            self._random(shape.n),
        )
        ways: dict[str, Callable[[], object]] = {"linear": lambda: functional.linear(x, weight, bias)}
        packed = self._packed(x, weight, bias)
        return ways if packed is None else ways | {"prepacked": packed}

    def _packed(self, x: Tensor, weight: Tensor, bias: Tensor) -> Callable[[], object] | None:
        """oneDNN with the weight in its own order, where this build of torch has it."""
        ops: Any = torch.ops.mkldnn
        if self.device.type != "cpu" or not hasattr(ops, "_linear_pointwise"):
            return None
        try:
            ordered = ops._reorder_linear_weight(weight, len(x))
            ops._linear_pointwise(x, ordered, bias, "none", [], "")
        except RuntimeError:  # not for this dtype on this CPU
            return None
        return lambda: ops._linear_pointwise(x, ordered, bias, "none", [], "")

    def _random(self, *shape: int) -> Tensor:
        """Random numbers, not zeros, which some chips multiply faster; the same ones again and again."""
        size = torch.Size(shape).numel()
        if self._block is None or len(self._block) < min(size, _BLOCK):
            self._block = torch.randn(min(size, _BLOCK), device=self.device).to(self.dtype)
        repeats = -(-size // len(self._block))
        flat = self._block if repeats == 1 else self._block.repeat(repeats)
        return flat[:size].view(shape)

    def _seconds(self, once: Callable[[], object]) -> float:
        """The best of a few repeats, after one to warm up."""
        once()
        best, spent, repeats = float("inf"), 0.0, 0
        long_s = 0.0 if self.quick else _LONG_S
        while repeats < 2 or (spent < long_s and repeats < _MAX_REPEATS):
            self._wait()
            start_s = time.perf_counter()
            once()
            self._wait()
            took_s = time.perf_counter() - start_s
            best, spent, repeats = min(best, took_s), spent + took_s, repeats + 1
        return best

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _tflops(shape: Shape, best: Best) -> float:
    return round(shape.flop / best.seconds / 1e12, 4)
