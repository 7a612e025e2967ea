"""Answers under way, without a tensor: each is told what the newest hidden state holds, and says what to feed.

What random weights and golden data would hardly meet (a cap that coincides with the end, a place at the last thought)
is decided here, and so tested without a model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from math import isfinite
from typing import Literal, Protocol, TypedDict

from streamqa.model.moondream.config import Ids, TokenizerConfig
from streamqa.model.moondream.prompts import PromptIds

REGION_FEEDS = {"point": 2, "detect": 3}  # positions that one object takes

Wants = Literal["token", "coord", "size"]


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


class Run(Protocol):
    """An answer under way: what it reads from the newest hidden state, and what it then feeds."""

    @property
    def wants(self) -> Wants | None:
        """What is to be read from the hidden state; None once it knows what to feed, or has ended."""
        ...

    @property
    def banned(self) -> Ids:
        """Tokens that must not be chosen now."""
        ...

    @property
    def feeds(self) -> PromptIds | None:
        """What the decoder is fed next; None when the answer has ended."""
        ...

    def on_token(self, token: int, logprob: float) -> None:
        """The likeliest token that is not banned, and its log-probability as if none were."""
        ...

    def on_coord(self, value: float) -> None:
        """The coordinate."""
        ...

    def on_size(self, width: float, height: float) -> None:
        """Width and height."""
        ...

    def fed(self) -> None:
        """What `feeds` said was fed; there is a new hidden state."""
        ...


class TextRun:
    """A text of up to `budget` >= 1 tokens. The first may be any; `answer_id` never comes later: trained so."""

    def __init__(self, special: TokenizerConfig, budget: int) -> None:
        self._special, self._budget = special, budget
        self.ids: list[int] = []
        self._total, self._chosen = 0.0, 0
        self._finish: Literal["eos", "length"] = "length"
        self.wants: Wants | None = "token"
        self.feeds: PromptIds | None = None

    @property
    def banned(self) -> Ids:
        """`answer_id`, but for the first token."""
        return (self._special.answer_id,) if self.ids else ()

    @property
    def decoded(self) -> Decoded:
        """What it has come to."""
        return Decoded(tuple(self.ids), self._finish, self._total / max(1, self._chosen))

    def verify(self, draft: Sequence[int], chosen: Sequence[tuple[int, float]]) -> int:
        """Take what greedy decoding says after the prompt and after each token of a draft, as far as they agree.

        Args:
            draft: tokens that were fed after the prompt, no more than the budget.
            chosen: token and log-probability after the prompt and after each token of the draft.

        Returns:
            How many tokens of the draft hold; what was fed after them is to be forgotten.
        """
        for held, (token, logprob) in enumerate(chosen):
            self.on_token(token, logprob)
            if self.feeds is None or held == len(draft) or token != draft[held]:
                return held
        raise ValueError("a draft of n tokens needs n + 1 choices")

    def on_token(self, token: int, logprob: float) -> None:
        """The next token, or the end."""
        self._total += logprob
        self._chosen += 1
        self.wants = self.feeds = None
        if token == self._special.eos_id:
            self._finish = "eos"
            return
        self.ids.append(token)
        if len(self.ids) < self._budget:
            self.feeds = PromptIds((token,))

    def on_coord(self, value: float) -> None:
        """Never asked for."""

    def on_size(self, width: float, height: float) -> None:
        """Never asked for."""

    def fed(self) -> None:
        """The next token is to be read."""
        self.wants, self.feeds = "token", None


class ReasonRun:
    """Thoughts of up to `think` tokens, then an answer of up to `answer`, both at least 1.

    Where the thoughts point at a place, the coordinate is fed in place of its token.
    """

    def __init__(self, special: TokenizerConfig, think: int, answer: int) -> None:
        self._special, self._think = special, think
        self._answer = TextRun(special, answer)
        self._thinking = True
        self.chunks = [Chunk()]
        self._count = 0
        self.banned: Ids = ()
        self.wants: Wants | None = "token"
        self.feeds: PromptIds | None = None

    @property
    def reasoned(self) -> Reasoned:
        """What it has come to."""
        return Reasoned(self.chunks, self._answer.decoded)

    def on_token(self, token: int, logprob: float) -> None:
        """The next thought, or the next token of the answer."""
        special = self._special
        if not self._thinking:
            self._answer.on_token(token, logprob)
            self.wants, self.feeds = self._answer.wants, self._answer.feeds
            return
        self.banned = (special.eos_id, special.size_id)
        if token == special.answer_id:
            self._go_on(PromptIds(()), ended=True)
            return
        if token in (special.start_ground_points_id, special.end_ground_id):
            self.chunks.append(Chunk())
        self.chunks[-1].ids.append(token)
        self._count += 1
        if token == special.coord_id:
            self.wants = "coord"  # in the very hidden state that chose the token
        else:
            self._go_on(PromptIds((token,)), ended=self._count == self._think)

    def on_coord(self, value: float) -> None:
        """The place that the newest thought speaks of."""
        self.chunks[-1].coords.append(value)
        self._go_on(PromptIds((self._special.coord_id,), (value,)), ended=self._count == self._think)

    def on_size(self, width: float, height: float) -> None:
        """Never asked for."""

    def fed(self) -> None:
        """The next token is to be read."""
        self.wants, self.feeds = "token", None
        if not self._thinking:
            self._answer.fed()
            self.banned = self._answer.banned

    def _go_on(self, thought: PromptIds, ended: bool) -> None:
        """Feed a thought, and after the last one what opens the answer."""
        self.wants = None
        suffix = self._special.templates.query.suffix if ended else ()
        self._thinking = not ended
        self.feeds = PromptIds((*thought.ids, *suffix), thought.coords)


class ObjectsRun:
    """Points or boxes, up to `limit` of them: coordinates, and for boxes sizes, each fed before the next is read."""

    banned: Ids = ()

    def __init__(self, special: TokenizerConfig, limit: int, kind: Literal["point", "detect"]) -> None:
        self._special, self._limit, self._kind = special, limit, kind
        self.found: list[dict[str, float]] = []
        self.sound = (
            True  # of numbers that are not finite the likeliest token is eos: "nothing there" would be a lie
        )
        self._x: float | None = None
        self._y: float | None = None
        self.wants: Wants | None = "token" if limit > 0 else None
        self.feeds: PromptIds | None = None

    def on_token(self, token: int, logprob: float) -> None:
        """Whether there is another object."""
        self.sound = isfinite(logprob)
        self.wants = None if token == self._special.eos_id or not self.sound else "coord"

    def on_coord(self, value: float) -> None:
        """The object's x, then its y."""
        self.wants, self.feeds = None, PromptIds((self._special.coord_id,), (value,))
        if self._x is None:
            self._x = value
        elif self._kind == "detect":
            self._y = value
        else:
            self._add({"x": self._x, "y": value})

    def on_size(self, width: float, height: float) -> None:
        """The box's width and height."""
        assert self._x is not None
        assert self._y is not None
        x, y = self._x, self._y
        self.wants, self.feeds = None, PromptIds((self._special.size_id,), (), ((width, height),))
        self._add(
            {"x_min": x - width / 2, "y_min": y - height / 2, "x_max": x + width / 2, "y_max": y + height / 2}
        )

    def fed(self) -> None:
        """What comes next: the other coordinate, the size, or another object."""
        self.feeds = None
        self.wants = "token" if self._x is None else "coord" if self._y is None else "size"

    @property
    def full(self) -> bool:
        """Whether there was no room for another object."""
        return len(self.found) >= self._limit

    def _add(self, item: dict[str, float]) -> None:
        """Note an object; after the last one nothing is fed."""
        self.found.append(item)
        self._x = self._y = None
        if self.full:
            self.feeds = None
