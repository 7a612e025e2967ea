"""Any `VisionModel` in a child process: when the process dies, what was in it is lost, and another takes its place.

Crash, CUDA fault, out-of-memory kill, hang or garbage: the batch in flight raises `ModelLost`, which says how it
died; the worker starts the next process by itself. While none is there, `answer` waits for a while: a live source
skips ticks meanwhile, a recording waits.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from typing import Literal

from streamqa.errors import ModelError, ModelLost, StreamQAError
from streamqa.model.base import in_one_line
from streamqa.model.health import Health
from streamqa.model.link import Load, Loaded
from streamqa.model.process import Ending, Generations, ModelProcess, NotSent
from streamqa.model.restarts import Backoff, Limits
from streamqa.types import ModelInfo, Request

_LOOK_UP_S = 1.0
_STOP_S = 10.0  # for the thread to end: it kills a process that does not


class Worker:
    """One child process at a time, kept alive until `close`. Starts at once; `info` waits for the first load."""

    def __init__(self, load: Load, health: Health | None = None, limits: Limits | None = None) -> None:
        self.health = health or Health()
        self.limits = limits or Limits()
        self.state: Literal["loading", "live", "down", "ended"] = "loading"  # by health.changed
        self.busy = 0  # calls in the process, by health.changed
        self.load_s = 0.0  # how long the first load took
        self.devices = 0  # CUDA devices that the process sees
        self._load = load
        self._info: ModelInfo | None = None
        self._failure: StreamQAError | None = None  # why the first load failed
        self._process: ModelProcess | None = None
        self._closing = threading.Event()
        self._started_s = time.monotonic()
        self._thread = threading.Thread(target=self._keep, name=f"worker {self.name}", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """For people: the model, and the device that was asked for."""
        device = self._load.options.device
        return f"{self._load.spec} on {device}" if device else self._load.spec

    @property
    def pid(self) -> int | None:
        """Of the process that is there now; None while there is none."""
        process = self._process
        return process.pid if process is not None and self.state == "live" else None

    @property
    def info(self) -> ModelInfo:
        """What answers. Waits until it is known.

        Raises:
            ConfigError, ModelError: the model cannot be loaded, in the words of `open_model`.
        """
        with self.health.changed:
            while self._info is None:
                self.check()
                self.health.changed.wait(_LOOK_UP_S)
            return self._info

    def answer(self, requests: Sequence[Request]) -> Generations:
        """One generation for each prompt of each request.

        Raises:
            ModelLost: the process died meanwhile, or is not back yet.
            ModelError: the model failed on the batch.
        """
        _ = self.info  # the first load is waited for, however long it takes
        return answer_by([self], requests)

    def end(self) -> None:
        """Begin to close."""
        self._closing.set()
        process = self._process
        if process is not None:
            process.shut()

    def close(self) -> None:
        """End the process, whatever it does; who waits for an answer gets a `ModelError`. May be called twice."""
        self.end()
        self._thread.join(_STOP_S)

    def exchange(self, requests: Sequence[Request]) -> Generations:
        """Ask the process that is there now, and wait.

        Raises:
            NotSent: there is none.
            ModelError: as `answer`.
        """
        process = self._process
        if process is None:
            raise NotSent
        return process.exchange(requests)

    def check(self) -> None:
        """Raise what ended this worker, where it has ended."""
        if self.state == "ended" and self._failure is not None:
            raise self._failure

    @property
    def room(self) -> int:
        """How many more calls the process takes now."""
        return self._info.in_flight - self.busy if self.state == "live" and self._info is not None else 0

    def _keep(self) -> None:
        """Its thread."""
        failure: StreamQAError = _closed()
        try:
            failure = self._live_for_ever() or failure
        # The thread's own supervisor: whoever waits for an answer gets it, and so does whoever comes later.
        except Exception as error:
            failure = ModelError(f"the worker of {self.name} failed: {in_one_line(error)}")
        with self.health.changed:
            self.state, self._failure = "ended", failure
            self.health.changed.notify_all()
        if self._process is not None:
            self._process.give_up(failure)

    def _live_for_ever(self) -> StreamQAError | None:
        """Start process after process, and see each one's end; returns why there is not even a first."""
        backoff, attempt = Backoff(self.limits), 0
        while not self._closing.is_set():
            born_s = time.monotonic()
            ending, process = self._one_life()
            with self.health.changed:
                attempt = 1 if self.state == "live" else attempt + 1
                self.state = "down"
            if self._closing.is_set():
                return None
            if self._info is None:  # nobody can have asked it yet
                untold = f"the model's process {self.name} {ending.reason}, while it loaded"
                return ending.refused or ModelError(untold)
            self.health.died(self.name, ending.reason)  # first the record, then the answers that it explains
            if process is not None:
                process.give_up(ModelLost(f"the model's process {self.name} {ending.reason}"))
            if not self._closing.wait(backoff.after(time.monotonic() - born_s, random.random())):
                self.health.restarting(self.name, attempt)
        return None

    def _one_life(self) -> tuple[Ending, ModelProcess | None]:
        try:
            first = self._info is None
            load_s = self.limits.load_s if first else self.limits.reload(self.load_s)
            process = ModelProcess(self._load, self.limits, load_s)
        except OSError as error:  # no memory, no room for a process or a descriptor
            return Ending(f"cannot be started ({error.strerror})"), None
        self._process = process
        return process.run(self._on_loaded, self._closing), process

    def _on_loaded(self, message: Loaded) -> None:
        with self.health.changed:
            first = self._info is None
            if first:
                self._info, self.devices = message.info, message.devices
                self.load_s = time.monotonic() - self._started_s
            self.state = "live"
            self.health.changed.notify_all()
        if not first:
            self.health.back(self.name)


def answer_by(workers: Sequence[Worker], requests: Sequence[Request]) -> Generations:
    """Have the least busy of `workers`, which share one `Health`, answer; wait while none can.

    Raises:
        ModelError: as `Worker.answer`.
    """
    while True:
        worker = _claim(workers)
        try:
            return worker.exchange(requests)
        except NotSent:  # it died between the two lines above: perhaps another lives
            continue
        finally:
            with worker.health.changed:
                worker.busy -= 1
                worker.health.changed.notify_all()


def _claim(workers: Sequence[Worker]) -> Worker:
    """A worker with room, counted busy. Patience ends where none is live; where all are busy, each has its limit."""
    health = workers[0].health
    patience_s = max(w.limits.patience(w.load_s) for w in workers)
    until_s = time.monotonic() + patience_s
    with health.changed:
        while True:
            free = [w for w in workers if w.room > 0]
            if free:
                worker = min(free, key=lambda w: w.busy)
                worker.busy += 1
                return worker
            now_s = time.monotonic()
            if all(w.state == "ended" for w in workers):
                workers[0].check()
            if any(w.state == "live" for w in workers):
                until_s = now_s + patience_s
            elif health.stopping or now_s >= until_s:
                raise ModelLost("; ".join(health.trouble()) or "the model is not there")
            health.changed.wait(min(_LOOK_UP_S, max(0.0, until_s - now_s)))


def _closed() -> ModelLost:
    return ModelLost("the model is closed")
