from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from streamqa.model.moondream.graphs import CudaCapture, Memory, Programs, Staging, Work
from tests.model.moondream.tape import Refused, capture

CPU = torch.device("cpu")


class Noting:
    """A capture that says what it was given, and replays by doing it again."""

    def __init__(self) -> None:
        self.captured = 0

    def __call__(self, work: Work) -> Work:
        self.captured += 1
        work()
        return work


def test_recorded_when_it_comes_for_the_third_time() -> None:
    noting, done = Noting(), []
    programs = Programs(noting)
    for _ in range(5):
        programs.run("a", lambda: done.append("a"))
    programs.run("b", lambda: done.append("b"))
    assert noting.captured == 1
    assert programs.recorded == ["a"]
    assert done == ["a"] * 6 + ["b"]  # twice as it stands, once recorded, three times replayed


def test_the_least_recently_used_is_dropped() -> None:
    programs = Programs(Noting(), limit=2, patience=0)
    for key in ("a", "b", "a", "c"):
        programs.run(key, lambda: None)
    assert programs.recorded == ["a", "c"]


def test_without_capture_all_runs_as_it_stands() -> None:
    done: list[int] = []
    programs = Programs(None, patience=0)
    for _ in range(3):
        programs.run("a", lambda: done.append(1))
    assert (len(done), programs.recorded) == (3, [])


def test_what_cannot_be_recorded_is_said_once_and_done(caplog: pytest.LogCaptureFixture) -> None:
    def broken(work: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("operation not permitted\n  when stream is capturing")

    done: list[int] = []
    programs = Programs(broken, patience=0)
    for key in ("a", "b", "a"):
        programs.run(key, lambda: done.append(1))
    assert len(done) == 3
    assert len(caplog.messages) == 1
    assert "operation not permitted when stream" in caplog.messages[0]


def test_memory_stays_until_it_must_grow() -> None:
    programs = Programs(Noting(), patience=0)
    memory = Memory(CPU, programs)
    first = memory.view("x", (3, 4), torch.float32)
    first[:] = 7
    programs.run("a", lambda: None)
    assert memory.view("x", (2, 2), torch.float32).data_ptr() == first.data_ptr()
    assert programs.recorded == ["a"]
    grown = memory.view("x", (5, 4), torch.float32, keep=True)
    assert grown.data_ptr() != first.data_ptr()
    assert (grown[:3] == 7).all()
    assert programs.recorded == []
    assert memory.fill("i", np.arange(3), torch.int64).tolist() == [0, 1, 2]


def test_parts_are_copied_side_by_side() -> None:
    parts = [np.full((n, 2), n, dtype=np.uint8) for n in (1, 3)]
    assert Staging(CPU).copy(parts)[:, 0].tolist() == [1, 3, 3, 3]


@torch.inference_mode()
def test_the_tape_replays_on_new_numbers_and_old_python() -> None:
    x, out = torch.zeros(3), torch.zeros(3)
    factor = [2.0]

    def work() -> None:
        out.copy_((x * factor[0]).flip(0) + torch.arange(3))

    replay = capture(work)
    factor[0] = 100.0
    x.copy_(torch.tensor([1.0, 2.0, 3.0]))
    replay()
    assert out.tolist() == [6.0, 5.0, 4.0]


@pytest.mark.parametrize("waits", [lambda x: x[x > 0], lambda _: torch.tensor([1, 2])])
@torch.inference_mode()
def test_the_tape_refuses_what_waits(waits: Any) -> None:
    x = torch.ones(3)
    with pytest.raises(Refused):
        capture(lambda: waits(x))


@pytest.mark.gpu
@torch.inference_mode()
def test_a_graph_is_replayed_on_new_numbers() -> None:
    device = torch.device("cuda", 0)
    programs = Programs(CudaCapture(device), patience=1)
    memory = Memory(device, programs)
    out = memory.view("out", (3,), torch.float32)
    for n in range(5):
        x = memory.fill("x", np.full(3, n, dtype=np.float32), torch.float32)
        programs.run("double", lambda x=x: out.copy_(x * 2))  # type: ignore[misc]
        assert out.tolist() == [2.0 * n] * 3
    assert programs.recorded == ["double"]
