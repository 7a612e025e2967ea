"""The real child process, with models that die, hang and lie on demand; and once with the real `tiny`."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest

from streamqa.capture.buffer import Choose, Offer
from streamqa.engine.engine import Engine
from streamqa.errors import ConfigError, ModelError, ModelLost
from streamqa.metrics import Metrics
from streamqa.model.base import ModelOptions, find_backend, open_model
from streamqa.model.health import Health
from streamqa.model.link import Load
from streamqa.model.restarts import Limits
from streamqa.model.worker import Worker
from streamqa.testing import make_frame
from streamqa.types import Answer, Fault, Frame, Prompt, Question, Request
from tests.model.backends import ABORT, GARBAGE, HANG, HERE, KILL, RAISE

QUICK = Limits(first_answer_s=20, least_answer_s=20, first_wait_s=0.01, longest_wait_s=0.05, patience_s=20)
ROOT = Path(__file__).parents[2]


def picture(order: int = 0, height: int = 24, width: int = 32) -> Request:
    image = np.zeros((height, width, 3), np.uint8)
    image[0, 0, 0] = order
    return Request(image, (Prompt("What?"),))


def said(worker: Worker, *requests: Request) -> list[str]:
    return [generation.text for group in worker.answer(requests) for generation in group]


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    with ExitStack() as stack:

        def make(
            function: str = "load",
            health: Health | None = None,
            limits: Limits = QUICK,
            folder: Path | None = None,
        ) -> Worker:
            worker = Worker(Load(f"{HERE}:{function}", "fake", folder, ModelOptions()), health, limits)
            stack.callback(worker.close)
            return worker

        yield make


def watched() -> tuple[Health, list[Fault]]:
    health, faults = Health(Metrics()), list[Fault]()
    health.attach(faults.append)
    return health, faults


def test_it_says_what_the_model_says(start: Callable[..., Worker]) -> None:
    worker = start()
    assert worker.info.label == "scripted@1"
    large = Request(np.full((1080, 1920, 3), 7, np.uint8)[:, ::2], (Prompt("a"), Prompt("b")))
    expected = "7 960x1080 " + str(7 * 960 * 1080 * 3)
    assert said(worker, picture(5), large, Request(None, (Prompt("c"),))) == [
        *("5 32x24 5", expected, expected, "nothing")
    ]
    for order in range(20):  # shared memory is used again: never the last picture
        assert said(worker, picture(order)) == [f"{order} 32x24 {order}"]


def test_a_request_arrives_whole(start: Callable[..., Worker]) -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    requests = [
        Request(image, (Prompt("a"),), detail="fast"),
        Request(image, (Prompt("a"),), check_only=True),
        Request(None, (Prompt("a"),)),
        Request(image[:, :, 0], (Prompt("a"),)),  # no frame, but a picture that a model may refuse by itself
    ]
    assert said(start("load_echo"), *requests) == [
        *("fast False (4, 6, 3)", "full True (4, 6, 3)", "full False blind", "full False (4, 6)")
    ]


def test_many_threads_get_their_own_answers(start: Callable[..., Worker]) -> None:
    worker = start("load_slow")
    found: dict[int, set[str]] = {}

    def ask(order: int) -> None:
        found[order] = {said(worker, picture(order))[0] for _ in range(5)}

    threads = [threading.Thread(target=ask, args=(order,)) for order in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == {order: {f"{order} 32x24 {order}"} for order in range(1, 7)}
    assert worker.info.in_flight == 2
    assert worker.busy == 0


def test_what_the_model_raises_is_one_line_and_harms_nobody_else(start: Callable[..., Worker]) -> None:
    worker = start()
    pid = worker.info and worker.pid
    with pytest.raises(ModelError, match=r"^ValueError: a bad picture$") as caught:
        worker.answer([picture(RAISE)])
    assert not isinstance(caught.value, ModelLost)
    assert said(worker, picture(1)) == ["1 32x24 1"]
    assert worker.pid == pid


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (KILL, r"was killed \(SIGKILL\), probably out of memory"),
        (ABORT, r"died of SIGABRT: CUDA error: an illegal memory access"),
        (GARBAGE, r"sent garbage \(no message begins like this\) and was killed"),
        (HANG, r"hung: it gave no answer within 0 s and was killed"),
    ],
    ids=["killed", "aborted", "garbage", "hung"],
)
def test_a_death_costs_its_batch_and_is_told_once(
    start: Callable[..., Worker], order: int, words: str
) -> None:
    health, faults = watched()
    limits = Limits(first_answer_s=0.4, first_wait_s=0.01) if order == HANG else QUICK
    worker = start(health=health, limits=limits)
    with pytest.raises(ModelLost, match=words):
        worker.answer([picture(1), picture(order)])
    assert [fault.code for fault in faults] == ["model_worker"]
    assert said(worker, picture(2)) == ["2 32x24 2"]
    assert health.trouble() == []
    assert len(faults) == 1


def test_a_model_that_cannot_be_loaded_is_told_as_in_this_process(
    start: Callable[..., Worker], tmp_path: Path
) -> None:
    for function, kind in (("load_missing", ModelError), ("load_wrong", ConfigError)):
        worker = start(function, folder=tmp_path)
        with pytest.raises(kind) as caught:
            _ = worker.info
        expected = f"no weights in {tmp_path}; put some there" if kind is ModelError else "that cannot be"
        assert str(caught.value) == expected
        with pytest.raises(kind):
            worker.answer([picture()])
    with pytest.raises(ModelError, match="ended with exit code 7: MemoryError: too large, while it loaded"):
        _ = start("load_dying").info


def test_it_starts_again_for_ever_and_says_so(start: Callable[..., Worker], tmp_path: Path) -> None:
    health, faults = watched()
    (tmp_path / "weights").touch()
    worker = start(
        "load_once", health, Limits(first_wait_s=0.01, longest_wait_s=0.01, patience_s=0.3), tmp_path
    )
    _ = worker.info
    (tmp_path / "weights").unlink()
    with pytest.raises(ModelLost, match="SIGKILL"):
        worker.answer([picture(KILL)])
    with pytest.raises(
        ModelLost, match=r"the weights are gone; being started again, attempt \d+|is down|SIGKILL"
    ):
        worker.answer([picture(1)])
    until(lambda: len(faults) == 2)
    assert "SIGKILL" in faults[0].message
    assert "the weights are gone" in faults[1].message
    assert "fake" in health.trouble()[0]
    (tmp_path / "weights").touch()
    until(lambda: worker.pid is not None)
    assert said(worker, picture(1)) == ["1 32x24 1"]
    assert len(faults) == 2
    assert health.trouble() == []


@pytest.mark.parametrize("function", ["load", "load_never", "load_once"])
def test_closing_is_quick_whatever_it_does(
    start: Callable[..., Worker], function: str, tmp_path: Path
) -> None:
    """In a batch that hangs, in a load that hangs, between two restarts."""
    (tmp_path / "weights").touch()
    worker = start(function, limits=Limits(first_wait_s=60, longest_wait_s=60), folder=tmp_path)
    failed: list[Exception] = []

    def ask() -> None:
        try:
            worker.answer([picture(KILL if function == "load_once" else HANG)])
            worker.answer([picture(1)])
        except ModelError as error:
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    if function == "load":
        until(lambda: worker.busy == 1)
    elif function == "load_once":
        until(lambda: worker.state == "down")
    started_s = time.monotonic()
    worker.close()
    thread.join(10)
    assert time.monotonic() - started_s < 5
    assert not thread.is_alive()
    assert failed
    with pytest.raises(ModelError, match="the model is closed"):
        worker.answer([picture(1)])


def test_who_waits_for_a_restart_is_let_go_when_the_line_stops(start: Callable[..., Worker]) -> None:
    health, _ = watched()
    worker = start(health=health, limits=Limits(first_wait_s=60))
    with pytest.raises(ModelLost):
        worker.answer([picture(KILL)])
    threading.Timer(0.1, health.detach).start()
    started_s = time.monotonic()
    with pytest.raises(ModelLost, match="SIGKILL"):
        worker.answer([picture(1)])
    assert time.monotonic() - started_s < 10


def test_ctrl_c_and_sigterm_are_the_parents(start: Callable[..., Worker]) -> None:
    worker = start()
    _ = worker.info
    assert worker.pid is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    assert said(worker, picture(3)) == ["3 32x24 3"]
    assert os.getpgid(worker.pid) != os.getpgid(0)


PARENT = f"""
import time
from streamqa.model.base import ModelOptions
from streamqa.model.link import Load
from streamqa.model.worker import Worker
worker = Worker(Load("{HERE}:load", "fake", None, ModelOptions()))
worker.info
import sys
print(worker.pid, "torch" in sys.modules, flush=True)
time.sleep(60)
"""


def test_it_does_not_outlive_a_killed_parent_and_needs_no_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "user.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=tmp_path,
    )  # fmt: skip
    assert parent.stdout is not None
    with parent.stdout as out:
        pid, torch = out.readline().split()  # and the model's own print is not on stdout
    assert torch == "False"
    assert alive(int(pid))
    parent.kill()
    parent.wait(10)
    until(lambda: not alive(int(pid)))


def test_the_embedded_model_says_the_same_in_a_child() -> None:
    image = np.random.default_rng(3).integers(0, 255, (120, 160, 3), np.uint8)
    requests = [Request(image, (Prompt("Is there a person?"), Prompt("What is this?")))]
    here, worker = open_model("tiny"), Worker(Load(find_backend("tiny"), "tiny", None, ModelOptions()))
    try:
        assert worker.answer(requests) == here.answer(requests)
        assert worker.info == here.info
    finally:
        worker.close()
        here.close()


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


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "it never came"
        time.sleep(0.01)
