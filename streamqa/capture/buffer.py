"""The one hand-off from capture to engine: bounded, counted, fair.

Two policies, chosen by what a frame is worth later. A live source keeps its newest unread frame only: an
answer about an old picture of a camera is worth nothing, and a queue would make all later answers late too.
A recording waits: every frame that was kept is answered, however slow the model is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from streamqa.metrics import Metrics
from streamqa.types import Frame

_LOOK_UP_S = 0.1  # how often a waiting recording looks at its stop event


class Offer(NamedTuple):
    """An unread frame."""

    frame: Frame
    priority: int
    live: bool


Choose: TypeAlias = Callable[[Sequence[Offer]], int]  # how many to take, from the first on


@dataclass(slots=True, eq=False)
class _Lane:
    """The unread frames of one source."""

    live: bool
    capacity: int
    priority: int
    frames: deque[Frame] = field(default_factory=deque)
    finished: bool = False


class FrameBuffer:
    """Frames of all sources between their threads and the engine. Thread-safe."""

    def __init__(self, metrics: Metrics, capacity: int = 16, *, stays: bool = False) -> None:
        """`capacity` bounds a recording's unread frames; a live source has one.

        `stays`: sources may be added at any time, so it is not exhausted before it is closed.

        Raises:
            ValueError: capacity is below 1.
        """
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self._metrics = metrics
        self._capacity = capacity
        self._stays = stays
        self._changed = threading.Condition()
        self._lanes: dict[str, _Lane] = {}
        self._order: deque[str] = deque()  # whose turn it is
        self._closed = self._woken = False

    def add(self, source: str, live: bool, priority: int = 0) -> None:
        """Make room for `source`. A higher `priority` is always served first, even if others then starve.

        Raises:
            ValueError: the source is there already.
        """
        with self._changed:
            if source in self._lanes:
                raise ValueError(f"source {source!r} is in the buffer already")
            self._lanes[source] = _Lane(live, self._capacity, priority)
            self._order.append(source)

    def put(self, frame: Frame, stop: threading.Event | None = None) -> None:
        """Hand over a frame: a live source's unread one is replaced and counted, a recording waits for room.

        Returns without handing it over once `stop` is set, the buffer or the source is finished, or the source is
        not there (any more).
        """
        with self._changed:
            lane = self._lanes.get(frame.source)
            if lane is None:
                return
            while not lane.live and len(lane.frames) >= lane.capacity and not self._over(lane, stop):
                self._changed.wait(_LOOK_UP_S)
            if self._over(lane, stop):
                return
            if lane.live and lane.frames:
                lane.frames.clear()
                self._metrics.frames_dropped.labels(frame.source).inc()
            lane.frames.append(frame)
            self._changed.notify_all()

    def take(self, choose: Choose, timeout_s: float) -> list[Frame]:
        """The first so many of the unread frames as `choose` says.

        They are offered by priority, then one of each source in turn, each source's own in their order; whoever was
        served goes to the end of the line of its priority. `choose` is called with the buffer locked, so that what
        it sees is what is taken: it must be quick and must not call back. Whenever something changes while
        it says 0, it is asked again.

        Waits up to `timeout_s` for a frame. An empty list means that the time is over, or, at once, that the buffer
        is closed, `exhausted` or was woken.
        """
        offers: list[Offer] = []

        def ready() -> bool:
            offers.clear()
            if self._woken or self._closed or self._exhausted():
                return True
            offers.extend(self._offers())
            if offers:
                del offers[max(0, choose(offers)) :]
            return bool(offers)

        with self._changed:
            self._changed.wait_for(ready, timeout_s)
            self._woken = False
            for offer in offers:
                source = offer.frame.source
                self._lanes[source].frames.popleft()
                self._order.remove(source)
                self._order.append(source)
            if offers:
                self._changed.notify_all()
            return [offer.frame for offer in offers]

    def wake(self) -> None:
        """Let whoever waits in `take`, or comes next, return at once: there is something else to do."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def finish(self, source: str) -> None:
        """No more frames will come from `source`; what is unread can still be taken."""
        with self._changed:
            self._lanes[source].finished = True
            self._changed.notify_all()

    def is_drained(self, source: str) -> bool:
        """Whether nothing of `source` is unread, and nothing will come; true also where it is not there."""
        with self._changed:
            lane = self._lanes.get(source)
            return lane is None or (lane.finished and not lane.frames)

    def remove(self, source: str) -> None:
        """Forget `source`; what is unread is dropped, and counted. Nothing happens where it is not there."""
        with self._changed:
            lane = self._lanes.pop(source, None)
            if lane is None:
                return
            lane.finished = True  # for whoever waits in `put`
            self._metrics.frames_dropped.labels(source).inc(len(lane.frames))
            self._order.remove(source)
            self._changed.notify_all()

    @property
    def exhausted(self) -> bool:
        """Whether every source has finished and nothing is unread; true also with no source at all.

        Never true before it is closed where sources may still be added.
        """
        with self._changed:
            return self._exhausted()

    def close(self) -> None:
        """Wake everybody; nothing is taken or put any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _over(self, lane: _Lane, stop: threading.Event | None) -> bool:
        return self._closed or lane.finished or (stop is not None and stop.is_set())

    def _exhausted(self) -> bool:
        if self._stays:
            return self._closed
        return all(lane.finished and not lane.frames for lane in self._lanes.values())

    def _offers(self) -> Iterator[Offer]:
        """Every unread frame in the order in which they are to be served."""
        for priority in sorted({lane.priority for lane in self._lanes.values()}, reverse=True):
            lanes = [lane for s in self._order if (lane := self._lanes[s]).priority == priority]
            for turn in range(max(len(lane.frames) for lane in lanes)):
                for lane in lanes:
                    if turn < len(lane.frames):
                        yield Offer(lane.frames[turn], priority, lane.live)
