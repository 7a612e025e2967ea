"""The real child process, with models that die, hang and lie on demand; and once with the real `tiny`."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from streamqa.errors import ConfigError, ModelError, ModelLost
from streamqa.model.base import ModelOptions, find_backend, open_model
from streamqa.model.link import Load
from streamqa.model.restarts import Limits
from streamqa.model.worker import Worker
from streamqa.types import Prompt, Request
from tests.model.backends import ABORT, GARBAGE, HANG, HERE, KILL, QUICK, RAISE, watched

ROOT = Path(__file__).parents[2]


def picture(order: int = 0, height: int = 24, width: int = 32) -> Request:
    image = np.zeros((height, width, 3), np.uint8)
    image[0, 0, 0] = order
    return Request(image, (Prompt("What?"),))


def said(worker: Worker, *requests: Request) -> list[str]:
    return [generation.text for group in worker.answer(requests) for generation in group]


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


def test_a_hang_is_found_beside_a_batch_that_goes_well(start: Callable[..., Worker]) -> None:
    worker = start("load_slow", limits=Limits(first_answer_s=0.5, least_answer_s=0.5, first_wait_s=0.01))
    _ = worker.info
    hung: list[Exception] = []

    def hang() -> None:
        try:
            worker.answer([picture(HANG)])
        except ModelLost as error:
            hung.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    while thread.is_alive():
        with suppress(ModelLost):  # when it is killed, this one's batch dies with it
            said(worker, picture(1))
    assert "hung" in str(hung[0])


def test_what_cannot_be_sent_is_the_callers_mistake(start: Callable[..., Worker]) -> None:
    worker = start()
    with pytest.raises(TypeError, match="pickle"):
        worker.answer([Request(None, (Prompt("a"),), threading.Lock())])  # type: ignore[arg-type]
    assert worker.busy == 0
    assert said(worker, picture(1)) == ["1 32x24 1"]


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
    # Whatever it is doing when patience ends, what is wrong is said, and what is done about it.
    with pytest.raises(ModelLost, match=r"(the weights are gone|SIGKILL).*; (it is|being) started again"):
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
