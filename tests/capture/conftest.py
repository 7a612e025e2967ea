"""Clips that are made here, by the product's own encoder, and a camera that follows a script."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from streamqa.capture.buffer import FrameBuffer
from streamqa.capture.encode import write_video
from streamqa.capture.sampler import Sampler
from streamqa.capture.source import Picture, Source, SourceFacts, SourceSpec
from streamqa.capture.supervisor import Ends, Supervisor
from streamqa.errors import SourceEnded, StreamQAError
from streamqa.metrics import Metrics
from streamqa.records import SourceStatus
from streamqa.types import NS_PER_S, Frame, utc_now

SIZE = (160, 96)


def numbered(number: int, noise: int = 0) -> np.ndarray:
    """A picture that shows its number in eight black or white blocks, which survive the encoder."""
    width, height = SIZE
    rng = np.random.default_rng(number)
    image = rng.integers(0, noise + 1, (height, width, 3), dtype=np.uint8)
    for bit in range(8):
        if number >> bit & 1:
            image[: height // 2, bit * width // 8 : (bit + 1) * width // 8] = 255
    return image


def number_of(image: np.ndarray) -> int:
    """The number that `numbered` put into a picture."""
    width, height = SIZE
    blocks = image[: height // 2, :, 1].reshape(height // 2, 8, width // 8).mean(axis=(0, 2))
    return sum(1 << bit for bit in range(8) if blocks[bit] > 128)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 numbered pictures at 15 fps with B-frames and a keyframe every second."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    write_video(path, (numbered(i, 40) for i in range(90)), 15, options={"bf": "3", "g": "15"})
    return path


class ScriptedSource:
    """A source that does what its script says: give a picture, sleep, raise."""

    def __init__(
        self, steps: Iterable[float | Exception | threading.Event | None], is_live: bool = True
    ) -> None:
        """A number: a picture at that second. None: none. An exception: raised. An event: hangs until it is set."""
        self._steps = iter(steps)
        self.is_live = is_live
        self.open_error: Exception | None = None
        self.closed = 0
        self.facts = SourceFacts()
        self.delay_ns = 0  # of every picture
        self.hanging = threading.Event()  # it has come to where it hangs
        self.threads: set[int] = set()
        self.end_ns = 0  # as a recording: an eighth of a second after its last picture

    def open(self) -> None:
        self.threads.add(threading.get_ident())
        self.end_ns = 0
        if self.open_error is not None:
            raise self.open_error

    def read(self, wanted_ns: int = 0) -> Picture | None:
        self.threads.add(threading.get_ident())
        step = next(self._steps, SourceEnded("over"))
        if isinstance(step, threading.Event):
            self.hanging.set()
            step.wait(20)
            step = next(self._steps, SourceEnded("over"))
        if isinstance(step, Exception):
            raise step
        if step is None:
            return None
        t_ns = round(step * NS_PER_S)
        self.end_ns = t_ns + NS_PER_S // 8
        return Picture(t_ns, utc_now(), "arrival", lambda: numbered(round(step) % 256), self.delay_ns)

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed += 1


class Rig:
    """A supervisor with its buffer, and everything that it reported."""

    def __init__(self, spec: SourceSpec, every_s: float, make: Callable[[SourceSpec], Source] | None) -> None:
        self.metrics = Metrics()
        self.buffer = FrameBuffer(self.metrics)
        self.statuses: list[SourceStatus] = []
        self.log_failure: StreamQAError | None = None
        self._news = threading.Condition()
        sampler = Sampler([round(every_s * NS_PER_S)])
        rest = () if make is None else (make,)
        ends = Ends(self.buffer, self.report, self.metrics)
        self.supervisor = Supervisor(spec, sampler, ends, *rest)

    @property
    def states(self) -> list[str]:
        return [status.state for status in self.statuses]

    def report(self, status: SourceStatus) -> None:
        if self.log_failure is not None:
            raise self.log_failure
        with self._news:
            self.statuses.append(status)
            self._news.notify_all()

    def wait_for(self, *states: str, timeout_s: float = 10) -> None:
        """Wait until the reported states end with these."""
        with self._news:
            reached = self._news.wait_for(lambda: self.states[-len(states) :] == list(states), timeout_s)
        assert reached, f"waited for {states}, got {[(s.state, s.reason) for s in self.statuses]}"

    def all_frames(self, timeout_s: float = 20) -> list[Frame]:
        """Every frame until the source has ended."""
        frames: list[Frame] = []
        deadline = time.monotonic() + timeout_s
        while not self.buffer.exhausted:
            assert time.monotonic() < deadline, "the source did not end in time"
            frames += self.buffer.take(len, 0.1)
        return frames

    def frames(self, count: int, timeout_s: float = 10) -> list[Frame]:
        """The next `count` frames."""
        frames: list[Frame] = []
        deadline = time.monotonic() + timeout_s
        while len(frames) < count:
            assert time.monotonic() < deadline, f"only {len(frames)} of {count} frames came in time"
            missing = count - len(frames)
            frames += self.buffer.take(lambda offers, most=missing: min(most, len(offers)), 0.1)
        return frames


@pytest.fixture
def rig() -> Iterator[Callable[..., Rig]]:
    """Makes rigs and stops them at the end."""
    made: list[Rig] = []

    def make_rig(
        spec: SourceSpec | str = "unused",
        every_s: float = 0.001,
        make: Callable[[SourceSpec], Source] | None = None,
    ) -> Rig:
        spec = SourceSpec("cam", spec) if isinstance(spec, str) else spec
        made.append(Rig(spec, every_s, make))
        return made[-1]

    yield make_rig
    for one in made:
        one.supervisor.stop(10)


@contextmanager
def as_somebody() -> Iterator[None]:
    """Root may read everything: within, be nobody instead. For any other user nothing changes."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)
