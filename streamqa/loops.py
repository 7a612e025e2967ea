"""Event loops that the end of the process waits for nobody in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class LeavingLoop(asyncio.SelectorEventLoop):
    """An event loop whose work in other threads (names that are looked up, for one) is left behind at the end.

    That work cannot be cut off, and the interpreter waits for the threads of an executor: a resolver that hangs kept
    a process that was told to stop for half a minute. Not bounded: for loops that ask for little.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ends: set[asyncio.Future[None]] = set()

    def run_in_executor(  # type: ignore[override] # the base class's own types name an executor's, which is none here
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """As the base class does; without an executor, in a thread of its own."""
        if executor is not None:
            return super().run_in_executor(executor, func, *args)
        result, end = self.create_future(), self.create_future()
        self._ends.add(end)
        end.add_done_callback(self._ends.discard)

        def work() -> None:
            try:
                told, what = result.set_result, func(*args)
            # Not swallowed: whoever waits for the result gets it.
            except BaseException as error:
                told, what = result.set_exception, error
            with suppress(RuntimeError):  # closed meanwhile: nobody waits
                self.call_soon_threadsafe(_tell, result, told, what, end)

        threading.Thread(target=work, name="for a loop", daemon=True).start()
        return result

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as the base class is called
        """Wait for what is under way, as the base class does."""
        if self._ends:
            await asyncio.wait(self._ends, timeout=timeout)


def _tell(
    result: asyncio.Future[Any], told: Callable[[Any], None], what: Any, end: asyncio.Future[None]
) -> None:
    if not result.done():  # cancelled
        told(what)
    end.set_result(None)
