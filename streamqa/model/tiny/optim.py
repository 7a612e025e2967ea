"""Muon for the blocks' matrices and Adam for the rest, on fp32 masters of bf16 weights, with a running average.

Measured on the vision stage of an experiment: Muon reached .389 patch loss where AdamW had .537. bf16 multiplies 4.8
times faster than fp32 on the EPYC this was trained on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def orthogonal(matrices: Tensor, steps: int = 4) -> Tensor:
    """Newton-Schulz: (K, rows, columns) -> about the nearest orthogonal matrices."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.flatten(1).norm(dim=1).view(-1, 1, 1) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    found: Tensor = (x.mT if tall else x).float()
    return found


class Optimizer:
    """One step over all parameters of some modules."""

    def __init__(self, modules: dict[str, nn.Module], average: float = 0.998) -> None:
        """`average` is the decay of the running average of the weights, the one that ships."""
        self.average = average
        named = [
            (f"{prefix}.{n}", p) for prefix, module in modules.items() for n, p in module.named_parameters()
        ]
        self.params = dict(named)
        self.masters = {n: p.detach().float().clone() for n, p in named}
        self.means = {n: m.clone() for n, m in self.masters.items()}
        self.first = {n: torch.zeros_like(m) for n, m in self.masters.items()}
        self.second = {n: torch.zeros_like(m) for n, m in self.masters.items() if not _is_matrix(n, m)}
        self.count = 0
        shapes: dict[tuple[int, ...], list[str]] = {}
        for name, master in self.masters.items():
            if _is_matrix(name, master):
                shapes.setdefault(tuple(master.shape), []).append(name)
        self.groups = list(shapes.values())

    def gradients(self) -> Tensor:
        """All gradients as one flat fp32 vector; absent ones are zero."""
        return torch.cat(
            [
                (torch.zeros_like(p) if p.grad is None else p.grad).flatten().float()
                for p in self.params.values()
            ]
        )

    @torch.no_grad()
    def step(self, flat: Tensor, muon_lr: float, adam_lr: float) -> float:
        """Apply flat gradients (as of `gradients`, averaged over ranks). Returns their norm."""
        self.count += 1
        norm = float(flat.norm())
        flat = flat * min(1.0, 1.0 / (norm + 1e-6))
        grads = dict(
            zip(self.params, torch.split(flat, [p.numel() for p in self.params.values()]), strict=True)
        )
        for names in self.groups:
            self._muon(names, grads, muon_lr)
        for name in self.second:
            self._adam(name, grads[name], adam_lr)
        # A short average at first, so that an early snapshot is not the initial weights.
        decay = min(self.average, (1 + self.count) / (10 + self.count))
        for name, param in self.params.items():
            param.copy_(self.masters[name])
            param.grad = None
            self.means[name].lerp_(self.masters[name], 1 - decay)
        return norm

    def _muon(self, names: list[str], grads: dict[str, Tensor], lr: float) -> None:
        shape = self.masters[names[0]].shape
        updates = []
        for name in names:
            grad = grads[name].view(shape)
            self.first[name].mul_(0.95).add_(grad)
            updates.append(grad + 0.95 * self.first[name])
        scale = max(1.0, shape[0] / shape[1]) ** 0.5
        for name, update in zip(names, orthogonal(torch.stack(updates)), strict=True):
            self.masters[name].mul_(1 - lr * 0.01).sub_(update, alpha=lr * scale)

    def _adam(self, name: str, grad: Tensor, lr: float) -> None:
        master = self.masters[name]
        grad = grad.view(master.shape)
        first, second = self.first[name], self.second[name]
        first.lerp_(grad, 0.1)
        second.mul_(0.98).addcmul_(grad, grad, value=0.02)
        down = (second / (1 - 0.98**self.count)).sqrt_().add_(1e-8)
        master.addcdiv_(first, down, value=-lr / (1 - 0.9**self.count))

    @torch.no_grad()
    def show(self, means: bool) -> None:
        """Put the averaged weights, or the latest ones, into the modules."""
        for name, param in self.params.items():
            param.copy_((self.means if means else self.masters)[name])

    def state(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {
            "masters": self.masters,
            "means": self.means,
            "first": self.first,
            "second": self.second,
            "count": self.count,
        }

    @torch.no_grad()
    def restore(self, state: dict[str, Any], momentum: bool = True) -> None:
        """Take up a saved state; without `momentum` only the weights."""
        for name, master in self.masters.items():
            if name in state["masters"] and state["masters"][name].shape == master.shape:
                master.copy_(state["masters"][name])
                self.means[name].copy_(state["means"][name])
            self.params[name].copy_(master)
        if momentum:
            self.first, self.second, self.count = state["first"], state["second"], state["count"]


def _is_matrix(name: str, value: Tensor) -> bool:
    """Hidden matrices go to Muon; embeddings, heads and everything thin to Adam."""
    return value.ndim == 2 and min(value.shape) >= 32 and (".blocks." in name or "proj_mlp" in name)
