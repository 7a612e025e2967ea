"""What hidden states say: the likeliest tokens, and the log-probabilities of given ones.

One copy takes all indices to the device, one brings all results back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from streamqa.model.moondream.config import Ids
from streamqa.model.moondream.scoring import Trie, option_probs, option_spots

Head = Callable[[Tensor], Tensor]  # hidden states before the last norm [Q, D] -> float32 logits [Q, V]
Choice = tuple[int, float]  # a token, and its log-probability as if nothing were banned


def choose(logits_QV: Tensor, spots: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The likeliest token of each row that is not banned there.

    Args:
        logits_QV: float32; the banned ones are overwritten.
        spots: [2, M] row and token of each that is banned; None: none is.

    Returns:
        The token [Q], its log-probability as if none were banned [Q], and the log of the sum of exponentials [Q].
    """
    normaliser_Q = logits_QV.logsumexp(dim=-1)
    if spots is not None:
        logits_QV[spots[0], spots[1]] = float("-inf")
    best_Q, token_Q = logits_QV.max(dim=-1)
    return token_Q, best_Q - normaliser_Q, normaliser_Q


def read_rows(
    head: Head,
    hidden_RD: Tensor,
    rows: Sequence[int],
    banned: Sequence[Ids] | None,
    scored: Sequence[tuple[int, Trie]] = (),
) -> tuple[list[Choice], list[tuple[float, ...]]]:
    """What some rows say.

    Args:
        head: of the decoder.
        hidden_RD: the hidden states.
        rows: Q of them.
        banned: tokens that each row must not choose; None: no choices are wanted.
        scored: for each closed question the place in `rows` of the row after its prompt, which those after its fed
            nodes follow; and its options.

    Returns:
        The choice of each row, empty if none are wanted; the probabilities of each question's options.
    """
    spots = [(q, token) for q, tokens in enumerate(banned or ()) for token in tokens]
    index, banned_2M, wanted_2M = _upload(
        hidden_RD.device,
        np.array([rows], dtype=np.int64),
        np.array(spots, dtype=np.int64).reshape(-1, 2).T,
        option_spots([trie for _, trie in scored], [place for place, _ in scored]),
    )
    logits_QV = head(hidden_RD if list(rows) == list(range(len(hidden_RD))) else hidden_RD[index[0]])
    wanted = logits_QV[wanted_2M[0], wanted_2M[1]]  # read before anything is banned
    parts: list[Tensor] = []
    if banned is None:
        normaliser_Q = logits_QV.logsumexp(dim=-1)
    else:
        token_Q, logprob_Q, normaliser_Q = choose(logits_QV, banned_2M if spots else None)
        parts = [token_Q.float(), logprob_Q]  # float32 is exact up to token 16,777,216
    parts.append(wanted - normaliser_Q[wanted_2M[0]])
    said = torch.cat(parts).cpu().numpy()  # the only wait for the device
    tokens, logprobs, options = np.split(said, [len(rows), 2 * len(rows)] if banned is not None else [0, 0])
    choices = [(int(token), float(logprob)) for token, logprob in zip(tokens, logprobs, strict=True)]
    return choices, option_probs([trie for _, trie in scored], options.astype(np.float64))


def _upload(device: torch.device, *parts: npt.NDArray[np.int64]) -> list[Tensor]:
    """Arrays of indices on the device, in one copy."""
    flat = torch.from_numpy(np.concatenate([part.reshape(-1) for part in parts])).to(device)
    ends = list(accumulate(part.size for part in parts))
    pieces = [flat[end - part.size : end].view(part.shape) for part, end in zip(parts, ends, strict=True)]
    return pieces
