"""More cameras than the model has time for, in simulated time: real buffer, real engine, fake clock, no waiting."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from streamqa.capture.buffer import FrameBuffer
from streamqa.engine.engine import Clocks, Engine, EngineSettings
from streamqa.metrics import Metrics
from streamqa.records import Answer
from streamqa.testing import ScriptedModel, make_frame
from streamqa.types import NS_PER_S, Generation, Question, Request

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
IMAGE = np.zeros((2, 2, 3), np.uint8)


@dataclass(frozen=True)
class Camera:
    """A frame at each tick of its question."""

    name: str
    every_s: float = 1.0
    priority: int = 0
    prompts: int = 1


class Timed(ScriptedModel):
    """Takes its time on the simulated clock."""

    def __init__(self, world: World, fixed_s: float, frame_s: float, max_frames: int) -> None:
        super().__init__(lambda image, prompt: True, max_frames=max_frames)
        self.world, self.fixed_s, self.frame_s = world, fixed_s, frame_s

    def answer(self, requests: Sequence[Request]) -> list[list[Generation]]:
        jitter = self.world.chance.uniform(0.97, 1.03)
        self.world.now_ns += round((self.fixed_s + len(requests) * self.frame_s) * jitter * NS_PER_S)
        return super().answer(requests)


class World:
    """Cameras, a buffer, an engine, a model and one clock for all."""

    def __init__(
        self, cameras: Sequence[Camera], fixed_s: float, frame_s: float, max_frames: int = 16, seed: int = 0
    ) -> None:
        self.chance, self.now_ns, self.metrics = random.Random(seed), 0, Metrics()
        self.model = Timed(self, fixed_s, frame_s, max_frames)
        self.buffer = FrameBuffer(self.metrics)
        questions = [
            Question(f"{c.name}-{n}", "?", "yes_no", round(c.every_s * NS_PER_S), sources=(c.name,))
            for c in cameras
            for n in range(c.prompts)
        ]
        settings = EngineSettings(clocks=Clocks(lambda: self.now_ns, lambda: NOON))
        self.engine = Engine(questions, self.model, lambda _: None, self.metrics, settings)
        self.answers: list[Answer] = []
        self.coming: list[tuple[int, int, int, Camera]] = []
        for number, camera in enumerate(cameras):
            self.buffer.add(camera.name, live=True, priority=camera.priority)
            phase = round(self.chance.random() * camera.every_s * NS_PER_S)
            heapq.heappush(self.coming, (phase, number, 0, camera))

    def run(self, seconds: float) -> World:
        while self.now_ns < seconds * NS_PER_S:
            self._arrive()
            frames = self.buffer.take(self.engine.choose, 0)
            if frames:
                self.answers += self.engine.step(frames)
            else:
                self.now_ns = self.coming[0][0]
        return self

    def _arrive(self) -> None:
        """Every frame up to now, as the capture threads would have put it."""
        while self.coming[0][0] <= self.now_ns:
            at_ns, number, index, camera = heapq.heappop(self.coming)
            t_s = index * camera.every_s + 0.001
            frame = make_frame(
                camera.name, t_s, index=index, captured_at=NOON, received_ns=at_ns, image=IMAGE
            )
            self.buffer.put(frame)
            step = round(camera.every_s * NS_PER_S * self.chance.uniform(0.98, 1.02))
            heapq.heappush(self.coming, (at_ns + step, number, index + 1, camera))

    def served(self) -> Counter[str]:
        """Frames answered, by camera."""
        return Counter({key: len(set(frames)) for key, frames in self._frames().items()})

    def _frames(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for answer in self.answers:
            found.setdefault(answer.source, []).append(answer.frame)
        return found

    def skipped(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for answer in self.answers:
            found[answer.source] += answer.skipped
        return found

    def late(self) -> float:
        value: Any = self.metrics.registry.get_sample_value
        return sum(value("streamqa_deadlines_missed_total", {"source": s}) or 0 for s in self.served())


def cameras(count: int, name: str = "c", **fields: Any) -> list[Camera]:
    return [Camera(f"{name}{n}", **fields) for n in range(count)]


def lost(world: World, names: Sequence[Camera]) -> float:
    """The part of the ticks of these cameras that no answer was given to."""
    skipped, served = world.skipped(), world.served()
    return sum(skipped[c.name] for c in names) / sum(skipped[c.name] + served[c.name] for c in names)


def spread(world: World, names: Sequence[Camera]) -> float:
    """How far the camera served least or most is from the mean, as a part of it."""
    counts = [world.served()[camera.name] for camera in names]
    mean = sum(counts) / len(counts)
    return max(abs(count - mean) for count in counts) / mean


@pytest.mark.parametrize(("fixed_s", "frame_s"), [(0.0, 0.2), (0.1, 0.12), (0.5, 0.03), (0.02, 0.9)])
@pytest.mark.parametrize("seed", [1, 2])
def test_an_overload_is_shared_fairly(fixed_s: float, frame_s: float, seed: int) -> None:
    watched = cameras(20)
    world = World(watched, fixed_s, frame_s, seed=seed).run(max(200, 30 * 20 * frame_s))
    assert lost(world, watched) > 0.1
    assert spread(world, watched) < 0.1
    assert {answer.reading.state for answer in world.answers} == {"ok"}  # late ones merge, none goes stale


def test_faster_cameras_and_more_questions_do_not_get_more_turns() -> None:
    watched = [*cameras(5, "slow", every_s=1.0), *cameras(5, "fast", every_s=0.2, prompts=6)]
    world = World(watched, 0.05, 0.3).run(300)
    assert spread(world, watched) < 0.1


def test_who_asks_for_less_than_the_fair_share_gets_all_of_it() -> None:
    slow, fast = cameras(4, "slow", every_s=10.0), cameras(8, "fast", every_s=0.5)
    world = World([*slow, *fast], 0.02, 0.2).run(300)
    assert lost(world, slow) == 0
    assert lost(world, fast) > 0.5
    assert spread(world, fast) < 0.1


def test_the_higher_priority_comes_first_and_the_rest_is_shared() -> None:
    high, low = cameras(3, "high", priority=1), cameras(8, "low")
    world = World([*high, *low], 0.05, 0.2).run(300)
    assert lost(world, high) == 0
    assert 0.5 < lost(world, low) < 1
    assert spread(world, low) < 0.1
    late = world.metrics.deadlines_missed.labels("high0")._value.get()
    assert late < 0.05 * world.served()["high0"]


def test_a_higher_priority_that_takes_all_leaves_nothing_and_it_shows() -> None:
    high, low = cameras(3, "high", priority=1), cameras(3, "low")
    world = World([*high, *low], 0.05, 0.9).run(300)
    assert spread(world, high) < 0.1
    assert sum(world.served()[camera.name] for camera in low) <= 1  # before the first of the others
    for camera in low:
        assert world.metrics.frames_dropped.labels(camera.name)._value.get() > 250


@pytest.mark.parametrize(("count", "fixed_s", "frame_s"), [(4, 0.0, 0.2), (8, 0.1, 0.08), (16, 0.3, 0.02)])
def test_what_the_model_has_time_for_is_answered_before_the_next_tick(
    count: int, fixed_s: float, frame_s: float
) -> None:
    watched = cameras(count)
    world = World(watched, fixed_s, frame_s).run(200)
    assert lost(world, watched) < 0.002
    assert world.late() < 0.01 * len(world.answers)


@pytest.mark.parametrize(
    ("count", "fixed_s", "frame_s", "share"),
    [(8, 0.2, 0.09, 0.9), (20, 0.5, 0.05, 0.8), (20, 0.1, 0.1, 0.75)],
)
def test_overload_does_not_make_batches_small(
    count: int, fixed_s: float, frame_s: float, share: float
) -> None:
    """As a part of what the model could answer in the largest batches, or of what comes, where that is less."""
    world = World(cameras(count), fixed_s, frame_s, max_frames=count).run(200)
    most = min(count, count / (fixed_s + count * frame_s)) * 200
    assert len(world.answers) > share * most


def test_every_tick_is_answered_or_skipped_whatever_the_load() -> None:
    watched = [*cameras(6, "a", every_s=0.3, prompts=2), *cameras(6, "b", priority=-1)]
    world = World(watched, 0.1, 0.15, max_frames=4).run(300)
    counts = Counter((answer.question, answer.source) for answer in world.answers)
    skipped: Counter[tuple[str, str]] = Counter()
    for answer in world.answers:
        skipped[answer.question, answer.source] += answer.skipped
    assert counts
    for question, source in counts:
        passed = world.engine.schedule.passed(question, source)
        assert counts[question, source] + skipped[question, source] == passed
