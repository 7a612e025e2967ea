"""Pictures of which nothing is left, told by the hole between their neighbours' timestamps. Pure.

Some containers (Matroska, transport streams) hide damage well: what cannot be read is passed over, and no error, no
flag and no index says that it was ever there. A stream whose pictures come evenly gives it away all the same.
"""

from __future__ import annotations

import heapq
from collections import Counter
from typing import NamedTuple

from streamqa.types import NS_PER_S

_REORDERED = 32  # more than any codec shows its pictures out of the order of decoding
_STEP_NS = 100_000  # distances are told apart as finely as this; Matroska rounds to 1 ms
_FEW = 10  # distances; of fewer nobody knows whether they are even
_KINDS = 4096  # different distances that are remembered; a stream that has more is not even
_EVEN = 0.9  # so many of an even stream's distances are half to one and a half times the usual one


class Missing(NamedTuple):
    """What seems to be missing."""

    pictures: int
    seconds: float  # for which there are none


class Gaps:
    """Looks for holes between the pictures of a recording; for streams at a variable rate it finds none."""

    def __init__(self, longest_ns: int | None = None) -> None:
        """`longest_ns`: a longer hole is a jump of the timestamps; None: they do not jump."""
        self._longest_ns = longest_ns
        self._waiting: list[int] = []
        self._last_ns: int | None = None
        self._distances: Counter[int] = Counter()  # in steps

    def add(self, pts_ns: int) -> None:
        """The next packet, in the order of decoding, is shown at this time."""
        heapq.heappush(self._waiting, pts_ns)
        if len(self._waiting) > _REORDERED:
            self._pass(heapq.heappop(self._waiting))

    def found(self) -> Missing:
        """What is missing between the first and the last picture so far. Call it at the end: it ends the order."""
        while self._waiting:
            self._pass(heapq.heappop(self._waiting))
        count = self._distances.total()
        usual = self._usual(count)
        near = sum(n for distance, n in self._distances.items() if usual / 2 <= distance <= 1.5 * usual)
        if count < _FEW or near < _EVEN * count:
            return Missing(0, 0.0)
        holes = {distance: n for distance, n in self._distances.items() if distance > 1.5 * usual}
        pictures = sum(n * (round(distance / usual) - 1) for distance, n in holes.items())
        without_ns = sum(n * (distance - usual) for distance, n in holes.items()) * _STEP_NS
        return Missing(pictures, without_ns / NS_PER_S)

    def _pass(self, pts_ns: int) -> None:
        last_ns, self._last_ns = self._last_ns, pts_ns
        if last_ns is None or pts_ns <= last_ns:
            return
        distance_ns = pts_ns - last_ns
        steps = round(distance_ns / _STEP_NS)
        if self._longest_ns is not None and distance_ns > self._longest_ns:
            return
        if steps in self._distances or len(self._distances) < _KINDS:
            self._distances[steps] += 1

    def _usual(self, count: int) -> float:
        """The median distance."""
        passed = 0
        for distance in sorted(self._distances):
            passed += self._distances[distance]
            if 2 * passed >= count:
                return distance
        return 0.0
