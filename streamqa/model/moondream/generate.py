"""The greedy loops: text, reasoning, boxes and points. Finished rows leave the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise, takewhile
from typing import Literal, TypedDict

import torch
from torch import Tensor

from streamqa.model.moondream.config import Ids
from streamqa.model.moondream.network import Network
from streamqa.model.moondream.packing import Session
from streamqa.model.moondream.prompts import PromptIds

REGION_FEEDS = {"point": 2, "detect": 3}  # positions that one object takes


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one sequence went on with."""

    ids: Ids  # without eos
    finish: Literal["eos", "length"]  # length: the budget ended it
    logprob: float  # mean log-probability of the chosen tokens over the full vocabulary, eos included


@dataclass(slots=True)
class Chunk:
    """A stretch of reasoning, and the places that it speaks of."""

    ids: list[int] = field(default_factory=list)
    coords: list[float] = field(default_factory=list)

    @property
    def points(self) -> list[tuple[float, float]]:
        """Consecutive coordinates in pairs; an odd last one is dropped."""
        return list(zip(self.coords[::2], self.coords[1::2], strict=False))


@dataclass(frozen=True, slots=True)
class Reasoned:
    """Thoughts, and the answer after them."""

    chunks: list[Chunk]
    answer: Decoded

    @property
    def ids(self) -> Ids:
        """Of the thoughts."""
        return tuple(token for chunk in self.chunks for token in chunk.ids)


class Grounding(TypedDict):
    """Where in the reasoning text points are spoken of."""

    start_idx: int
    end_idx: int
    points: list[tuple[float, float]]


def grounding(chunks: Sequence[Chunk], length: Callable[[Sequence[int]], int]) -> list[Grounding]:
    """The chunks with points, `length` being the number of characters of a chunk's ids."""
    ends = [0, *accumulate(length(chunk.ids) for chunk in chunks)]
    return [
        {"start_idx": start, "end_idx": end, "points": chunk.points}
        for chunk, (start, end) in zip(chunks, pairwise(ends), strict=True)
        if chunk.points
    ]


def prefill(network: Network, session: Session, prompts: Sequence[PromptIds]) -> Tensor:
    """Feed whole prompts; the hidden state [N, D] after each."""
    counts = [len(prompt.ids) for prompt in prompts]
    hidden_RD = session.feed(network.embed(prompts), counts)
    last = torch.tensor(list(accumulate(counts)), device=hidden_RD.device) - 1
    return hidden_RD[last]


@dataclass(frozen=True, slots=True)
class Begun:
    """The accepted beginning of an answer: tokens that greedy decoding would have chosen one by one."""

    ids: Ids = ()
    logprob: float = 0.0  # the sum over `ids`


def accept(
    network: Network, hidden_RD: Tensor, starts: Sequence[int], drafts: Sequence[Sequence[int]]
) -> list[Begun]:
    """The longest part of each draft that greedy decoding would have said.

    Draft token i is accepted if it is the argmax of the row before it, with `answer_id` banned except for the first.
    Eos is no part of an answer: a draft that holds it ends there, and decoding finds it again.

    Args:
        hidden_RD: of packed rows; the draft's rows follow row `starts[n]`, the prompt's last one.
        starts: rows.
        drafts: token ids, none longer than its answer may be.
    """
    rows = [start + i for start, draft in zip(starts, drafts, strict=True) for i in range(len(draft))]
    if not rows:
        return [Begun() for _ in drafts]
    later = [i > 0 for draft in drafts for i in range(len(draft))]
    logits_MV = network.text.logits(hidden_RD[torch.tensor(rows, device=hidden_RD.device)])
    tokens, logprobs = _choose(logits_MV, [network.config.tokenizer.answer_id], later)
    chosen = torch.stack((tokens.double(), logprobs.double()), 1).tolist()
    begun = []
    eos = network.config.tokenizer.eos_id
    for draft in drafts:
        own, chosen = chosen[: len(draft)], chosen[len(draft) :]
        agreed = list(takewhile(lambda pair: eos != pair[0] == pair[1][0], zip(draft, own, strict=True)))
        begun.append(Begun(tuple(token for token, _ in agreed), sum(said[1] for _, said in agreed)))
    return begun


@dataclass(slots=True)
class _Going:
    """An answer under way."""

    ids: list[int]
    total: float
    chosen: int
    finish: Literal["eos", "length"] = "length"

    def decoded(self) -> Decoded:
        return Decoded(tuple(self.ids), self.finish, self.total / max(1, self.chosen))


def decode_text(
    network: Network,
    session: Session,
    hidden_ND: Tensor,
    budgets: Sequence[int],
    begun: Sequence[Begun] = (),
) -> list[Decoded]:
    """Go on greedily from the hidden state after each prompt, up to `budgets[n]` >= 1 tokens or eos.

    The first token is chosen freely; the model was trained so that `answer_id` never comes later. Where an answer
    has `begun`, the session and the hidden state are those after its accepted tokens.
    """
    special = network.config.tokenizer
    known = begun or [Begun()] * len(budgets)
    rows = [_Going(list(b.ids), b.logprob, len(b.ids)) for b in known]
    active = [n for n, row in enumerate(rows) if len(row.ids) < budgets[n]]
    if len(active) < len(rows):
        session.keep(active)
        hidden_ND = hidden_ND[torch.tensor(active, dtype=torch.int64, device=hidden_ND.device)]
    while active:
        later = [bool(rows[n].ids) for n in active]
        tokens, logprobs = _choose(network.text.logits(hidden_ND), [special.answer_id], later)
        going: list[int] = []
        # The only wait for the device in a step.
        chosen = torch.stack((tokens.double(), logprobs.double()), 1).tolist()
        for place, (token, logprob) in enumerate(chosen):
            row = rows[active[place]]
            row.total += logprob
            row.chosen += 1
            if token == special.eos_id:
                row.finish = "eos"
                continue
            row.ids.append(int(token))
            if len(row.ids) < budgets[active[place]]:
                going.append(place)
        if not going:
            break
        if len(going) < len(active):
            session.keep(going)
            active = [active[place] for place in going]
            tokens = tokens[going]
        hidden_ND = session.feed(network.text.embed(tokens), [1] * len(going))
    return [row.decoded() for row in rows]


def _choose(
    logits_NV: Tensor, banned: Sequence[int], where_N: Sequence[bool] | None = None
) -> tuple[Tensor, Tensor]:
    """The likeliest token that is not banned [N], and its log-probability [N] as if none were.

    `where_N`: the rows in which the ban holds; absent: all.
    """
    normaliser = logits_NV.logsumexp(dim=-1)
    if banned:
        held = (
            logits_NV.new_ones(len(logits_NV), dtype=torch.bool) if where_N is None else torch.tensor(where_N)
        )
        logits_NV[held.to(logits_NV.device).nonzero(), torch.tensor(banned)] = float("-inf")
    best, tokens = logits_NV.max(dim=-1)
    return tokens, best - normaliser


def decode_reasoning(
    network: Network, session: Session, hidden_1D: Tensor, think_budget: int, answer_budget: int
) -> Reasoned:
    """Think up to `think_budget` >= 1 tokens, then answer; for a session of one sequence.

    Where the thoughts point at a place, the coordinate is fed in place of its token.
    """
    special = network.config.tokenizer
    chunks = [Chunk()]
    banned: list[int] = []
    for _ in range(think_budget):
        token = _choose(network.text.logits(hidden_1D), banned)[0]
        banned = [special.eos_id, special.size_id]
        number = int(token)
        if number == special.answer_id:
            break
        if number in (special.start_ground_points_id, special.end_ground_id):
            chunks.append(Chunk())
        chunks[-1].ids.append(number)
        if number == special.coord_id:
            coord = network.region.decode_coord(hidden_1D)
            chunks[-1].coords.append(float(coord))
            x_1D = network.region.embed_coord(coord)
        else:
            x_1D = network.text.embed(token)
        hidden_1D = session.feed(x_1D, [1])
    suffix = PromptIds(special.templates.query.suffix)
    answer = decode_text(network, session, prefill(network, session, [suffix]), [answer_budget])
    return Reasoned(chunks, answer[0])


def reason(network: Network, session: Session, prompt: PromptIds, max_tokens: int) -> Reasoned:
    """Prompt, thoughts and answer, for a session of one sequence.

    Each of the two may take `max_tokens`; where the context has less, the answer gets up to half of it.
    """
    hidden_1D = prefill(network, session, [prompt])
    room = network.config.text.max_context - session.start - len(prompt.ids)
    room -= len(network.config.tokenizer.templates.query.suffix)
    think = max(1, min(max_tokens, room - min(max_tokens, room // 2)))
    return decode_reasoning(network, session, hidden_1D, think, max(1, min(max_tokens, room - think)))


def decode_regions(
    network: Network,
    session: Session,
    hidden_ND: Tensor,
    limits: Sequence[int],
    kind: Literal["point", "detect"],
) -> list[list[dict[str, float]]]:
    """Objects of each sequence: `{x, y}` or `{x_min, y_min, x_max, y_max}`, up to `limits[n]` of them."""
    found: list[list[dict[str, float]]] = [[] for _ in limits]
    active = list(range(len(limits)))
    while True:
        ended = network.text.logits(hidden_ND).argmax(dim=-1).eq(network.config.tokenizer.eos_id).tolist()
        going = [
            place for place, row in enumerate(active) if not ended[place] and len(found[row]) < limits[row]
        ]
        if not going:
            return found
        if len(going) < len(active):
            session.keep(going)
            active = [active[place] for place in going]
            hidden_ND = hidden_ND[going]
        hidden_ND, numbers = _decode_object(network, session, hidden_ND, kind)
        for row, values in zip(active, numbers, strict=True):
            found[row].append(_as_dict(values))


def _decode_object(
    network: Network, session: Session, hidden_ND: Tensor, kind: Literal["point", "detect"]
) -> tuple[Tensor, list[list[float]]]:
    """One object of each sequence: x, y and for boxes width and height; each is fed before the next is read."""
    region, ones = network.region, [1] * hidden_ND.shape[0]
    x = region.decode_coord(hidden_ND)
    hidden_ND = session.feed(region.embed_coord(x), ones)
    y = region.decode_coord(hidden_ND)
    hidden_ND = session.feed(region.embed_coord(y), ones)
    values = [x, y]
    if kind == "detect":
        size = region.decode_size(hidden_ND)
        hidden_ND = session.feed(region.embed_size(size), ones)
        values.append(size)
    numbers: list[list[float]] = torch.cat(values, dim=1).tolist()
    return hidden_ND, numbers


def _as_dict(values: list[float]) -> dict[str, float]:
    if len(values) == 2:
        return {"x": values[0], "y": values[1]}
    x, y, width, height = values
    return {"x_min": x - width / 2, "y_min": y - height / 2, "x_max": x + width / 2, "y_max": y + height / 2}
