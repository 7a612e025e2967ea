"""Commands over MQTT, carried out one after the other in a thread of their own: a change may take seconds."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Literal

from streamqa.errors import StreamQAError
from streamqa.sinks.topics import Command

_logger = logging.getLogger(__name__)

_MOST = 64  # that wait
_TELL_S = 10.0  # what is refused is told of this often at most

Pause = Callable[[Literal["question", "source"], str, bool], None]


class Commands:
    """A bounded queue of commands.

    Queue policy: the newest is refused. One that finds the queue full, or that is none, is ignored and counted.
    """

    def __init__(
        self, sink: str, pause: Pause, done: Callable[[], None], ignored: Callable[[], None]
    ) -> None:
        """`pause` carries one out; `done` is called after each, whatever came of it; `ignored` counts the others."""
        self._sink, self._pause, self._done, self._count = sink, pause, done, ignored
        self._queue: queue.Queue[tuple[Command, bool] | None] = queue.Queue(_MOST)
        self._told_s: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"sink {sink} commands", daemon=True)
        self._thread.start()

    def take(self, command: Command, payload: bytes) -> None:
        """Queue a command: ON resumes, OFF pauses. Returns at once."""
        if payload not in (b"ON", b"OFF"):
            self.ignore(f"{payload[:40]!r} is neither ON nor OFF")
            return
        try:
            self._queue.put_nowait((command, payload == b"OFF"))
        except queue.Full:
            self.ignore(f"more than {_MOST} commands wait")

    def ignore(self, why: str) -> None:
        """Count a command that nothing can be done with."""
        self._count()
        self._tell(f"a command is ignored: {why}")

    def close(self) -> None:
        """No more of them. One that is being carried out is left to itself."""
        try:
            self._queue.put_nowait(None)
        except queue.Full:  # its thread ends with the process
            _logger.debug("sink %s: commands wait for one that hangs", self._sink)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            command, is_pause = item
            what: Literal["question", "source"] = "source" if command.question is None else "question"
            name = command.source if command.question is None else command.question
            try:
                self._pause(what, name, is_pause)
            except StreamQAError as error:
                self._tell(f"{what} {name} is not {'paused' if is_pause else 'resumed'}: {error}")
            # The thread's own supervisor: one command less, and it goes on.
            except Exception as error:
                self._tell(f"{what} {name}: unexpected {type(error).__name__}")
            self._done()

    def _tell(self, text: str) -> None:
        now_s = time.monotonic()
        if self._told_s is None or now_s - self._told_s >= _TELL_S:
            self._told_s = now_s
            _logger.warning("sink %s: %s", self._sink, text)
