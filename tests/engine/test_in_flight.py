"""The engine with several batches in the model, with frames that fail, and with a model that dies."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamqa.capture.buffer import Choose, FrameBuffer
from streamqa.engine.engine import Engine, EngineSettings
from streamqa.errors import ModelError, ModelLost
from streamqa.metrics import Metrics
from streamqa.records import Answer
from streamqa.testing import ScriptedModel, make_frame
from streamqa.types import NS_PER_S, Frame, Gate, Generation, Prompt, Question, Request, Value
from tests.engine.test_engine import question

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
ONE = EngineSettings(max_frames=1)


def recording(*frames: Frame) -> FrameBuffer:
    """A buffer in which these frames wait, and after them nothing comes."""
    buffer = FrameBuffer(Metrics(), capacity=1000)
    for source in dict.fromkeys(frame.source for frame in frames):
        buffer.add(source, live=False)
    for frame in frames:
        buffer.put(frame)
    for source in {frame.source for frame in frames}:
        buffer.finish(source)
    return buffer


def level(image: Any) -> int:
    return int(image.max())


class Gated(ScriptedModel):
    """A model in which each batch waits until it is let out; says the picture's level, and notes drafts."""

    def __init__(self, in_flight: int) -> None:
        super().__init__(lambda image, prompt: f"{level(image)} after {prompt.draft!r}", in_flight=in_flight)
        self.inside: list[int] = []
        self.changed = threading.Condition()
        self.free: set[int] = set()
        self.threads: set[int] = set()

    def answer(self, requests: Sequence[Request]) -> list[list[Generation]]:
        mine = level(requests[0].image)
        with self.changed:
            self.threads.add(threading.get_ident())
            self.inside.append(mine)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: mine in self.free, 10)
            self.inside.remove(mine)
            self.changed.notify_all()
        return super().answer(requests)

    def let_out(self, *levels: int) -> None:
        with self.changed:
            self.free |= set(levels)
            self.changed.notify_all()

    def wait_inside(self, *levels: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: sorted(self.inside) == sorted(levels), 10), self.inside


class Running:
    """An engine running on a thread of its own."""

    def __init__(self, engine: Engine, buffer: FrameBuffer) -> None:
        self.stop = threading.Event()
        self.thread = threading.Thread(target=engine.run, args=(buffer, self.stop), daemon=True)
        self.thread.start()

    def end(self) -> None:
        self.thread.join(10)
        assert not self.thread.is_alive()


def test_answers_come_in_the_order_of_the_frames_whoever_is_done_first() -> None:
    model, emitted = Gated(3), list[Answer]()
    engine = Engine([question("q", "text")], model, emitted.extend, Metrics(), ONE)
    running = Running(engine, recording(*(make_frame(t_s=n, index=n, fill=n) for n in range(6))))
    model.wait_inside(0, 1, 2)
    model.let_out(1, 2)
    model.wait_inside(0)
    assert emitted == []
    model.let_out(0)
    model.wait_inside(3, 4, 5)
    assert [answer.frame for answer in emitted] == [0, 1, 2]
    model.let_out(5, 4, 3)
    running.end()
    assert [answer.frame for answer in emitted] == [0, 1, 2, 3, 4, 5]


def test_a_draft_is_the_newest_answer_that_was_read() -> None:
    model, emitted = Gated(2), list[Answer]()
    engine = Engine([question("q", "text")], model, emitted.extend, Metrics(), ONE)
    running = Running(engine, recording(*(make_frame(t_s=n, index=n, fill=n) for n in range(4))))
    for n in range(4):
        model.wait_inside(*range(n, min(n + 2, 4)))
        model.let_out(n)
    running.end()
    texts = [str(answer.reading.value) for answer in emitted]
    assert texts[:2] == ["0 after ''", "1 after ''"]
    assert texts[2] == f"2 after {texts[0]!r}"
    assert texts[3] == f"3 after {texts[1]!r}"


def test_with_one_in_flight_the_engine_s_own_thread_asks() -> None:
    model = Gated(1)
    model.let_out(0, 1)
    engine = Engine([question("q", "text")], model, lambda _: None, Metrics(), ONE)
    engine.run(recording(make_frame(t_s=0, fill=0), make_frame(t_s=1, fill=1)), threading.Event())
    assert model.threads == {threading.get_ident()}


def test_what_is_in_flight_at_a_stop_is_answered_or_reported() -> None:
    model, emitted = Gated(2), list[Answer]()
    settings = EngineSettings(max_frames=1, patience_s=0.05)
    engine = Engine([question("q", "text")], model, emitted.extend, Metrics(), settings)
    running = Running(engine, recording(*(make_frame(t_s=n, index=n, fill=n) for n in range(5))))
    model.wait_inside(0, 1)
    model.let_out(0)
    model.wait_inside(1, 2)
    running.stop.set()
    running.end()
    assert [(answer.frame, answer.decision.state) for answer in emitted] == [
        (0, "ok"),
        (1, "error"),
        (2, "error"),
    ]
    assert "stopped before" in emitted[-1].decision.reason
    model.let_out(1, 2)


def test_a_stop_waits_for_what_is_nearly_done() -> None:
    model, emitted = Gated(2), list[Answer]()
    engine = Engine([question("q", "text")], model, emitted.extend, Metrics(), ONE)
    running = Running(engine, recording(*(make_frame(t_s=n, index=n, fill=n) for n in range(5))))
    model.wait_inside(0, 1)
    running.stop.set()
    model.let_out(1, 0)
    running.end()
    assert [(answer.frame, answer.decision.state) for answer in emitted] == [(0, "ok"), (1, "ok")]


# isolation


def test_one_bad_frame_does_not_take_its_neighbours_with_it() -> None:
    def say(image: Any, _prompt: Prompt) -> Value:
        if level(image) == 3:
            raise ValueError("a strange picture")
        return True

    metrics = Metrics()
    engine = Engine([question("a"), question("b")], ScriptedModel(say), lambda _: None, metrics)
    answers = engine.step([make_frame(f"cam{n}", fill=n) for n in range(6)])
    assert [a.source for a in answers if a.decision.state == "error"] == ["cam3", "cam3"]
    assert [a.decision.state for a in answers].count("ok") == 10
    assert metrics.registry.get_sample_value("streamqa_batches_halved_total", {"cause": "error"}) == 2
    assert metrics.registry.get_sample_value("streamqa_model_errors_total") == 1


def test_memory_that_ran_out_is_remembered_and_slowly_forgotten() -> None:
    class Small(ScriptedModel):
        def answer(self, requests: Sequence[Request]) -> list[list[Generation]]:
            if len(requests) > 3:
                raise ModelError("CUDA out of memory")
            return super().answer(requests)

    model, metrics, emitted = Small(lambda image, prompt: True, max_frames=8), Metrics(), list[Answer]()
    engine = Engine([question()], model, emitted.extend, metrics)
    engine.run(recording(*(make_frame(t_s=n, index=n) for n in range(80))), threading.Event())
    assert [answer.frame for answer in emitted] == list(range(80))
    assert {answer.decision.state for answer in emitted} == {"ok"}
    sizes = [len(batch) for batch in model.batches]
    assert sizes == [2] * 4 + [2] * 16 + [3] * 13 + [1]
    assert metrics.registry.get_sample_value("streamqa_batches_halved_total", {"cause": "memory"}) == 3
    assert metrics.registry.get_sample_value("streamqa_batch_limit") == 3


# what the engine hands on


def test_each_frame_has_its_detail() -> None:
    seen: dict[int, str] = {}

    class Looking(ScriptedModel):
        def answer(self, requests: Sequence[Request]) -> list[list[Generation]]:
            seen.update((level(request.image), request.detail) for request in requests)
            return super().answer(requests)

    engine = Engine(
        [question()],
        Looking(lambda image, prompt: True),
        lambda _: None,
        Metrics(),
    )
    engine.step([make_frame("a", fill=1), make_frame("b", fill=2, detail="fast")])
    assert seen == {1: "full", 2: "fast"}


@pytest.mark.parametrize("in_flight", [1, 3])
def test_a_gated_recording_replays_to_the_same_answers(in_flight: int) -> None:
    """Whatever the batches, and however much is in flight: what is reused depends on the pictures alone."""
    chance = random.Random(5)
    levels = [0]
    for _ in range(59):
        levels.append(levels[-1] if chance.random() < 0.7 else (levels[-1] + 40) % 200)
    gated = question("g", gate=Gate(0.02, 8 * NS_PER_S, audit=0.2))
    frames = [make_frame(t_s=n, index=n, fill=fill) for n, fill in enumerate(levels)]

    def answers(**info: int) -> list[tuple[int, bool, Value]]:
        emitted: list[Answer] = []
        model = ScriptedModel(lambda image, prompt: level(image) >= 100, **info)
        engine = Engine([gated, question("plain")], model, emitted.extend, Metrics())
        engine.run(recording(*frames), threading.Event())
        assert [a.frame for a in emitted if a.question == "plain"] == list(range(60))
        return [(a.frame, a.reused, a.reading.value) for a in emitted if a.question == "g"]

    found = answers(max_frames=16, in_flight=in_flight)
    assert found == answers(max_frames=1, in_flight=1)
    assert 15 < sum(reused for _, reused, _ in found) < 45


# the invariant


class Feed(FrameBuffer):
    """A buffer that some frames come into before each `take`: as many as come, however slow the engine is."""

    def __init__(self, frames: Sequence[Frame], live: bool, chance: random.Random) -> None:
        super().__init__(Metrics(), capacity=1000)
        self.left, self.chance = list(reversed(frames)), chance
        self.sources = {frame.source for frame in frames}
        for source in sorted(self.sources):
            self.add(source, live, priority=chance.randint(0, 1))

    def take(self, choose: Choose, timeout_s: float) -> list[Frame]:
        for _ in range(self.chance.randint(0, 6)):
            if self.left:
                self.put(self.left.pop())
        if not self.left:
            for source in self.sources:
                self.finish(source)
        return super().take(choose, 0.001)


class Mortal(ScriptedModel):
    """Fails, runs out of memory and dies at random; knows what was in it when it died, and how full it was."""

    def __init__(self, chance: random.Random, failing: float, **info: Any) -> None:
        super().__init__(self.say, **info)
        self.chance, self.failing = chance, failing
        self.lock, self.inside, self.most = threading.Lock(), 0, 0
        self.buried: set[int] = set()
        self.asked_again = 0

    def say(self, image: Any, prompt: Prompt) -> Generation | Value:
        if self.chance.random() < self.failing:
            return self.chance.choice([Generation("", 0, "error", error="no"), None])
        return bool(level(image) > 100)

    def answer(self, requests: Sequence[Request]) -> list[list[Generation]]:
        pictures = {id(request.image) for request in requests}
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.asked_again += len(pictures & self.buried)
        try:
            if self.chance.random() < self.failing:
                fate = self.chance.choice([ModelLost("died"), ModelError("out of memory"), ValueError("bug")])
                if isinstance(fate, ModelLost):
                    self.buried |= pictures
                raise fate
            return super().answer(requests)
        finally:
            with self.lock:
                self.inside -= 1


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    every_s=st.lists(st.sampled_from([0.1, 0.25, 0.3, 1.0, 7.0]), min_size=1, max_size=3),
    failing=st.sampled_from([0.0, 0.1, 0.5]),
    gate=st.none() | st.builds(Gate, st.just(0.02), st.just(2 * NS_PER_S), st.sampled_from([0.0, 0.3])),
    in_flight=st.integers(1, 3),
    live=st.booleans(),
)
def test_every_tick_is_answered_or_skipped_and_none_twice(
    seed: int, every_s: list[float], failing: float, gate: Gate | None, in_flight: int, live: bool
) -> None:
    chance = random.Random(seed)
    questions = [replace(question(f"q{i}", every_s=s), gate=gate) for i, s in enumerate(every_s)]
    model = Mortal(chance, failing, in_flight=in_flight, max_frames=chance.randint(1, 5))
    frames = [
        make_frame(source, i / 10, index=i, image=picture(chance), captured_at=NOON if live else None)
        for i in range(40)
        for source in ("cam", "door", "yard")
        if chance.random() < 0.8
    ]
    emitted: list[Answer] = []
    engine = Engine(questions, model, emitted.extend, Metrics())
    engine.run(Feed(frames, live, chance), threading.Event())
    assert (model.most <= in_flight, model.asked_again) == (True, 0)
    _check(engine, questions, emitted)


def picture(chance: random.Random) -> Any:
    return np.full((8, 8, 3), chance.choice([50, 50, 50, 150]), np.uint8)


def _check(engine: Engine, questions: Sequence[Question], answers: Sequence[Answer]) -> None:
    count = Counter((a.question, a.source) for a in answers)
    skipped: Counter[tuple[str, str]] = Counter()
    real: dict[tuple[str, str], Answer] = {}  # the last one that is not reused
    for a in answers:
        key = (a.question, a.source)
        skipped[key] += a.skipped
        if a.reused:
            assert a.reading.state == "ok"
            assert a.reading == real[key].reading
        else:
            real[key] = a
    for q in questions:
        for source in ("cam", "door", "yard"):
            key = (q.id, source)
            assert count[key] + skipped[key] == engine.schedule.passed(*key)
            times = [a.t_ns for a in answers if (a.question, a.source) == key]
            assert times == sorted(set(times))
