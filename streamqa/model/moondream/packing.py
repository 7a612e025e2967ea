"""Many sequences in one forward: packed rows for the linear layers, dense groups for attention.

A row (token) sees the prefix of its picture, which all prompts of the picture share, and the earlier rows of its
own sequence. The two attentions are computed apart and merged, so that a prefix is never copied per prompt:
`(pictures, rows of the picture)` against the prefixes, `(sequences, rows of the sequence)` against the suffixes.

`Session.look` computes the prefixes in the same forward as the first rows of every sequence: a prefix never sees
what is asked about it, so its rows can go first through each layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from streamqa.model.moondream.attention import Part, attend_part, merge_rows
from streamqa.model.moondream.rows import Grouping, Ints, Plan, Rows, Tree
from streamqa.model.moondream.text import Prefix, TextModel, padding_mask

# Layer, queries, keys, values of rows -> what they see of their own sequences.
Own = Callable[[int, Tensor, Tensor, Tensor], Part]
# Layer, keys, values -> the same, where they stay.
Keep = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]

SLOT_STEP = 32  # suffix caches grow by so many slots, so that decoding copies them seldom


class Sequences(Protocol):
    """Sequences under way, as `Session` has them."""

    def feed(self, x_RD: Tensor, counts: Sequence[int], trees: Sequence[Tree | None] = ()) -> Tensor:
        """Append rows: as `Session.feed`."""
        ...

    def rewind(self, lengths: Sequence[int]) -> None:
        """Forget what was fed last: as `Session.rewind`."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some only: as `Session.keep`."""
        ...


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
        self._keys: list[Tensor] = []  # of each layer [N, K, slots, d]; empty before the first rows
        self._values: list[Tensor] = []
        self._drop_unused_prefixes()

    @classmethod
    def look(
        cls,
        text: TextModel,
        pictures_BSD: Tensor,
        length: int,
        images: Sequence[int],
        rows: tuple[Tensor, Sequence[int], Sequence[Tree | None]],
    ) -> tuple[Session, Tensor]:
        """Encode pictures and feed the first rows of sequences about them, in one forward.

        Args:
            text: the decoder.
            pictures_BSD: from `TextModel.pictures`.
            length: positions of a picture's prefix; the slots after them are padding.
            images: for each sequence the index of its picture, ascending; may be empty.
            rows: as the arguments of `feed`.

        Returns:
            The session, and the hidden states of the rows before the last norm, [R, D].
        """
        session = cls(text, None, images)
        session.start = length
        x_RD, counts, trees = rows
        batch, slots, _ = pictures_BSD.shape
        positions_S = torch.arange(slots, device=x_RD.device).clamp_(max=length - 1)
        seen_by = Looking(text, batch, slots, padding_mask(slots, length, x_RD.device))
        x_RD = torch.cat((pictures_BSD.flatten(0, 1), x_RD))
        positions_R = positions_S.repeat(batch)
        if images:
            own = Rows(Plan(session.lengths, np.asarray(counts, dtype=np.int64), trees, length), x_RD.device)
            seen_by.own = partial(session.attend_own, own)
            seen_by.by_image = session._by_image(own.counts, batch)
            positions_R = torch.cat((positions_R, own.position_R))
            session.lengths = session.lengths + own.counts
        hidden_RD = text(x_RD, positions_R, seen_by)
        session.prefix = Prefix(tuple(seen_by.keys), tuple(seen_by.values), length)
        session._drop_unused_prefixes()
        return session, hidden_RD

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
        plan = Plan(self.lengths, np.asarray(counts, dtype=np.int64), trees, self.start)
        rows = Rows(plan, x_RD.device)
        prefix, by_image = self.prefix, None
        mask = None
        if prefix is not None:
            by_image = self._by_image(rows.counts, len(prefix))
            mask = prefix.mask

        def attend(layer: int, q_RHd: Tensor, k_RKd: Tensor, v_RKd: Tensor) -> Tensor:
            suffix = self.attend_own(rows, layer, q_RHd, k_RKd, v_RKd)
            if prefix is None or by_image is None:
                return suffix[0]
            seen, lse = attend_part(by_image.spread(q_RHd), prefix.keys[layer], prefix.values[layer], mask)
            return merge_rows((by_image.gather(seen), by_image.gather(lse)), suffix)

        hidden: Tensor = self.text(x_RD, rows.position_R, attend)
        self.lengths = self.lengths + rows.counts
        return hidden

    def attend_own(
        self, rows: Rows, layer: int, q_RHd: Tensor, k_RKd: Tensor, v_RKd: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Keep the keys and values of new rows; what each row sees of its own sequence, with the log-sum-exp."""
        if len(self._keys) == layer:  # the first rows of all: as they come they are the cache
            self._keys.append(rows.by_sequence.spread(k_RKd))
            self._values.append(rows.by_sequence.spread(v_RKd))
        else:
            self._grow(layer, rows.n_slots)
            self._keys[layer][rows.sequence_R, :, rows.slot_R] = k_RKd
            self._values[layer][rows.sequence_R, :, rows.slot_R] = v_RKd
        keys, values = self._keys[layer][:, :, : rows.n_slots], self._values[layer][:, :, : rows.n_slots]
        seen, lse = attend_part(rows.by_sequence.spread(q_RHd), keys, values, rows.mask)
        return rows.by_sequence.gather(seen), rows.by_sequence.gather(lse)

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
        if self._keys:
            index = torch.tensor(rows, dtype=torch.int64, device=self._keys[0].device)
            self._keys = [k.index_select(0, index) for k in self._keys]
            self._values = [v.index_select(0, index) for v in self._values]
        self.lengths = self.lengths[list(rows)]
        self.images = [self.images[row] for row in rows]
        self._drop_unused_prefixes()

    def _by_image(self, count_N: Ints, n_images: int) -> Grouping:
        rows_B = np.bincount(self.images, weights=count_N, minlength=n_images)
        return Grouping.of(rows_B.astype(np.int64), self.text.wte.device)

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

    def _grow(self, layer: int, n_slots: int) -> None:
        more = n_slots - self._keys[layer].shape[2]
        if more > 0:
            more += -n_slots % SLOT_STEP
            self._keys[layer] = functional.pad(self._keys[layer], (0, 0, 0, more))
            self._values[layer] = functional.pad(self._values[layer], (0, 0, 0, more))


class Looking:
    """Attention of a forward whose first rows are the pictures themselves.

    Args:
        text: the decoder.
        batch: pictures.
        slots: rows of each.
        mask: hides those that are padding, as in `attend_part`.
        keep: where keys and values of a layer [B, K, S, d] are to lie; absent: where they are.
    """

    def __init__(
        self, text: TextModel, batch: int, slots: int, mask: Tensor | None, keep: Keep | None = None
    ) -> None:
        self.last = text.config.n_layers - 1
        self.batch, self.slots, self.mask = batch, slots, mask
        self.keep = keep
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.own: Own | None = None  # with `by_image`: of the rows after those of the pictures
        self.by_image: Grouping | None = None

    def __call__(self, layer: int, q_RHd: Tensor, k_RKd: Tensor, v_RKd: Tensor) -> Tensor:
        """As `text.Attend`; in the last layer the pictures end."""
        fresh = self.batch * self.slots
        k_BKSd, v_BKSd = (self._by_picture(t[:fresh]) for t in (k_RKd, v_RKd))
        if self.keep is not None:
            k_BKSd, v_BKSd = self.keep(layer, k_BKSd, v_BKSd)
        self.keys.append(k_BKSd)
        self.values.append(v_BKSd)
        ends = layer == self.last  # of a picture nothing after the last layer's keys and values is needed
        if self.own is None or self.by_image is None:
            return q_RHd[:0] if ends else self._pictures(q_RHd, k_BKSd, v_BKSd)
        suffix = self.own(layer, q_RHd[fresh:], k_RKd[fresh:], v_RKd[fresh:])
        if self.batch == 1 and not ends:  # one call for the picture and what is asked about it
            seen, lse = attend_part(q_RHd.transpose(0, 1)[None], k_BKSd, v_BKSd, self.mask)
            all_RHd = seen[0].transpose(0, 1)
            asked = all_RHd[fresh:], lse[0].transpose(0, 1)[fresh:]
            all_RHd[fresh:] = merge_rows(asked, suffix)
            return all_RHd
        seen, lse = attend_part(self.by_image.spread(q_RHd[fresh:]), k_BKSd, v_BKSd, self.mask)
        merged_RHd = merge_rows((self.by_image.gather(seen), self.by_image.gather(lse)), suffix)
        return merged_RHd if ends else torch.cat((self._pictures(q_RHd[:fresh], k_BKSd, v_BKSd), merged_RHd))

    def _pictures(self, q_RHd: Tensor, k_BKSd: Tensor, v_BKSd: Tensor) -> Tensor:
        """Every position of a picture sees all of them."""
        seen, _ = attend_part(self._by_picture(q_RHd), k_BKSd, v_BKSd, self.mask)
        return seen.transpose(1, 2).flatten(0, 1)

    def _by_picture(self, x_RHd: Tensor) -> Tensor:
        return x_RHd.view(self.batch, self.slots, *x_RHd.shape[1:]).transpose(1, 2)
