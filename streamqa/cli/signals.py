"""Ctrl-C and SIGTERM: the first asks for an orderly stop, the second ends at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from streamqa.errors import EXIT_INTERRUPTED

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """The user asked to stop while there was nothing to stop orderly.

    Not an `Exception`, as KeyboardInterrupt is not; another name because the command-line library turns
    KeyboardInterrupt into an exit code of its own.
    """


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise Interrupted


@contextmanager
def interruptible() -> Iterator[None]:
    """Within: SIGINT and SIGTERM raise `Interrupted`. Afterwards they are ignored, for the process is ending.

    A second Ctrl-C on the way out would otherwise be a KeyboardInterrupt that nobody catches: the interpreter then
    dies of the signal (seen in one run of the tests out of three), and the exit code is not the command's.
    """
    with _handling(_interrupt, after=signal.SIG_IGN):
        yield


@contextmanager
def stop_on_signal(stop: threading.Event) -> Iterator[None]:
    """Within: the first signal sets `stop`, the second leaves the process at once with exit code 130."""

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(EXIT_INTERRUPTED)
        stop.set()

    with _handling(handle):
        yield


@contextmanager
def _handling(handler: Any, after: Any = None) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old if after is None else after)
