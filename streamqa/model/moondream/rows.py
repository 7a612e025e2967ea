"""Where the rows of one forward belong: their sequence, slot and position, and whom they see.

All of it is decided with numpy; the device gets the result, in as few copies as there are kinds of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Tree(Protocol):
    """Rows that branch off the end of a prompt: alternative continuations, none of which sees another."""

    @property
    def depths(self) -> Ints:
        """[n], 1 = directly after the prompt."""
        ...

    @property
    def sees(self) -> Bools:
        """[n, n], row i sees row j: itself and what it continues."""
        ...


class Spread:
    """Packed rows <-> a dense batch of groups, each a run of neighbouring rows.

    Args:
        counts: rows of each group.
        n_groups, longest, n_rows: sizes to pad to, if larger than needed: what is over is dummies.
    """

    def __init__(self, counts: Ints, n_groups: int = 0, longest: int = 0, n_rows: int = 0) -> None:
        self.n_groups, self.longest = max(n_groups, len(counts)), max(longest, int(counts.max()))
        offsets = np.arange(self.longest)
        starts = np.cumsum(counts) - counts
        used = offsets < counts[:, None]
        # A place without a row repeats its own group's last one: what is not finite in one group stays in it. Groups
        # without rows, which nobody reads, repeat some row that there is.
        total = int(counts.sum())
        rows = np.minimum(
            starts[:, None] + np.minimum(offsets, np.maximum(counts, 1)[:, None] - 1), total - 1
        )
        self.rows: Ints = np.zeros(self.n_groups * self.longest, dtype=np.int64)  # the row in each place
        self.rows[: rows.size] = rows.reshape(-1)
        self.places: Ints = np.zeros(
            max(n_rows, total), dtype=np.int64
        )  # the place of each row; of a dummy the first
        self.places[:total] = np.flatnonzero(used)
        self.dense = total == len(self.places) == len(self.rows)  # nothing to move


class Grouping:
    """A `Spread` on the device: the row in each place [groups * longest], the place of each row [R]; None: dense."""

    def __init__(self, n_groups: int, longest: int, rows: Tensor | None, places: Tensor | None) -> None:
        self.n_groups, self.longest = n_groups, longest
        self.rows, self.places = rows, places

    @classmethod
    def of(cls, counts: Ints, device: torch.device) -> Grouping:
        """Groups of so many rows, without padding."""
        spread = Spread(counts)
        if spread.dense:
            return cls(spread.n_groups, spread.longest, None, None)
        rows, places = (torch.from_numpy(part).to(device) for part in (spread.rows, spread.places))
        return cls(spread.n_groups, spread.longest, rows, places)

    def spread(self, x_RHd: Tensor) -> Tensor:
        """[R, H, d] -> [groups, H, longest, d]."""
        dense = x_RHd if self.rows is None else x_RHd.index_select(0, self.rows)
        return dense.view(self.n_groups, self.longest, *x_RHd.shape[1:]).transpose(1, 2)

    def gather(self, x_GHMd: Tensor) -> Tensor:
        """[groups, H, longest, ...] -> [R, H, ...]."""
        dense = x_GHMd.transpose(1, 2).flatten(0, 1)
        return dense if self.places is None else dense.index_select(0, self.places)


class Plan:
    """Where rows belong, without a tensor.

    Args:
        lengths: [N] what each sequence was fed before.
        counts: [N] rows of each sequence now, at least 1 each.
        trees: what the last rows of each sequence branch into, or None; empty: no trees.
        start: position of the first token of every sequence.
    """

    def __init__(self, lengths: Ints, counts: Ints, trees: Sequence[Tree | None], start: int) -> None:
        self.lengths, self.counts = lengths, counts
        self.n_slots = int((lengths + counts).max())
        self.sequence_R = np.repeat(np.arange(len(counts)), counts)
        offset_R = np.arange(len(self.sequence_R)) - np.repeat(np.cumsum(counts) - counts, counts)
        self.slot_R = lengths[self.sequence_R] + offset_R
        self.position_R = self.slot_R + start
        self.sight_NTS = self._sight()  # which slots each row sees; None when all see all
        self._plant(trees)

    def _sight(self) -> Bools | None:
        longest = int(self.counts.max())
        if longest == 1 and (self.lengths == self.n_slots - 1).all():
            return None
        last_NT = self.lengths[:, None] + np.arange(longest)
        return np.arange(self.n_slots) <= last_NT[:, :, None]

    def _plant(self, trees: Sequence[Tree | None]) -> None:
        """Give the rows of trees their positions, and the sight of their own branch only."""
        ends = np.cumsum(self.counts)
        for n, tree in enumerate(trees):
            size = 0 if tree is None else len(tree.depths)
            if tree is None or self.sight_NTS is None or size == 0:
                continue
            first = int(self.counts[n]) - size  # a prompt always precedes its tree, so there is a row before
            slot = int(self.lengths[n]) + first
            self.sight_NTS[n, first : first + size, slot : slot + size] = tree.sees
            self.position_R[ends[n] - size : ends[n]] = self.position_R[ends[n] - size - 1] + tree.depths


class Rows:
    """A `Plan` on the device."""

    def __init__(self, plan: Plan, device: torch.device) -> None:
        self.counts, self.n_slots = plan.counts, plan.n_slots
        # One transfer for the three index rows.
        index = torch.from_numpy(np.stack((plan.sequence_R, plan.slot_R, plan.position_R))).to(device)
        self.sequence_R, self.slot_R, self.position_R = index
        self.by_sequence = Grouping.of(plan.counts, device)
        self.mask: Tensor | None = None  # additive float32 [N, 1, T, S]
        if plan.sight_NTS is not None:
            self.mask = hiding(torch.from_numpy(~plan.sight_NTS).to(device))[:, None]


def hiding(hidden: Tensor) -> Tensor:
    """An additive float32 mask of what is hidden."""
    return torch.zeros(hidden.shape, device=hidden.device).masked_fill_(hidden, float("-inf"))
