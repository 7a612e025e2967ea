"""Which packets of a live stream to decode, so that the wanted pictures come out in time and few others. Pure."""

from __future__ import annotations

from collections import deque

from streamqa.capture.gop import Held, KeyframeSpacing, Step
from streamqa.capture.timeline import Mark

_ENOUGH = 1.05  # so many slides apart, keyframes do, with the pictures after one that came just too soon
_IN_TIME = 0.95  # of a slide: a keyframe that far behind the tick may come too late; 0.9 costs more
_OVERDUE = 1.5  # times the usual distance: no keyframe will come in time
_NEVER_NS = 2**62  # nobody wants anything: the sampler's way to say so
_SLIDES = 16


class WantedSpacing:
    """How far apart the times are for which pictures are wanted: the slide, as seen from the source."""

    def __init__(self) -> None:
        self._last_ns = 0
        self._distances: deque[int] = deque(maxlen=_SLIDES)

    def add(self, wanted_ns: int) -> None:
        """The time that is wanted now. The first one after 0 says nothing: it only names the grid."""
        if wanted_ns > self._last_ns > 0:
            self._distances.append(wanted_ns - self._last_ns)
        self._last_ns = wanted_ns

    @property
    def shortest_ns(self) -> int | None:
        """Of the last few; None before two ticks have passed."""
        return min(self._distances, default=None)


class LiveShortcut:
    """The way through a live stream: keyframes only, where they come often enough; else everything.

    While only keyframes are decoded, the packets since the last one are held, so that nothing is lost when more
    becomes wanted or keyframes become rare, and so that a tick just behind a keyframe gets its picture.
    """

    def __init__(self) -> None:
        self.gops = KeyframeSpacing()
        self._wanted = WantedSpacing()
        self._held = Held()  # from the last keyframe on, while only keyframes are decoded
        self._tried_ns: int | None = None  # the wanted time for which all that is held was decoded
        self.keyframes_only = False

    def add(self, mark: Mark, wanted_ns: int) -> list[Step]:
        """What to do when this packet arrives."""
        self._wanted.add(wanted_ns)
        is_start = mark.key and mark.shown
        if is_start:
            self.gops.add(mark.t_ns)
        few = self._are_keyframes_enough(wanted_ns)
        if not self.keyframes_only:
            if few and is_start:
                self.keyframes_only = True
                return [Step("drain"), *self._keyframe(mark, wanted_ns)]
            return [Step("feed", mark, whole=mark.key or mark.t_ns >= wanted_ns)]
        if is_start:
            self._held = Held()
            if few:
                return self._keyframe(mark, wanted_ns)
        self._held.add(mark)
        first = self._held.marks[0]
        if not few or self._held.is_over or mark.t_ns - first.t_ns > _OVERDUE * (self.gops.longest_ns or 0):
            self.keyframes_only = False
            return self._all_held(wanted_ns)
        if (
            self._tried_ns != wanted_ns
            and first.t_ns < wanted_ns <= mark.t_ns
            and self._would_miss(first, wanted_ns)
        ):
            self._tried_ns = wanted_ns
            return [*self._all_held(wanted_ns), Step("drain")]
        return []

    def _keyframe(self, mark: Mark, wanted_ns: int) -> list[Step]:
        self._held = Held([mark])
        if mark.t_ns < wanted_ns:
            return []
        # Drained, since it would come out only with the packets after it, where pictures are reordered.
        return [Step("feed", mark, flush=True), Step("drain")]

    def _all_held(self, wanted_ns: int) -> list[Step]:
        key = self._held.marks[0]
        return [
            Step("feed", mark, flush=mark is key, whole=mark.key or mark.t_ns >= wanted_ns)
            for mark in self._held.marks
            if not _is_shown_before(mark, key)  # predicted from what was not decoded
        ]

    def _are_keyframes_enough(self, wanted_ns: int) -> bool:
        distance_ns, slide_ns = self.gops.longest_ns, self._wanted.shortest_ns
        if distance_ns is None:
            return False
        return wanted_ns >= _NEVER_NS or (slide_ns is not None and distance_ns <= _ENOUGH * slide_ns)

    def _would_miss(self, key: Mark, wanted_ns: int) -> bool:
        """Whether the next keyframe may come only after the tick, or so near its end that a delay makes it so."""
        next_ns = key.t_ns + (self.gops.longest_ns or 0)
        return next_ns > wanted_ns + _IN_TIME * (self._wanted.shortest_ns or 0)


def _is_shown_before(mark: Mark, key: Mark) -> bool:
    return mark.pts is not None and key.pts is not None and mark.pts < key.pts
