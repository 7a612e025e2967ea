"""How many frames go into the next batch. Pure: what a batch costs is learned from the ones before it.

Frames are offered in the order in which they are to be served, and a batch takes the first so many of them. It
grows while it fits into the model's memory and still ends before the earliest deadline of the frames inside. A
deadline is when the source's next tick comes: a frame answered by then leaves the model free for the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Cost: TypeAlias = Callable[[int, int], float]  # (frames, prompts) -> ns until they are answered

# What is late already may wait for others as long as that pays: the fixed cost is then a fifth of a batch.
LATE_SHARE = 5
_CALM = 16  # batches without trouble, then one frame more
_KEPT = 48  # batches that an estimate rests on
_FADE = 0.95  # what a batch weighs less than the one after it: a machine's speed changes
_ROUNDS = 4  # of weighting outliers down
_PRIOR = 0.1  # weight of the prior against one batch: it only decides what the batches leave open

_Vector: TypeAlias = npt.NDArray[np.float64]


class Candidate(NamedTuple):
    """A frame that waits."""

    priority: int
    deadline_ns: int | None  # monotonic clock; None: a recording, which can wait
    prompts: int  # due on it; 0: it costs nothing


def batch_size(candidates: Iterable[Candidate], limit: int, now_ns: int, cost: Cost) -> int:
    """How many of `candidates`, from the first on, go into one batch; at least one where there is one.

    At most `limit` frames with prompts. The batch ends, by `cost`, before the earliest deadline in it. A frame that
    could not meet its deadline even alone is late whatever happens, and does not bind the batch by it:
    otherwise overload would make batches small when they must be large. It lets others join as long as the
    fixed cost is more than a fifth of the batch, after which they would only delay it, and never one of lower
    priority.
    """
    taken = frames = prompts = 0
    until_ns = float("inf")
    late_above: int | None = None  # priority of what is late
    for candidate in candidates:
        if candidate.prompts:
            bound_ns, late = _bound(candidate, now_ns, cost)
            if frames:
                until = min(until_ns, bound_ns)
                if frames >= limit or (late_above is not None and candidate.priority < late_above):
                    break
                if until < float("inf") and now_ns + cost(frames + 1, prompts + candidate.prompts) > until:
                    break
            frames, prompts = frames + 1, prompts + candidate.prompts
            until_ns = min(until_ns, bound_ns)
            late_above = candidate.priority if late else late_above
        taken += 1
    return taken


def _bound(candidate: Candidate, now_ns: int, cost: Cost) -> tuple[float, bool]:
    """Until when a batch with this frame has to end, and whether that is later than its deadline."""
    if candidate.deadline_ns is None:
        return float("inf"), False
    alone_ns = cost(1, candidate.prompts)
    if now_ns + alone_ns <= candidate.deadline_ns:
        return candidate.deadline_ns, False
    return now_ns + max(alone_ns, LATE_SHARE * cost(0, 0)), True


class Room:
    """How many frames may go in at once: what the model says, less for a while after it ran out of memory."""

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError(f"a batch has at least 1 frame, got {most}")
        self._most = self.limit = most
        self._calm = 0

    def held(self) -> None:
        """A batch was answered without trouble; after 16 of them in a row one frame more may go in."""
        self._calm += 1
        if self._calm >= _CALM:
            self._calm, self.limit = 0, min(self._most, self.limit + 1)

    def shrink(self, fits: int) -> None:
        """Memory ran out; `fits` is the most frames that went through."""
        self._calm, self.limit = 0, max(1, min(self.limit, fits))


class Costs:
    """What a batch costs: a fixed part, one for each frame, one for each prompt; learned, never negative.

    A weighted least-squares fit to the newest batches, newer ones weighing more, with outliers weighted down (a
    first batch compiles, a machine hiccups). Where they say nothing, since all were of one size, half is taken
    for fixed: then the next batch may be larger, and that shows what is.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float, float, float]] = deque(maxlen=_KEPT)
        self._parts: _Vector | None = None  # ns: fixed, per frame, per prompt; None: to be computed

    def observe(self, frames: int, prompts: int, took_ns: float) -> None:
        """A batch of `frames` with `prompts` in all was answered `took_ns` after it was handed over."""
        self._seen.append((1.0, float(frames), float(prompts), float(took_ns)))
        self._parts = None

    def predict(self, frames: int, prompts: int) -> float:
        """ns from handing over such a batch to its answers; 0 while nothing is known. (0, 0): the fixed part."""
        if not self._seen:
            return 0.0
        if self._parts is None:
            seen = np.array(self._seen)
            self._parts = _fit(seen[:, :3], seen[:, 3])
        fixed, per_frame, per_prompt = self._parts
        return float(fixed + frames * per_frame + prompts * per_prompt)


def _fit(shapes: _Vector, took: _Vector) -> _Vector:
    """The three parts, (3,) in ns, of batches of shapes (n, 3) that took (n,) ns."""
    age: _Vector = _FADE ** np.arange(len(took) - 1, -1, -1, dtype=np.float64)
    typical = float(np.median(took / shapes[:, 1]))
    prior = np.array([typical / 2, typical / 2, 0.0])
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
    used = np.ones(3, bool)
    parts = np.zeros(3)
    while used.any():
        part = shapes[:, used]
        square = part.T @ (part * weights[:, None]) + _PRIOR * np.eye(int(used.sum()))
        rest = part.T @ (weights * (took - part @ prior[used]))
        parts = np.zeros(3)
        parts[used] = prior[used] + np.linalg.solve(square, rest)
        if (parts >= 0).all():
            break
        used &= parts > 0
    return np.maximum(parts, 0.0)
