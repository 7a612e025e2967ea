"""All outlets of one line: those of its configuration, and the webhooks that are added while it runs."""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from streamqa.capture.sources import SourceInfo
from streamqa.errors import StreamQAError
from streamqa.sink_settings import SinkConfig, sink_ids, sink_kind
from streamqa.sinks.base import Logged
from streamqa.sinks.outlet import Context, Outlet, SinkState
from streamqa.types import Question

_logger = logging.getLogger(__name__)

# Each has `open_outlet(settings, id, context) -> Outlet`, and is loaded where it is used.
_MODULES: Mapping[str, str] = {
    "jsonl": "streamqa.sinks.jsonl",
    "mqtt": "streamqa.sinks.mqtt",
    "notify": "streamqa.sinks.notify",
    "webhook": "streamqa.sinks.webhook",
}
_CLOSE_S = 5.0  # all of them, beside each other; each promises some 2 s

What = Literal["question", "source"]
Describe = Callable[[], tuple[Sequence[SourceInfo], Sequence[Question]]]
Pause = Callable[[What, str, bool, str], None]


class Outlets:
    """A `Sink` that hands records to all outlets, of which some come and go. Thread-safe.

    An outlet never waits, and one that fails costs the others nothing.
    """

    def __init__(self, describe: Describe = lambda: ((), ())) -> None:
        """`describe`: what will be watched and asked, as far as is known before the line is there."""
        self._describe = describe
        self._pause: Pause = _not_yet
        self._lock = threading.Lock()
        self._writing = threading.Lock()  # while records are handed over
        self._outlets: Mapping[str, Outlet] = {}
        self._failing: set[str] = set()  # told already

    def open(self, sinks: Sequence[SinkConfig], context: Context) -> None:
        """Open those of a configuration.

        Raises:
            ConfigError: one cannot be opened; the others are closed again.
        """
        try:
            for id, settings in zip(sink_ids(list(sinks)), sinks, strict=True):
                module = importlib.import_module(_MODULES[sink_kind(settings)])
                self.put(id, module.open_outlet(settings, id, self.context_of(id, context)))
        except BaseException:
            self.close()
            raise

    def context_of(self, id: str, context: Context) -> Context:
        """`context` for the outlet `id`: what it pauses is recorded as its doing."""
        return replace(context, pause=self.pause_as(f"sink {id}"))

    def pause_as(self, by: str) -> Callable[[What, str, bool], None]:
        """A function that pauses or resumes a question or a source of the line, once it is there."""
        return lambda what, name, paused: self._pause(what, name, paused, by)

    def attach(self, describe: Describe, pause: Pause) -> None:
        """A line runs: what it watches and asks, and how to pause it: what, its name, True or False, and by whom."""
        self._describe, self._pause = describe, pause

    def describe(self) -> tuple[Sequence[SourceInfo], Sequence[Question]]:
        """What is watched and asked now."""
        return self._describe()

    def put(self, id: str, outlet: Outlet) -> Outlet | None:
        """Records go to `outlet`, too, from now on; returns the one that was there, to be closed by the caller."""
        with self._lock:
            before = self._outlets.get(id)
            self._outlets = {**self._outlets, id: outlet}
            self._failing.discard(id)
        self._settle()
        return before

    def take(self, id: str) -> Outlet | None:
        """Records do not go to this one any more; it is the caller's to close."""
        with self._lock:
            before = self._outlets.get(id)
            self._outlets = {name: one for name, one in self._outlets.items() if name != id}
        self._settle()
        return before

    def _settle(self) -> None:
        """Wait for a write that has begun: from then on nobody writes to what is gone, where it would be lost."""
        if self._writing.acquire(timeout=_CLOSE_S):
            self._writing.release()

    def ids(self) -> tuple[str, ...]:
        """Of all that are there."""
        return tuple(self._outlets)

    def states(self) -> list[SinkState]:
        """How each of them is doing."""
        return [outlet.state() for outlet in self._outlets.values()]

    def write(self, records: Sequence[Logged]) -> None:
        """Hand records to all of them; returns at once."""
        with self._writing:
            for id, outlet in self._outlets.items():
                try:
                    outlet.write(records)
                # Whatever a mistake of ours does to one outlet, the log and all others go on.
                except Exception as error:
                    if id not in self._failing:
                        self._failing.add(id)
                        _logger.exception("sink %s failed, its records are lost: %s", id, error)

    def close(self) -> None:
        """Let all of them deliver what is pending, at the same time; may be called twice."""
        with self._lock:
            closing, self._outlets = self._outlets, {}
        threads = [
            threading.Thread(target=outlet.close, name=f"close {id}", daemon=True)
            for id, outlet in closing.items()
        ]
        for thread in threads:
            thread.start()
        until_s = time.monotonic() + _CLOSE_S
        for thread in threads:
            thread.join(max(0.0, until_s - time.monotonic()))
            if thread.is_alive():
                _logger.warning("an output hangs and is left behind (%s)", thread.name)


def _not_yet(what: What, name: str, paused: bool, by: str) -> None:
    raise StreamQAError("the model is still being loaded; try again when /readyz says that it is ready")
