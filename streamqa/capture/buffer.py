"""The one hand-off from capture to engine: bounded, counted, fair.

Two policies, chosen by what a frame is worth later. A live source keeps its newest unread frame only: an
answer about an old picture of a camera is worth nothing, and a queue would make all later answers late too.
A recording waits: every frame that was kept is answered, however slow the model is.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from streamqa.metrics import Metrics
from streamqa.types import Frame

_LOOK_UP_S = 0.1  # how often a waiting recording looks at its stop event


@dataclass(slots=True, eq=False)
class _Lane:
    """The unread frames of one source."""

    live: bool
    capacity: int
    frames: deque[Frame] = field(default_factory=deque)
    finished: bool = False


class FrameBuffer:
    """Frames of all sources between their threads and the engine. Thread-safe."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._changed = threading.Condition()
        self._lanes: dict[str, _Lane] = {}
        self._order: deque[str] = deque()  # whose turn it is
        self._closed = False

    def add(self, source: str, live: bool, capacity: int = 16) -> None:
        """Make room for `source`; `capacity` bounds a recording's unread frames, a live source has one.

        Raises:
            ValueError: the source is there already, or capacity is below 1.
        """
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        with self._changed:
            if source in self._lanes:
                raise ValueError(f"source {source!r} is in the buffer already")
            self._lanes[source] = _Lane(live, capacity)
            self._order.append(source)

    def put(self, frame: Frame, stop: threading.Event | None = None) -> None:
        """Hand over a frame: a live source's unread one is replaced and counted, a recording waits for room.

        Returns without handing it over once `stop` is set or the buffer or the source is finished.

        Raises:
            KeyError: the frame's source was never added.
        """
        with self._changed:
            lane = self._lanes[frame.source]
            while not lane.live and len(lane.frames) >= lane.capacity and not self._over(lane, stop):
                self._changed.wait(_LOOK_UP_S)
            if self._over(lane, stop):
                return
            if lane.live and lane.frames:
                lane.frames.clear()
                self._metrics.frames_dropped.labels(frame.source).inc()
            lane.frames.append(frame)
            self._changed.notify_all()

    def take(self, max_frames: int, timeout_s: float) -> list[Frame]:
        """Up to `max_frames` frames, one of each source in turn, each source's own in their order.

        Waits up to `timeout_s` for the first one. An empty list means that the time is over, or, at once, that
        the buffer is closed or `exhausted`.
        """
        with self._changed:
            self._changed.wait_for(self._has_news, timeout_s)
            if self._closed:
                return []
            frames: list[Frame] = []
            while len(frames) < max_frames and (lane := self._next()) is not None:
                frames.append(lane.frames.popleft())
            if frames:
                self._changed.notify_all()
            return frames

    def finish(self, source: str) -> None:
        """No more frames will come from `source`; what is unread can still be taken."""
        with self._changed:
            self._lanes[source].finished = True
            self._changed.notify_all()

    @property
    def exhausted(self) -> bool:
        """Whether every source has finished and nothing is unread; true also with no source at all."""
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
        return all(lane.finished and not lane.frames for lane in self._lanes.values())

    def _has_news(self) -> bool:
        return self._closed or self._exhausted() or any(lane.frames for lane in self._lanes.values())

    def _next(self) -> _Lane | None:
        """The lane whose turn it is, among those with frames; it goes to the end of the line."""
        for source in self._order:
            if self._lanes[source].frames:
                self._order.remove(source)
                self._order.append(source)
                return self._lanes[source]
        return None
