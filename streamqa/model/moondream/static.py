"""The model over memory that stays where it is, in few different shapes: what `graphs` can record.

Batches are padded with dummies (`buckets`): pictures, crops, sequences and rows that read whatever there is and that
nobody reads. What a batch says is what it would say without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from streamqa.model.moondream.attention import Part, attend_part, merge_rows
from streamqa.model.moondream.buckets import First, Step, rounded
from streamqa.model.moondream.graphs import Memory, Programs
from streamqa.model.moondream.network import Network
from streamqa.model.moondream.packing import Looking
from streamqa.model.moondream.rows import Grouping, Ints, Plan, Spread, Tree, hiding
from streamqa.model.moondream.text import padding_mask
from streamqa.model.moondream.vision import VisionTower

Views = list[tuple[Tensor, Tensor]]  # keys and values of each layer


class Tower:
    """`VisionTower.encode` for any number of crops, padded to one of few."""

    def __init__(self, vision: VisionTower, memory: Memory, programs: Programs) -> None:
        self._vision, self._memory, self._programs = vision, memory, programs

    def __call__(self, crops_NSSC: Tensor) -> Tensor:
        """uint8 [n, S, S, 3] -> features [n, P, E]."""
        config, count = self._vision.config, len(crops_NSSC)
        size = rounded(count, bits=3)
        crops = self._memory.view("crops", (size, *crops_NSSC.shape[1:]), torch.uint8)
        dtype = self._vision.pos_emb.dtype
        out = self._memory.view("features", (size, config.n_patches, config.enc_dim), dtype)

        def work() -> None:
            out.copy_(self._vision.encode(crops))

        crops[:count] = crops_NSSC
        self._programs.run(("tower", size), work)
        return out[:count].clone()


class Decoder:
    """The decoder's first forward and its steps."""

    def __init__(self, network: Network, memory: Memory, programs: Programs) -> None:
        self.network, self.memory, self.programs = network, memory, programs
        text = network.config.text
        self.n_layers, self.n_keys, self.head_dim = text.n_layers, text.n_kv_heads, text.head_dim
        self.slots = -(-network.config.prefix_len // network.text.slot_step) * network.text.slot_step

    @property
    def start(self) -> int:
        """Position of the first token of every sequence."""
        return self.network.config.prefix_len

    def prefix(self, pictures: int) -> Views:
        """Keys and values of so many pictures, [B, K, S, d]."""
        shape = (pictures, self.n_keys, self.slots, self.head_dim)
        return self._views("prefix", shape, keep=False)

    def suffix(self, slots: int, sequences: int) -> Views:
        """Keys and values of the sequences' own tokens, [S, N, K, d]: more slots leave what there is where it is."""
        return self._views("suffix", (slots, sequences, self.n_keys, self.head_dim), keep=True)

    def look(
        self,
        tokens_BPD: Tensor,
        images: Sequence[int],
        rows: tuple[Tensor, Sequence[int], Sequence[Tree | None]],
    ) -> tuple[StaticSession, Tensor]:
        """As `Session.look`, for at least one sequence."""
        if any(a > b for a, b in pairwise(images)):
            raise ValueError("sequences must be sorted by picture")
        x_RD, given, trees = rows
        counts, batch = np.asarray(given, dtype=np.int64), len(tokens_BPD)
        size = First.fitting(given, images, batch)
        plan = Plan(np.zeros(len(counts), dtype=np.int64), counts, trees, self.start)
        asked = np.bincount(images, weights=counts, minlength=batch).astype(np.int64)
        spreads = (
            Spread(counts, size.sequences, size.longest, size.rows),
            Spread(asked, size.pictures, size.asked, size.rows),
        )
        position_R = np.full(size.rows, self.start, dtype=np.int64)
        position_R[: len(x_RD)] = plan.position_R
        hidden_NTT = np.tile(
            np.triu(np.ones((size.longest, size.longest), dtype=bool), 1), (size.sequences, 1, 1)
        )
        if plan.sight_NTS is not None:
            _, longest, slots = plan.sight_NTS.shape
            hidden_NTT[: len(counts), :longest, :slots] = ~plan.sight_NTS
        work = _Look(self, size, np.concatenate((position_R, *_flat(spreads))), hidden_NTT)
        work.tokens_BPD[:batch] = tokens_BPD
        work.x_RD[: len(x_RD)] = x_RD
        self.programs.run(("look", size), work)
        return StaticSession(self, size, images, counts), work.out_RD[: len(x_RD)].clone()

    def _views(self, name: str, shape: tuple[int, ...], *, keep: bool) -> Views:
        def view(what: str, layer: int) -> Tensor:
            return self.memory.view(f"{name} {what} {layer}", shape, self.network.dtype, keep=keep)

        return [(view("keys", layer), view("values", layer)) for layer in range(self.n_layers)]


class _Look:
    """The first forward of one shape."""

    def __init__(
        self, decoder: Decoder, size: First, index: Ints, hidden_NTT: np.typing.NDArray[np.bool_]
    ) -> None:
        network, memory = decoder.network, decoder.memory
        config, dtype = network.config, network.dtype
        width = config.text.dim
        self.network, self.size, self.slots, self.length = network, size, decoder.slots, decoder.start
        self.tokens_BPD = memory.view("tokens", (size.pictures, decoder.start - 1, width), dtype)
        self.x_RD = memory.view("x", (size.rows, width), dtype)
        self.out_RD = memory.view("out", (size.rows, width), dtype)
        self.index = memory.fill("index", index, torch.int64)
        self.hidden_NTT = memory.fill("hidden", hidden_NTT, torch.bool)
        self.prefix = decoder.prefix(size.pictures)
        self.suffix = decoder.suffix(size.longest, size.sequences)

    def __call__(self) -> None:
        size, text = self.size, self.network.text
        parts = [size.rows, size.sequences * size.longest, size.rows, size.pictures * size.asked, size.rows]
        position_R, *groups = torch.split(self.index, parts)
        by_sequence = Grouping(size.sequences, size.longest, *groups[:2])
        mask = hiding(self.hidden_NTT)[:, None]

        def own(layer: int, q_RHd: Tensor, k_RKd: Tensor, v_RKd: Tensor) -> Part:
            k, v = by_sequence.spread(k_RKd), by_sequence.spread(v_RKd)
            for dense, cache in zip((k, v), self.suffix[layer], strict=True):
                cache.copy_(dense.permute(2, 0, 1, 3))
            seen, lse = attend_part(by_sequence.spread(q_RHd), k, v, mask)
            return by_sequence.gather(seen), by_sequence.gather(lse)

        def keep(layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            keys, values = self.prefix[layer]
            return keys.copy_(k), values.copy_(v)

        device = self.x_RD.device
        looking = Looking(
            text, size.pictures, self.slots, padding_mask(self.slots, self.length, device), keep
        )
        looking.own, looking.by_image = own, Grouping(size.pictures, size.asked, *groups[2:])
        pictures_BSD = text.pictures(self.tokens_BPD, self.network.config.tokenizer.bos_id)
        positions_S = torch.arange(self.slots, device=device).clamp_(max=self.length - 1)
        positions = torch.cat((positions_S.repeat(size.pictures), position_R))
        self.out_RD.copy_(text(torch.cat((pictures_BSD.flatten(0, 1), self.x_RD)), positions, looking))


class StaticSession:
    """Sequences under way, as `Session`, over the decoder's memory: until its next `look`.

    A sequence that leaves stays as a dummy until half of them, or of the pictures, have left.
    """

    def __init__(self, decoder: Decoder, size: First, images: Sequence[int], counts: Ints) -> None:
        self._decoder = decoder
        self.images = list(images)
        self.lengths: Ints = counts.copy()
        self._places = list(range(len(images)))  # of each sequence in the caches
        self._owners = list(images)  # the picture of each place that was ever used
        self._pictures, self._sequences = size.pictures, size.sequences
        self._written = size.longest  # slots that hold numbers, if only zeros

    def feed(self, x_RD: Tensor, counts: Sequence[int], trees: Sequence[Tree | None] = ()) -> Tensor:
        """As `Session.feed`, but for trees: a row of each sequence at a time."""
        if any(trees):
            raise ValueError("trees are for the first rows of a sequence")
        rows = np.asarray(counts, dtype=np.int64)
        if (rows == 1).all():
            return self._step(x_RD, list(range(len(rows))))
        starts = np.cumsum(rows) - rows
        hidden_RD = torch.empty_like(x_RD)
        for i in range(int(rows.max())):
            going = np.flatnonzero(rows > i)
            index = torch.from_numpy(starts[going] + i).to(x_RD.device)
            hidden_RD[index] = self._step(x_RD[index], going.tolist())
        return hidden_RD

    def rewind(self, lengths: Sequence[int]) -> None:
        """As `Session.rewind`."""
        shorter = np.asarray(lengths, dtype=np.int64)
        if (shorter > self.lengths).any():
            raise ValueError("a sequence cannot be rewound to what it was not fed yet")
        self.lengths = shorter

    def keep(self, rows: Sequence[int]) -> None:
        """As `Session.keep`."""
        self._places = [self._places[row] for row in rows]
        self.images = [self.images[row] for row in rows]
        self.lengths = self.lengths[list(rows)]
        if 2 * rounded(len(rows), bits=1) <= self._sequences or 2 * len(set(self.images)) <= self._pictures:
            self._close_ranks()

    def _step(self, x_ND: Tensor, going: list[int]) -> Tensor:
        """Feed a row to some of the sequences. The others write where their next row will lie, dummies to slot 0."""
        slot_N = np.zeros(self._sequences, dtype=np.int64)
        slot_N[self._places] = self.lengths
        asked = np.bincount(self._owners, minlength=self._pictures)
        size = Step.fitting(self._pictures, self._sequences, int(asked.max()), int(slot_N.max()) + 1)
        self._extend(size.slots)
        spread = Spread(asked, size.pictures, size.asked, size.sequences)
        work = _Step(self._decoder, size, np.concatenate((slot_N, *_flat((spread,)))))
        places = [self._places[n] for n in going]
        target = slice(len(places)) if places == list(range(len(places))) else places
        work.x_ND[target] = x_ND
        self._decoder.programs.run(("step", size), work)
        self.lengths[going] += 1
        return work.out_ND[target].clone()

    def _extend(self, slots: int) -> None:
        """New slots are zeros: hidden, but what is hidden must be finite all the same."""
        if slots > self._written:
            views = self._decoder.suffix(slots, self._sequences)
            torch._foreach_zero_([view[self._written :] for pair in views for view in pair])
            self._written = slots

    def _close_ranks(self) -> None:
        """Move what is left to the front of smaller caches."""
        used, left = sorted(set(self.images)), len(self._places)
        pictures, sequences = rounded(len(used), bits=3), rounded(left, bits=1)
        device = self._decoder.network.device
        picked, places = (torch.tensor(i, device=device) for i in (used, self._places))
        small = self._decoder.prefix(pictures), self._decoder.suffix(self._written, sequences)
        large = self._decoder.prefix(self._pictures), self._decoder.suffix(self._written, self._sequences)
        for one, other in zip(large[0], small[0], strict=True):
            for source, target in zip(one, other, strict=True):
                target[: len(used)] = source.index_select(0, picked)
        for one, other in zip(large[1], small[1], strict=True):
            for source, target in zip(one, other, strict=True):
                target[:, :left] = source.index_select(1, places)
        number = {image: i for i, image in enumerate(used)}
        self.images = [number[image] for image in self.images]
        self._owners, self._places = list(self.images), list(range(left))
        self._pictures, self._sequences = pictures, sequences


class _Step:
    """A forward of one row for each place of the caches."""

    def __init__(self, decoder: Decoder, size: Step, index: Ints) -> None:
        memory, dtype = decoder.memory, decoder.network.dtype
        width = decoder.network.config.text.dim
        self.text, self.size, self.start = decoder.network.text, size, decoder.start
        self.prefix_slots = decoder.slots
        self.x_ND = memory.view("x", (size.sequences, width), dtype)
        self.out_ND = memory.view("out", (size.sequences, width), dtype)
        self.index = memory.fill("index", index, torch.int64)
        self.prefix = decoder.prefix(size.pictures)
        self.suffix = decoder.suffix(size.slots, size.sequences)

    def __call__(self) -> None:
        size, device = self.size, self.x_ND.device
        slot_N, *groups = torch.split(
            self.index, [size.sequences, size.pictures * size.asked, size.sequences]
        )
        by_image = Grouping(size.pictures, size.asked, *groups)
        hidden_NS = torch.arange(size.slots, device=device) > slot_N[:, None]
        mask, unfilled = hiding(hidden_NS)[:, None, None], padding_mask(self.prefix_slots, self.start, device)
        row_N = slot_N * size.sequences + torch.arange(size.sequences, device=device)

        def attend(layer: int, q_NHd: Tensor, k_NKd: Tensor, v_NKd: Tensor) -> Tensor:
            for new, cache in zip((k_NKd, v_NKd), self.suffix[layer], strict=True):
                cache.flatten(0, 1).index_copy_(0, row_N, new)
            keys, values = (cache.permute(1, 2, 0, 3) for cache in self.suffix[layer])
            seen, lse = attend_part(q_NHd[:, :, None], keys, values, mask)
            told, weight = attend_part(by_image.spread(q_NHd), *self.prefix[layer], unfilled)
            return merge_rows((by_image.gather(told), by_image.gather(weight)), (seen[:, :, 0], lse[:, :, 0]))

        self.out_ND.copy_(self.text(self.x_ND, slot_N + self.start, attend))


def _flat(spreads: Sequence[Spread]) -> list[Ints]:
    return [part for spread in spreads for part in (spread.rows, spread.places)]
