import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from streamqa.errors import ConfigError, ModelError, ModelLost
from streamqa.metrics import Metrics
from streamqa.model import worker as worker_module
from streamqa.model.base import BACKENDS
from streamqa.model.health import Health
from streamqa.model.link import Loaded
from streamqa.model.pool import ModelChoice, Pool, start_model
from streamqa.model.restarts import Limits
from streamqa.model.worker import Worker
from streamqa.records import Fault
from streamqa.types import Prompt, Request
from tests.model.backends import HERE, KILL

TWO = ("cuda:0", "cuda:1")
QUICK = Limits(first_answer_s=20, least_answer_s=20, first_wait_s=0.01, longest_wait_s=0.05, patience_s=20)


def picture(order: int) -> Request:
    return Request(np.full((1, 1, 3), order, np.uint8), (Prompt("What?"),))


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Pool]]:
    with ExitStack() as stack:

        def make(function: str = "load_slow", health: Health | None = None, **choice: object) -> Pool:
            monkeypatch.setitem(BACKENDS, "fake", f"{HERE}:{function}")
            made = Pool(ModelChoice("fake", **choice), health or Health(), QUICK)  # type: ignore[arg-type]
            stack.callback(made.close)
            return made

        yield make


def test_several_devices_are_one_model(pool: Callable[..., Pool]) -> None:
    both = pool(devices=TWO)
    assert both.info.device == "cuda:0, cuda:1"
    assert both.info.in_flight == 4
    assert both.info.max_frames == 16
    assert len(set(both.pids)) == 2
    assert both.answer([picture(9)])[0][0].text == "9 1x1 27"


def test_one_workers_death_is_nobody_elses(pool: Callable[..., Pool]) -> None:
    health, faults = Health(Metrics()), list[Fault]()
    health.attach(faults.append)
    both = pool(health=health, devices=TWO)
    _ = both.info
    results: dict[int, str] = {}

    def ask(order: int) -> None:
        try:
            results[order] = both.answer([picture(order)])[0][0].text
        except ModelLost:
            results[order] = "lost"

    threads = [threading.Thread(target=ask, args=(order,)) for order in (1, 2, KILL, 3, 4, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results[KILL] == "lost"
    assert list(results.values()).count("lost") <= 2  # its own, and what it shared its process with
    assert len(faults) == 1
    assert "fake on cuda:" in faults[0].message
    while None in both.pids:
        time.sleep(0.01)
    assert both.answer([picture(7)])[0][0].text == "7 1x1 21"


def test_work_goes_to_the_least_busy(pool: Callable[..., Pool]) -> None:
    both = pool(devices=TWO)
    _ = both.info
    first, second = both._workers
    with both._health.changed:
        first.busy = 1
        assert worker_module._claim([first, second]) is second
        second.busy = 2  # full
        assert worker_module._claim([first, second]) is first
        first.busy = second.busy = 0


def test_all_visible_devices_are_found_by_the_first_worker(
    pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_loaded = Worker._on_loaded

    def on_three_gpus(self: Worker, message: Loaded) -> None:
        device = self._load.options.device or "cuda"
        on_loaded(self, Loaded(message.info.__class__("m", "1", device, "x", frozenset()), devices=3))

    monkeypatch.setattr(Worker, "_on_loaded", on_three_gpus)
    assert pool().info.device == "cuda, cuda:1, cuda:2"
    assert pool(devices=("cuda:1",)).info.device == "cuda:1"


def test_what_cannot_be_loaded_is_told_and_all_are_ended(pool: Callable[..., Pool], tmp_path: Path) -> None:
    both = pool("load_missing", directory=tmp_path, devices=TWO)
    with pytest.raises(ModelError, match="no weights in"):
        _ = both.info
    both.close()
    both.close()
    with pytest.raises(ConfigError, match="no such model"):
        Pool(ModelChoice("nobody"), Health())


@pytest.mark.parametrize(
    "wrong", [{"devices": TWO, "isolate": False}, {"devices": ("cpu", "cpu")}], ids=["here", "twice"]
)
def test_choices_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        ModelChoice("tiny", **wrong)  # type: ignore[arg-type]


def test_a_model_in_this_process_is_loaded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "fake", f"{HERE}:load")
    model = start_model(ModelChoice("fake", devices=("cuda:1",), isolate=False))
    assert not isinstance(model, Pool)
    assert model.info.device == "cuda:1"
    isolated = start_model(ModelChoice("fake"))
    assert isinstance(isolated, Pool)
    isolated.close()
