"""How many frames go into the next batch. Pure: what a batch costs is learned from the ones before it.

A frame is one picture to the model, or one for each zone that is asked about. Frames are offered in the order in
which they are to be served, and a batch takes the first so many of them. It grows while it fits into the model's
memory and still ends before the earliest deadline of the frames inside. A deadline is when the source's next tick
comes: a frame answered by then leaves the model free for the next one.

Small batches pay the fixed cost more often. Kept small for the sake of deadlines they can fall behind cameras that
larger ones would keep up with, and then all deadlines are missed, and ticks, too. So deadlines never hold a
batch below the size that keeps up with the frames that come. (Simulated: 8 cameras at 1 frame/s, 0.2 s + 0.09 s a
frame, lose 1 % of their ticks where it was 20 %; 20 cameras, 0.5 s + 0.05 s, get 97 % of what the model can do where
it was 46 %.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from streamqa.types import NS_PER_S


class Work(NamedTuple):
    """What a frame, or a batch, asks of the model."""

    pictures: float
    prompts: float
    size: float  # megapixels that are looked at, each picture's at most 1: models scale down what is larger

    def plus(self, other: Work) -> Work:
        """Both together."""
        return Work(self.pictures + other.pictures, self.prompts + other.prompts, self.size + other.size)


NOTHING = Work(0, 0, 0)
Cost: TypeAlias = Callable[[Work], float]  # ns from handing it over to its answers

# Beyond deadlines a batch grows only as long as that pays: until the fixed cost is a fifth of it.
PAYS = 5
_SPARE = 1.1  # a batch size keeps up when it would with so many times the frames
_GONE_NS = 60 * NS_PER_S  # and five ticks: a source that has offered nothing for so long is no load any more
_CALM = 16  # batches without trouble, then one picture more
_KEPT = 48  # batches that an estimate rests on
_FADE = 0.95  # what a batch weighs less than the one after it: a machine's speed changes
_ROUNDS = 4  # of weighting outliers down
_PRIOR = 0.1  # weight of the prior against one batch: it only decides what the batches leave open

_Vector: TypeAlias = npt.NDArray[np.float64]


class Candidate(NamedTuple):
    """A frame that waits."""

    priority: int
    deadline_ns: int | None  # monotonic clock; None: a recording, which can wait
    work: Work  # without prompts it costs nothing


def batch_size(
    candidates: Iterable[Candidate],
    limit: int,
    now_ns: int,
    cost: Cost,
    needed: Callable[[int], float] = lambda priority: 0.0,
) -> int:
    """How many of `candidates`, from the first on, go into one batch; at least one where there is one.

    At most `limit` pictures, but for a first frame that has more. The batch ends, by `cost`, before the earliest
    deadline in it, with two exceptions. Up to `needed` pictures of one priority join whatever the deadlines of that
    priority, never against those of a higher one. And a frame that could not meet its deadline even alone is late
    whatever happens: it lets others join while that pays, but none of a lower priority.
    """
    taken, work = 0, NOTHING
    higher_ns = own_ns = float("inf")  # until when the batch must end, for higher priorities and for this one
    priority: int | None = None
    late = False  # whether something in it is
    for candidate in candidates:
        if candidate.work.prompts:
            if priority is not None and candidate.priority != priority:
                higher_ns, own_ns = min(higher_ns, own_ns), float("inf")
                if late:
                    break
            bound_ns, is_late = _bound(candidate, now_ns, cost)
            more = work.plus(candidate.work)
            if work.pictures:
                ends_ns = now_ns + cost(more)
                free = more.pictures <= needed(candidate.priority)
                if more.pictures > limit or ends_ns > (
                    higher_ns if free else min(higher_ns, own_ns, bound_ns)
                ):
                    break
            work, own_ns = more, min(own_ns, bound_ns)
            late, priority = late or is_late, candidate.priority
        taken += 1
    return taken


def _bound(candidate: Candidate, now_ns: int, cost: Cost) -> tuple[float, bool]:
    """Until when a batch with this frame has to end, and whether that is later than its deadline."""
    if candidate.deadline_ns is None:
        return float("inf"), False
    alone_ns = cost(candidate.work)
    if now_ns + alone_ns <= candidate.deadline_ns:
        return candidate.deadline_ns, False
    return now_ns + max(alone_ns, PAYS * cost(NOTHING)), True


class _Demand(NamedTuple):
    """What one source asks for."""

    priority: int
    every_ns: int
    work: Work  # of one frame
    seen_ns: int


class Load:
    """How many frames come, and the batch size that keeps up with them."""

    def __init__(self) -> None:
        self._demands: dict[str, _Demand] = {}

    def saw(self, source: str, candidate: Candidate, every_ns: int, now_ns: int) -> None:
        """A live source offered a frame; the next one comes `every_ns` after it."""
        self._demands[source] = _Demand(candidate.priority, every_ns, candidate.work, now_ns)

    def needed(self, priority: int, now_ns: int, cost: Cost) -> float:
        """Pictures in a batch that keeps up with all sources of at least `priority`, or, if less, pays."""
        there = [
            (1 / demand.every_ns, demand.work)
            for demand in self._demands.values()
            if demand.priority >= priority and now_ns - demand.seen_ns < _GONE_NS + 5 * demand.every_ns
        ]
        if not there:
            return 0.0
        rate = sum(frames * work.pictures for frames, work in there)  # pictures per ns
        mean = Work(
            1,
            sum(frames * work.prompts for frames, work in there) / rate,
            sum(frames * work.size for frames, work in there) / rate,
        )
        fixed_ns = cost(NOTHING)
        each_ns = cost(mean) - fixed_ns
        rate *= _SPARE
        keeps_up = rate * fixed_ns / (1 - rate * each_ns) if rate * each_ns < 1 else float("inf")
        return min(keeps_up, (PAYS - 1) * fixed_ns / each_ns if each_ns else float("inf"))


class Room:
    """How many pictures may go in at once: what the model says, less for a while after it ran out of memory."""

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError(f"a batch has at least 1 picture, got {most}")
        self._most = self.limit = most
        self._calm = 0

    def held(self) -> None:
        """A batch was answered without trouble; after 16 of them in a row one picture more may go in."""
        self._calm += 1
        if self._calm >= _CALM:
            self._calm, self.limit = 0, min(self._most, self.limit + 1)

    def shrink(self, fits: int) -> None:
        """Memory ran out; `fits` is the most pictures that went through."""
        self._calm, self.limit = 0, max(1, min(self.limit, fits))


class Costs:
    """What a batch costs: a fixed part, and one for each picture, prompt and megapixel; learned, never negative.

    A weighted least-squares fit to the newest batches, newer ones weighing more, with outliers weighted down (a
    first batch compiles, a machine hiccups). Where they say nothing, since all were of one size, half is taken
    for fixed: then the next batch may be larger, and that shows what is.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float, float, float, float]] = deque(maxlen=_KEPT)
        self._parts: _Vector | None = None  # ns: fixed, per picture, per prompt, per megapixel
        self._new = 0  # batches seen since they were computed

    def observe(self, work: Work, took_ns: float) -> None:
        """A batch was answered `took_ns` after it was handed over."""
        self._seen.append((1.0, *work, float(took_ns)))
        self._new += 1

    def predict(self, work: Work) -> float:
        """ns from handing it over to its answers; 0 while nothing is known. Of `NOTHING`: the fixed part."""
        if not self._seen:
            return 0.0
        # A fit takes a few tenths of a millisecond: once much is known, not after every batch.
        if self._parts is None or self._new > len(self._seen) // 8:
            self._new, seen = 0, np.array(self._seen)
            self._parts = _fit(seen[:, :-1], seen[:, -1])
        fixed, *parts = self._parts.tolist()
        return float(fixed + sum(part * amount for part, amount in zip(parts, work, strict=True)))


def _fit(shapes: _Vector, took: _Vector) -> _Vector:
    """The parts, (4,) in ns, of batches of shapes (n, 4) that took (n,) ns."""
    age: _Vector = _FADE ** np.arange(len(took) - 1, -1, -1, dtype=np.float64)
    typical = float(np.median(took / shapes[:, 1]))
    prior = np.array([typical / 2, typical / 2, 0.0, 0.0])
    weights = age
    parts = prior
    for _ in range(_ROUNDS):
        parts = _positive(shapes, took, weights, prior)
        off = np.abs(shapes @ parts - took)
        usual = max(1.5 * float(np.median(off)), 0.02 * float(np.median(took)), 1.0)
        weights = age * np.minimum(1.0, usual / np.maximum(off, 1.0)) ** 2
    return parts


def _positive(shapes: _Vector, took: _Vector, weights: _Vector, prior: _Vector) -> _Vector:
    """A weighted ridge fit around `prior` in which no part is negative: those that would be are left out."""
    used = np.ones(len(prior), bool)
    parts = np.zeros(len(prior))
    while used.any():
        part = shapes[:, used]
        square = part.T @ (part * weights[:, None]) + _PRIOR * np.eye(int(used.sum()))
        rest = part.T @ (weights * (took - part @ prior[used]))
        parts = np.zeros(len(prior))
        parts[used] = prior[used] + np.linalg.solve(square, rest)
        if (parts >= 0).all():
            break
        used &= parts > 0
    return np.maximum(parts, 0.0)
