"""Greedy decoding: answers under way, of all kinds, go through the decoder together, a step at a time.

`decode` tells every run (`runs`) what its hidden state holds, feeds what all of them want to go on with in one
forward, and lets go of those that have ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from streamqa.model.moondream.network import Network
from streamqa.model.moondream.packing import Sequences
from streamqa.model.moondream.prompts import PromptIds
from streamqa.model.moondream.reading import read_rows
from streamqa.model.moondream.runs import Run, Wants

MAX_LOGIT_ROWS = 256  # of float32 [rows, V] that are in memory at once: 52 MB at the released vocabulary


def decode(network: Network, session: Sequences, hidden_ND: Tensor, runs: Sequence[Run]) -> None:
    """Go on with answers until all have ended.

    Args:
        network: the weights.
        session: a sequence for each run, in its order.
        hidden_ND: the hidden state after what each sequence was fed last; of a run that wants nothing it is not read.
        runs: told what they want to know, and fed.
    """
    active = list(range(len(runs)))
    while active:
        _read(network, hidden_ND, [runs[n] for n in active])
        going = [place for place, n in enumerate(active) if runs[n].feeds is not None]
        if not going:
            return
        if len(going) < len(active):
            session.keep(going)
            active = [active[place] for place in going]
        feeds = [prompt for n in active if (prompt := runs[n].feeds) is not None]
        hidden_ND = feed(network, session, feeds)
        for n in active:
            runs[n].fed()


def feed(network: Network, session: Sequences, prompts: Sequence[PromptIds]) -> Tensor:
    """Feed each sequence a prompt; the hidden state [N, D] after each."""
    counts = [len(prompt.ids) for prompt in prompts]
    hidden_RD = session.feed(network.embed(prompts), counts)
    if len(hidden_RD) == len(counts):
        return hidden_RD
    last = torch.tensor(list(accumulate(counts)), device=hidden_RD.device) - 1
    return hidden_RD[last]


def _read(network: Network, hidden_ND: Tensor, runs: Sequence[Run]) -> None:
    """Tell each run what it wants to know of its hidden state. A token may make it want a coordinate, too."""
    region = network.region
    if rows := _wanting("token", runs):
        chosen, _ = read_rows(network.text.logits, hidden_ND, rows, [runs[n].banned for n in rows])
        for n, choice in zip(rows, chosen, strict=True):
            runs[n].on_token(*choice)
    if rows := _wanting("coord", runs):
        for n, (value,) in zip(rows, region.decode_coord(_rows(hidden_ND, rows)).tolist(), strict=True):
            runs[n].on_coord(value)
    if rows := _wanting("size", runs):
        for n, size in zip(rows, region.decode_size(_rows(hidden_ND, rows)).tolist(), strict=True):
            runs[n].on_size(*size)


def _wanting(what: Wants, runs: Sequence[Run]) -> list[int]:
    return [n for n, run in enumerate(runs) if run.wants == what]


def _rows(hidden_ND: Tensor, rows: list[int]) -> Tensor:
    return hidden_ND if len(rows) == len(hidden_ND) else hidden_ND[rows]
