"""Cameras that are not there when somebody asks: `ask` ends where `run` would try again for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from streamqa.errors import SourceRefused, SourceUnavailable, StreamQAError

if TYPE_CHECKING:
    from streamqa.sinks.base import Logged

_FAILED = {"reconnecting": SourceUnavailable, "refused": SourceRefused}


class Absent:
    """A sink that knows which sources failed before their first picture; with no others left it stops the line.

    A camera that was there once is waited for.
    """

    def __init__(self, sources: Iterable[str], stop: threading.Event) -> None:
        self._sources, self._stop = frozenset(sources), stop
        self._over: set[str] = set()
        self._came: set[str] = set()
        self.failures: dict[str, StreamQAError] = {}  # why each of them is absent
        self.gave_up = False  # whether it was this that stopped the line

    def write(self, records: Sequence[Logged]) -> None:
        """Look at the source states among `records`."""
        for record in records:
            if record.payload["type"] == "source":
                self._look(record.payload["source"], record.payload["state"], record.payload["reason"])
        if self.failures and self._sources == self._over | self.failures.keys():
            self.gave_up = not self._stop.is_set() or self.gave_up
            self._stop.set()

    def _look(self, source: str, state: str, reason: str) -> None:
        if state in ("live", "frozen"):
            self._came.add(source)
            self.failures.pop(source, None)
        elif state == "ended":
            self._over.add(source)
        elif state in _FAILED and source not in self._came:
            self.failures[source] = _FAILED[state](reason)

    def close(self) -> None:
        """Nothing is held."""
