"""Greedy decoding: answers under way, of all kinds, go through the decoder together, a step at a time.

`decode` tells every run (`runs`) what its hidden state holds, feeds what all of them want to go on with in one
forward, and lets go of those that have ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from streamqa.model.moondream.config import Ids
from streamqa.model.moondream.network import Network
from streamqa.model.moondream.packing import Session
from streamqa.model.moondream.prompts import PromptIds
from streamqa.model.moondream.runs import Run, Wants

MAX_LOGIT_ROWS = 256  # of float32 [rows, V] that are in memory at once: 52 MB at the released vocabulary


def choose(logits_QV: Tensor, banned: Sequence[Ids]) -> tuple[Tensor, Tensor, Tensor]:
    """The likeliest token of each row that is not banned there.

    Args:
        logits_QV: float32; the banned ones are overwritten.
        banned: for each row.

    Returns:
        The token [Q], its log-probability as if none were banned [Q], and the log of the sum of exponentials [Q].
    """
    normaliser_Q = logits_QV.logsumexp(dim=-1)
    spots = [(row, token) for row, tokens in enumerate(banned) for token in tokens]
    if spots:
        index = torch.tensor(spots, device=logits_QV.device).t()
        logits_QV[index[0], index[1]] = float("-inf")
    best_Q, token_Q = logits_QV.max(dim=-1)
    return token_Q, best_Q - normaliser_Q, normaliser_Q


def decode(network: Network, session: Session, hidden_ND: Tensor, runs: Sequence[Run]) -> None:
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


def feed(network: Network, session: Session, prompts: Sequence[PromptIds]) -> Tensor:
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
        logits_QV = network.text.logits(_rows(hidden_ND, rows))
        token_Q, logprob_Q, _ = choose(logits_QV, [runs[n].banned for n in rows])
        # The only wait for the device in most steps.
        chosen = torch.stack((token_Q.double(), logprob_Q.double()), 1).tolist()
        for n, (token, logprob) in zip(rows, chosen, strict=True):
            runs[n].on_token(int(token), logprob)
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
