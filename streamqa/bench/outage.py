"""How soon a camera that fails is reported, how soon it is back, and what two hundred reconnects leave behind.

A real camera process is killed, swallowed (SIGSTOP) or frozen while the line's own capture watches it. All times are
of the system's monotonic clock, which the two processes share: how soon there are frames again is measured from the
moment in which the camera took the connection, as it says itself.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from streamqa.bench.camera_process import CameraProcess
from streamqa.bench.line import rss_bytes
from streamqa.capture.buffer import FrameBuffer
from streamqa.capture.source import SourceSpec
from streamqa.capture.sources import Sources
from streamqa.capture.supervisor import Ends
from streamqa.errors import StreamQAError
from streamqa.metrics import Metrics
from streamqa.pipeline import WATCH_S
from streamqa.records import SourceStatus
from streamqa.types import NS_PER_S, utc_now

_EVERY_NS = NS_PER_S // 10
_PATIENCE_S = 60.0
_LOOK_UP_S = 0.05
_NAME = "camera"

T = TypeVar("T")


class Told(NamedTuple):
    """A change of state, and when it was reported."""

    state: str
    reason: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Outage:
    """What became of one fault."""

    fault: str
    told_s: float  # from the fault to its first record
    state: str  # which said this
    reason: str
    accepted: int  # connections that the camera took until there was a frame again
    back_s: float  # from the last of these to that frame


@dataclass(frozen=True, slots=True)
class Growth:
    """What a number of reconnects left behind, in this process."""

    reconnects: int
    seconds: float
    rss_bytes: int  # more than before
    descriptors: int
    threads: int


class Watcher:
    """One camera, watched as a line watches it, and what happened."""

    def __init__(self, spec: SourceSpec) -> None:
        self._news = threading.Condition()
        self._told: list[Told] = []
        self._frame_s: list[float] = []  # when each frame was handed over
        self._stop = threading.Event()
        metrics = Metrics()
        self._buffer = FrameBuffer(metrics, stays=True)
        self._sources = Sources(Ends(self._buffer, self._report, metrics), lambda _: [_EVERY_NS])
        self._sources.add(spec)
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._take, self._watch)]

    def start(self) -> None:
        """Begin to watch."""
        self._sources.start()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Disconnect."""
        self._stop.set()
        self._sources.stop(time.monotonic() + 10.0)
        self._buffer.close()
        for thread in self._threads:
            thread.join()

    def told(self, since_s: float, states: tuple[str, ...]) -> Told:
        """The first change into one of `states` after `since_s`.

        Raises:
            StreamQAError: none comes within a minute.
        """
        return self._first(
            lambda: next((t for t in self._told if t.at_s >= since_s and t.state in states), None), states
        )

    def frame(self, since_s: float) -> float:
        """When the first frame after `since_s` was handed over.

        Raises:
            StreamQAError: none comes within a minute.
        """
        return self._first(lambda: next((s for s in self._frame_s if s >= since_s), None), "a frame")

    def reconnect_now(self) -> None:
        """Do not wait for the backoff."""
        self._sources.pause(_NAME)
        self._sources.resume(_NAME)

    def forget(self) -> None:
        """Drop what happened so far."""
        with self._news:
            self._told.clear()
            self._frame_s.clear()

    def _first(self, find: Callable[[], T | None], what: object) -> T:
        end_s = time.monotonic() + _PATIENCE_S
        with self._news:
            while (found := find()) is None:
                if not self._news.wait(end_s - time.monotonic()):
                    raise StreamQAError(f"bench: waited for {what}; it was told: {self._told[-5:]}")
        return found

    def _report(self, status: SourceStatus) -> None:
        with self._news:
            self._told.append(Told(status.state, status.reason, time.monotonic()))
            self._news.notify_all()

    def _take(self) -> None:
        while not self._stop.is_set():
            if self._buffer.take(len, _LOOK_UP_S):
                with self._news:
                    self._frame_s.append(time.monotonic())
                    self._news.notify_all()

    def _watch(self) -> None:
        while not self._stop.wait(WATCH_S):
            self._sources.check(time.monotonic_ns(), utc_now())


@contextmanager
def watched(
    clip: Path, frozen_after_s: float = 3.0, join: str = "middle"
) -> Iterator[tuple[CameraProcess, Watcher]]:
    """A camera that shows `clip` (H.264 in mp4, without B-frames), and its watcher.

    `join`: where a connection finds it, in the "middle" of a GOP, as a real one, or at a "keyframe".
    """
    camera = CameraProcess(clip, "--join", join)
    try:
        camera.start()
        spec = SourceSpec(_NAME, camera.url(), frozen_after_s=frozen_after_s)
        watcher = Watcher(spec)
        watcher.start()
        try:
            watcher.frame(0.0)
            yield camera, watcher
        finally:
            watcher.close()
    finally:
        camera.kill()


def killed(camera: CameraProcess, watcher: Watcher) -> Outage:
    """Its power fails, and comes back once that was reported."""
    at_s = time.monotonic()
    camera.kill()
    told = watcher.told(at_s, ("reconnecting", "stalled"))
    camera.start()
    return _outage("killed", at_s, told, camera, watcher)


def black_holed(camera: CameraProcess, watcher: Watcher) -> Outage:
    """The network swallows everything, until the connection was given up, too."""
    at_s = time.monotonic()
    camera.signal(signal.SIGSTOP)
    told = watcher.told(at_s, ("reconnecting", "stalled"))
    watcher.told(at_s, ("reconnecting",))
    camera.signal(signal.SIGCONT)
    return _outage("black hole", at_s, told, camera, watcher)


def frozen(camera: CameraProcess, watcher: Watcher) -> Outage:
    """It sends the same picture again and again, until that was reported; `told_s` holds `frozen_after`, too."""
    camera.command("freeze")
    at_s = time.monotonic()
    told = watcher.told(at_s, ("frozen",))
    resumed_s = time.monotonic()
    camera.command("resume")
    back = watcher.told(resumed_s, ("live",))
    return Outage("frozen", told.at_s - at_s, told.state, told.reason, 0, back.at_s - resumed_s)


def reconnects(camera: CameraProcess, watcher: Watcher, count: int, warm_up: int) -> Growth:
    """The camera closes the connection as soon as there was a frame, `warm_up` and then `count` times."""
    for _ in range(warm_up):
        _once_more(camera, watcher)
    began_s, before = time.monotonic(), _held()
    for _ in range(count):
        _once_more(camera, watcher)
    after = _held()
    return Growth(count, time.monotonic() - began_s, *(b - a for a, b in zip(before, after, strict=True)))


def _once_more(camera: CameraProcess, watcher: Watcher) -> None:
    watcher.forget()
    at_s = time.monotonic()
    camera.command("close")
    told = watcher.told(at_s, ("reconnecting",))
    watcher.reconnect_now()
    # Not only a frame: one of the connection before may be handed over late, while the next is being made.
    watcher.frame(watcher.told(told.at_s, ("live",)).at_s)


def _outage(fault: str, at_s: float, told: Told, camera: CameraProcess, watcher: Watcher) -> Outage:
    live = watcher.told(told.at_s, ("live",))
    frame_s, stats = watcher.frame(live.at_s), camera.stats()
    accepted, back_s = int(stats["accepted"]), frame_s - stats["accepted_s"]
    return Outage(fault, told.at_s - at_s, told.state, told.reason, accepted, back_s)


def _held() -> tuple[int, int, int]:
    """Memory, descriptors and threads of this process."""
    return rss_bytes(), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
