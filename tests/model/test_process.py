"""What the worker does not show of one process: that a dead one is not asked, and what it leaves behind."""

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from streamqa.errors import ModelLost
from streamqa.model.base import ModelOptions
from streamqa.model.link import Load, Loaded
from streamqa.model.process import Ending, ModelProcess, NotSent
from streamqa.model.restarts import Limits
from streamqa.types import Prompt, Request
from tests.model.backends import HERE

REQUEST = Request(np.zeros((4, 4, 3), np.uint8), (Prompt("What?"),))


class Life:
    """A process with the thread that watches it."""

    def __init__(self, function: str, limits: Limits | None = None) -> None:
        self.loaded, self.stop = threading.Event(), threading.Event()
        self.ending: Ending | None = None
        self.made = threading.Event()
        self._function, self._limits = function, limits or Limits()
        self.thread = threading.Thread(target=self._live)
        self.thread.start()
        assert self.made.wait(20)

    def _live(self) -> None:
        load = Load(f"{HERE}:{self._function}", "fake", None, ModelOptions())
        self.process = ModelProcess(load, self._limits, self._limits.load_s)
        self.made.set()
        self.ending = self.process.run(self._on_loaded, self.stop)

    def _on_loaded(self, message: Loaded) -> None:
        assert message.info.name == "scripted"
        assert message.devices == 0
        self.loaded.set()


def test_a_dead_process_is_not_asked_and_leaves_nothing_behind() -> None:
    before = descriptors()
    life = Life("load")
    assert life.loaded.wait(20)
    assert life.process.exchange([REQUEST])[0][0].text == "0 4x4 0"
    os.kill(life.process.pid, signal.SIGTERM)  # ignored
    os.kill(life.process.pid, signal.SIGKILL)
    life.thread.join(20)
    assert life.ending is not None
    assert life.ending.reason.startswith("was killed (SIGKILL)")
    life.process.give_up(ModelLost("gone"))
    with pytest.raises(NotSent):
        life.process.exchange([REQUEST])
    del life
    assert descriptors() <= before


def test_a_load_that_takes_too_long_is_ended() -> None:
    life = Life("load_never", Limits(load_s=0.1))
    life.thread.join(20)
    assert life.ending == Ending("did not load within 0 s and was killed")


def test_told_to_stop_it_ends_by_itself() -> None:
    life = Life("load")
    assert life.loaded.wait(20)
    life.stop.set()
    life.thread.join(20)
    assert life.ending is not None
    assert life.ending.reason.startswith("ended with exit code 0")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
