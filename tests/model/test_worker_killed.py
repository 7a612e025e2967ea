"""The engine over a recording while its model is killed again and again: every due tick is answered or reported."""

import os
import random
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest

from streamqa.capture.buffer import Choose, Offer
from streamqa.engine.engine import Engine
from streamqa.metrics import Metrics
from streamqa.model.worker import Worker
from streamqa.records import Answer, Fault
from streamqa.testing import make_frame
from streamqa.types import Frame, Question
from tests.model.backends import KILL, watched


class Recording:
    """Frames as a file gives them: all of them, in order; some carry an order to die."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames = list(frames)

    def take(self, choose: Choose, timeout_s: float) -> list[Frame]:
        count = choose([Offer(frame, 0, live=False) for frame in self._frames[:4]]) if self._frames else 0
        taken, self._frames = self._frames[:count], self._frames[count:]
        return taken

    def wake(self) -> None:
        """Nobody waits here."""

    @property
    def exhausted(self) -> bool:
        return not self._frames


def killed_in_a_row(worker: Worker, faults: list[Fault], kills: int) -> None:
    """A recording of which every 16th frame kills the process that looks at it."""
    orders = [KILL if i % 16 == 7 else i % 200 for i in range(16 * kills)]
    frames = [make_frame(t_s=i / 10, index=i, fill=order) for i, order in enumerate(orders)]
    questions = [Question(name, "What?", "text", 100_000_000) for name in ("a", "b")]
    answers: list[Answer] = []
    Engine(questions, worker, answers.extend, Metrics()).run(Recording(frames), threading.Event())
    assert len(faults) == kills
    assert sum(a.skipped for a in answers) == 0
    assert sorted((a.question, a.frame) for a in answers) == [
        (q.id, f.index) for q in questions for f in frames
    ]
    deadly = {f.index for f in frames if orders[f.index] == KILL}
    errors = [a for a in answers if a.decision.state == "error"]
    assert deadly <= {a.frame for a in errors}
    # With it died only what was in the process together with it: two batches of four frames at most.
    assert all(min(abs(a.frame - frame) for frame in deadly) < 8 for a in errors)
    assert all("was killed (SIGKILL)" in a.reading.reason for a in errors)
    assert all(a.reading.text.startswith(f"{orders[a.frame]} ") for a in answers if a.decision.state == "ok")


@pytest.mark.parametrize("function", ["load", "load_slow"], ids=["one batch", "two batches in flight"])
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_in_a_row_every_tick_is_answered_or_reported(
    start: Callable[..., Worker], kills: int, function: str
) -> None:
    health, faults = watched()
    killed_in_a_row(start(function, health), faults, kills)


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_from_outside_at_any_moment_the_account_is_right(
    start: Callable[..., Worker], kills: int
) -> None:
    """While it loads, while it reads, in a batch, between two: whenever the seed says."""
    health, faults = watched()
    worker, done = start("load_slow", health), threading.Event()
    _ = worker.info
    frames = [make_frame(t_s=i / 10, index=i, fill=i % 200) for i in range(120 * kills)]
    questions = [Question(name, "What?", "text", 100_000_000) for name in ("a", "b")]
    answers: list[Answer] = []

    def kill() -> None:
        chance = random.Random(kills)
        for _ in range(kills):
            done.wait(chance.uniform(0.0, 0.3))
            process = worker._process
            assert process is not None
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    Engine(questions, worker, answers.extend, Metrics()).run(Recording(frames), threading.Event())
    done.set()
    killer.join(20)
    assert 1 <= len(faults) <= kills
    assert sorted((a.question, a.frame) for a in answers) == [
        (q.id, f.index) for q in questions for f in frames
    ]
    assert {a.decision.state for a in answers} <= {"ok", "error"}
    errors = [a for a in answers if a.decision.state == "error"]
    assert len(errors) <= 2 * 8 * kills  # two batches of four frames, two questions
    assert all("SIGKILL" in a.reading.reason for a in errors)
