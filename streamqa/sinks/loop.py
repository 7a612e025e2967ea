"""An event loop in a thread of its own, for outlets whose libraries want one, and that can be cut off."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, TypeVar

from streamqa.loops import LeavingLoop

T = TypeVar("T")

_END_S = 1.0


class LoopThread:
    """Runs from its making to `close`."""

    def __init__(self, name: str) -> None:
        self._loop = LeavingLoop()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the coroutine that `make` makes gives, or raises; waits for it.

        Raises:
            concurrent.futures.CancelledError: the loop was closed before it was done, or is closed.
        """
        with self._lock:
            if self._closed:
                raise CancelledError
            future = asyncio.run_coroutine_threadsafe(make(), self._loop)
        return future.result()

    def close(self, last: Callable[[], Awaitable[None]]) -> None:
        """Cancel what is under way, run `last`, and end. May be called twice, by any other thread."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        ending = asyncio.run_coroutine_threadsafe(_end(last), self._loop)
        with suppress(TimeoutError):
            ending.result(_END_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_END_S)
        if not self._loop.is_running():
            self._loop.close()


async def _end(last: Callable[[], Awaitable[None]]) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await last()
    await asyncio.sleep(0)  # what was closed is closed by the loop, one round later
