"""One child process that runs a model, from its start to its death; `worker.py` starts the next one."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from streamqa.errors import ConfigError, ModelError, ModelLost, StreamQAError
from streamqa.model.link import (
    Answered,
    Ask,
    BrokenLink,
    Failed,
    Link,
    Load,
    Loaded,
    Lost,
    Refused,
    Slab,
    Slabs,
    lay,
    places,
)
from streamqa.model.restarts import Limits, Pace, how_it_died, work_units
from streamqa.types import Generation, Request

Generations = list[list[Generation]]

_LOOK_UP_S = 0.2  # how often overdue answers are looked for
_REAP_S = 5.0
_TOLD_BYTES = 4096  # of its stderr, kept for the message about its death
_GRACE_S = 30.0  # beyond an answer's limit: by then it has been given up


class NotSent(Exception):
    """The process was dead before it was asked; another may be."""


class _Pending(NamedTuple):
    """A batch in the child."""

    answer: Future[Generations]
    units: int
    asked_s: float
    due_s: float  # then the child hangs


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended."""

    reason: str  # "was killed (SIGKILL)…"
    refused: StreamQAError | None = None  # it could not load, and said why


class Stop(Protocol):
    """What of a `threading.Event` is used."""

    def is_set(self) -> bool:
        """Whether to stop."""
        ...


def _start(descriptor: int) -> subprocess.Popen[bytes]:
    """Start a child at the other end of `descriptor`, with this process's import path."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "streamqa.model.child", str(descriptor), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)},
        pass_fds=[descriptor],
        process_group=0,  # Ctrl-C in the terminal is for the parent, also before the child can ignore it
    )


class ModelProcess:
    """A child. The thread that makes it calls `run`, and lives as long: on Linux the child is killed with it."""

    def __init__(self, load: Load, limits: Limits, load_s: float) -> None:
        ours, theirs = socket.socketpair()
        self._link = Link(ours)
        with theirs:
            try:
                self._process = _start(theirs.fileno())
            except OSError:
                self._link.close()
                raise
        self._limits = limits
        self._load = load
        self._pace = Pace(limits)
        self._slabs = Slabs()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._refused: StreamQAError | None = None
        self._load_s = load_s  # for the load, then it hangs
        self._load_until_s: float | None = time.monotonic() + load_s
        self._over = False
        self._told = b""
        self._ears = threading.Thread(target=self._listen, name="model stderr", daemon=True)
        self._ears.start()

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._process.pid

    def run(self, on_loaded: Callable[[Loaded], None], closing: Stop) -> Ending:
        """Have the model loaded, then hand on its answers until the process is dead.

        What is in flight then waits until `give_up`.
        """
        with suppress(OSError):  # dead already: reading finds it
            self._link.send(self._load)
        reason = ""
        try:
            reason = self._until_dead(on_loaded, closing)
        finally:
            died = self._reap(at_once=bool(reason))
        return Ending(reason or died, self._refused)

    def exchange(self, requests: Sequence[Request]) -> Generations:
        """Ask, and wait for the answers. May be called from any thread.

        Raises:
            NotSent: the process was dead already.
            ModelError: the model raised, or (`ModelLost`) the process died meanwhile.
        """
        number, pending = self._expect(work_units(requests))
        try:
            slab = self._send(number, requests)
            wait_s = pending.due_s - pending.asked_s + _GRACE_S
            generations = pending.answer.result(wait_s)
        except NotYet:
            raise ModelLost(f"the model gave no answer within {wait_s:.0f} s") from None
        finally:
            with self._lock:
                self._pending.pop(number, None)
        self._slabs.give_back(slab)
        return generations

    def give_up(self, error: StreamQAError) -> None:
        """The process is dead: who waits for its answers gets `error`, who comes later `NotSent`."""
        with self._lock:
            self._over = True
            pending, self._pending = self._pending, {}
        for item in pending.values():
            item.answer.set_exception(error)

    def shut(self) -> None:
        """Make it end; `run` returns soon. From any thread."""
        self._link.shut()

    def _send(self, number: int, requests: Sequence[Request]) -> Slab:
        """Send a batch; returns where its pictures lie until it is answered."""
        at, size = places(requests)
        slab, forget = self._slabs.borrow(size)
        try:
            bare = lay(requests, at, slab.memory)
            self._link.send(Ask(number, bare, at, slab.number, len(slab.memory), forget), slab.descriptors)
        except OSError:
            self._process.kill()  # it is dead, or does not read; either way `run` finds it so
        finally:
            for descriptor in slab.descriptors:
                os.close(descriptor)
        return slab._replace(descriptors=())

    def _expect(self, units: int) -> tuple[int, _Pending]:
        now_s = time.monotonic()
        pending = _Pending(Future(), units, now_s, now_s + self._pace.limit_s(units))
        with self._lock:
            if self._over:
                raise NotSent
            number = next(self._numbers)
            self._pending[number] = pending
        return number, pending

    def _until_dead(self, on_loaded: Callable[[Loaded], None], closing: Stop) -> str:
        """Take its messages; returns why it must be killed, "" where it ends by itself."""
        reason = ""
        while not reason:
            try:
                if self._link.readable(_LOOK_UP_S):
                    reason = self._hear(on_loaded)
                elif closing.is_set():
                    return ""
                reason = reason or self._judge()
            except EOFError:
                return ""
            except BrokenLink as error:
                reason = f"sent garbage ({error}) and was killed"
        return reason

    def _hear(self, on_loaded: Callable[[Loaded], None]) -> str:
        """Take one message; returns why the process must end, "" while it need not."""
        message, _ = self._link.receive()
        match message:
            case Answered() | Failed():
                self._settle(message)
            case Loaded():
                self._load_until_s = None
                on_loaded(message)
            case Refused():
                self._refused = (ConfigError if message.is_config else ModelError)(message.message)
                return f"could not load: {message.message}"
            case Lost():
                return f"lost its device: {message.message}"
            case _:
                return f"sent garbage ({type(message).__name__}) and was killed"
        return ""

    def _settle(self, message: Answered | Failed) -> None:
        with self._lock:
            pending = self._pending.pop(message.id, None)
        if pending is None:
            return
        if isinstance(message, Failed):
            pending.answer.set_exception(ModelError(message.message))
            return
        self._pace.learn(pending.units, time.monotonic() - pending.asked_s)
        pending.answer.set_result(message.generations)

    def _judge(self) -> str:
        """Why the process hangs; "" where it does not."""
        now_s = time.monotonic()
        if self._load_until_s is not None and now_s > self._load_until_s:
            return f"did not load within {self._load_s:.0f} s and was killed"
        with self._lock:
            late = [p.due_s - p.asked_s for p in self._pending.values() if now_s > p.due_s]
        return f"hung: it gave no answer within {max(late):.0f} s and was killed" if late else ""

    def _reap(self, at_once: bool) -> str:
        """See it dead; returns how it died."""
        self._link.shut()
        try:
            self._process.wait(0 if at_once else self._limits.stop_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_REAP_S)
        self._ears.join(_LOOK_UP_S)  # a grandchild may hold its stderr open
        self._link.close()
        return how_it_died(self._process.returncode, self._told.decode(errors="replace"))

    def _listen(self) -> None:
        """Pass on what it writes to stderr, and keep the end of it."""
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            while data := os.read(pipe.fileno(), 65536):
                self._told = (self._told + data)[-_TOLD_BYTES:]
                with suppress(OSError, ValueError, AttributeError):  # ours may be closed, or none
                    sys.stderr.write(data.decode(errors="replace"))
                    sys.stderr.flush()
