"""Many sequences in one forward: packed rows for the linear layers, dense groups for attention.

A row (token) sees the prefix of its picture, which all prompts of the picture share, and the earlier rows of its
own sequence. The two attentions are computed apart and merged, so that a prefix is never copied per prompt:
`(pictures, rows of the picture)` against the prefixes, `(sequences, rows of the sequence)` against the suffixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from streamqa.model.moondream.layers import merge_attention, partial_attention
from streamqa.model.moondream.text import Prefix, TextModel

Ints = npt.NDArray[np.int64]

SLOT_STEP = 32  # suffix caches grow by so many slots, so that decoding copies them seldom


class Tree(Protocol):
    """Rows that branch off the end of a prompt: alternative continuations, none of which sees another."""

    @property
    def depths(self) -> Ints:
        """[n], 1 = directly after the prompt."""
        ...

    @property
    def sees(self) -> npt.NDArray[np.bool_]:
        """[n, n], row i sees row j: itself and what it continues."""
        ...


class Grouping:
    """Packed rows <-> a dense batch of groups, each a run of neighbouring rows."""

    def __init__(self, counts: Ints, device: torch.device) -> None:
        self.n_groups, self.longest = len(counts), int(counts.max())
        self.rows: Tensor | None = (
            None  # [groups * longest]: the row in each place, row 0 where there is none
        )
        self.places: Tensor | None = None  # [R]: the place of each row
        if (counts != self.longest).any():
            offsets = np.arange(self.longest)
            starts = np.cumsum(counts) - counts
            used = offsets < counts[:, None]
            rows = np.where(used, starts[:, None] + offsets, 0).reshape(-1)
            self.rows = torch.from_numpy(rows).to(device)
            self.places = torch.from_numpy(np.flatnonzero(used)).to(device)

    def spread(self, x_RHd: Tensor) -> Tensor:
        """[R, H, d] -> [groups, H, longest, d]."""
        dense = x_RHd if self.rows is None else x_RHd.index_select(0, self.rows)
        return dense.view(self.n_groups, self.longest, *x_RHd.shape[1:]).transpose(1, 2)

    def gather(self, x_GHMd: Tensor) -> Tensor:
        """[groups, H, longest, d] -> [R, H, d]."""
        dense = x_GHMd.transpose(1, 2).flatten(0, 1)
        return dense if self.places is None else dense.index_select(0, self.places)


class Session:
    """Sequences under way: which picture each looks at, and the keys and values of its own tokens.

    Args:
        text: the decoder.
        prefix: of the pictures; None when the sequences are about no picture.
        images: for each sequence the index of its picture, ascending; ignored without a prefix.
    """

    def __init__(self, text: TextModel, prefix: Prefix | None, images: Sequence[int]) -> None:
        if any(a > b for a, b in pairwise(images)):
            raise ValueError("sequences must be sorted by picture")
        self.text = text
        self.prefix = prefix
        self.images = list(images)
        self.start = 0 if prefix is None else prefix.length
        self.lengths: Ints = np.zeros(len(images), dtype=np.int64)
        config = text.config
        shape = (config.n_layers, len(images), config.n_kv_heads, 0, config.head_dim)
        self.k_LNKSd = text.wte.new_zeros(shape)
        self.v_LNKSd = text.wte.new_zeros(shape)
        self._drop_unused_prefixes()

    def feed(self, x_RD: Tensor, counts: Sequence[int], trees: Sequence[Tree | None] = ()) -> Tensor:
        """Append rows to the sequences.

        Args:
            x_RD: embeddings, `counts[n]` rows of sequence n after those of sequence n - 1.
            counts: at least 1 each.
            trees: for each sequence what its last rows branch into, or None; a sequence that was fed a tree
                cannot be fed again. Empty: no trees.

        Returns:
            Hidden states before the last norm, [R, D].
        """
        device = x_RD.device
        count_N = np.asarray(counts, dtype=np.int64)
        n_slots = int((self.lengths + count_N).max())
        self._grow(n_slots)
        sequence_R = np.repeat(np.arange(len(counts)), count_N)
        offset_R = np.arange(len(sequence_R)) - np.repeat(np.cumsum(count_N) - count_N, count_N)
        slot_R = self.lengths[sequence_R] + offset_R
        position_R = slot_R + self.start
        mask_NTS = self._mask(count_N, n_slots)
        self._plant(trees, count_N, position_R, mask_NTS)
        # One transfer for the three index rows.
        index = torch.from_numpy(np.stack((sequence_R, slot_R, position_R))).to(device)
        by_sequence = Grouping(count_N, device)
        mask = None if mask_NTS is None else torch.from_numpy(mask_NTS).to(device)
        by_image = None
        if self.prefix is not None:
            rows_B = np.bincount(self.images, weights=count_N, minlength=len(self.prefix))
            by_image = Grouping(rows_B.astype(np.int64), device)
        scale = self.text.config.head_dim**-0.5

        def attend(layer: int, q_RHd: Tensor, k_RKd: Tensor, v_RKd: Tensor) -> Tensor:
            keys, values = self.k_LNKSd[layer], self.v_LNKSd[layer]
            keys[index[0], :, index[1]] = k_RKd
            values[index[0], :, index[1]] = v_RKd
            q_RHd = q_RHd * scale
            own = partial_attention(
                by_sequence.spread(q_RHd), keys[:, :, :n_slots], values[:, :, :n_slots], mask
            )
            suffix = by_sequence.gather(own[0]), by_sequence.gather(own[1])
            if self.prefix is None or by_image is None:
                return suffix[0]
            keys, values = self.prefix.k_LBKTd[layer], self.prefix.v_LBKTd[layer]
            seen = partial_attention(by_image.spread(q_RHd), keys, values, None)
            return merge_attention((by_image.gather(seen[0]), by_image.gather(seen[1])), suffix)

        hidden: Tensor = self.text(x_RD, index[2], attend)
        self.lengths = self.lengths + count_N
        return hidden

    def rewind(self, lengths: Sequence[int]) -> None:
        """Forget what was fed after the first `lengths[n]` tokens of each sequence: a draft that was not accepted."""
        shorter = np.asarray(lengths, dtype=np.int64)
        if (shorter > self.lengths).any():
            raise ValueError("a sequence cannot be rewound to what it was not fed yet")
        self.lengths = shorter  # the slots behind are masked until they are written again

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the sequences only, in ascending order."""
        if len(rows) == len(self.images):
            return
        index = torch.tensor(rows, dtype=torch.int64, device=self.k_LNKSd.device)
        self.k_LNKSd = self.k_LNKSd.index_select(1, index)
        self.v_LNKSd = self.v_LNKSd.index_select(1, index)
        self.lengths = self.lengths[list(rows)]
        self.images = [self.images[row] for row in rows]
        self._drop_unused_prefixes()

    def _drop_unused_prefixes(self) -> None:
        """Leave pictures out that no sequence looks at: by a view if possible, by a copy if that halves them."""
        used = sorted(set(self.images))
        if self.prefix is None or not used or len(used) == len(self.prefix):
            return
        neighbours = used[-1] - used[0] + 1 == len(used)
        if neighbours or 2 * len(used) <= len(self.prefix):
            self.prefix = self.prefix.select(used)
            place = {image: i for i, image in enumerate(used)}
            self.images = [place[image] for image in self.images]

    def _grow(self, n_slots: int) -> None:
        more = n_slots - self.k_LNKSd.shape[3]
        if more > 0:
            more += -n_slots % SLOT_STEP
            self.k_LNKSd = functional.pad(self.k_LNKSd, (0, 0, 0, more))
            self.v_LNKSd = functional.pad(self.v_LNKSd, (0, 0, 0, more))

    def _mask(self, count_N: Ints, n_slots: int) -> npt.NDArray[np.bool_] | None:
        """Which slots each row sees, [N, T, S]; None when all see all."""
        longest = int(count_N.max())
        if longest == 1 and (self.lengths == n_slots - 1).all():
            return None
        last_NT = self.lengths[:, None] + np.arange(longest)
        return np.arange(n_slots) <= last_NT[:, :, None]

    def _plant(
        self,
        trees: Sequence[Tree | None],
        count_N: Ints,
        position_R: Ints,
        mask_NTS: npt.NDArray[np.bool_] | None,
    ) -> None:
        """Give the rows of trees their positions, and the sight of their own branch only."""
        ends = np.cumsum(count_N)
        for n, tree in enumerate(trees):
            size = 0 if tree is None else len(tree.depths)
            if tree is None or mask_NTS is None or size == 0:
                continue
            first = int(count_N[n]) - size  # a prompt always precedes its tree, so there is a row before
            slot = int(self.lengths[n]) + first
            mask_NTS[n, first : first + size, slot : slot + size] = tree.sees
            position_R[ends[n] - size : ends[n]] = position_R[ends[n] - size - 1] + tree.depths
