"""What others want of the running engine: changes made between batches, and single requests to the model."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, wait
from concurrent.futures import TimeoutError as FutureTimeout
from typing import NamedTuple, TypeVar

from streamqa.errors import Busy, StreamQAError
from streamqa.types import Generation, Request

MOST_SINGLES = 16  # that wait; each holds a picture
MOST_CALLS = 256

T = TypeVar("T")


class Single(NamedTuple):
    """Requests that are no standing question's, and where what the model says goes."""

    requests: tuple[Request, ...]
    said: Future[list[list[Generation]]]


class Inbox:
    """Calls and single requests for the engine's thread. Thread-safe.

    Queue policy: it refuses. At most 16 single requests wait, and 256 calls; whoever comes then is told `Busy`.
    Single requests take turns with batches: between two of them the line has its own.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` lets the engine's thread look here soon."""
        self._wake = wake
        self._lock = threading.Lock()
        self._calls: deque[tuple[Callable[[], None], Future[None]]] = deque()
        self._singles: deque[Single] = deque()
        self._is_closed = False

    @property
    def waiting(self) -> bool:
        """Whether there is something to do."""
        return bool(self._calls or self._singles)

    def call(self, what: Callable[[], None], timeout_s: float) -> None:
        """Run `what` on the engine's thread, between two batches, and wait for it; what it raises is raised here.

        Raises:
            Busy: too many calls wait.
            StreamQAError: the line has stopped, or it took too long and was given up.
        """
        done: Future[None] = Future()
        self._put(self._calls, (what, done), MOST_CALLS)
        wait([done], timeout_s)
        given_up = f"the change waited {timeout_s:g} s for the model and is given up"
        if not done.done():
            if done.cancel():
                raise StreamQAError(f"{given_up}; {_OVERLOADED}")
            wait([done], timeout_s)  # begun just now: it is not given up half done
        _result(done, 0, given_up)

    def post(self, what: Callable[[], None]) -> None:
        """As `call`, without waiting for it; `what` must not raise. Raises Busy, or StreamQAError: it has stopped."""
        self._put(self._calls, (what, Future()), MOST_CALLS)

    def ask(self, requests: Sequence[Request], timeout_s: float) -> list[list[Generation]]:
        """What the model says to `requests`, one generation for each of their prompts.

        Raises:
            Busy: too many single requests wait.
            StreamQAError: the line has stopped, or there was no answer in time.
        """
        said: Future[list[list[Generation]]] = Future()
        self._put(self._singles, Single(tuple(requests), said), MOST_SINGLES)
        return _result(said, timeout_s, f"the model has not answered in {timeout_s:g} s")

    def run_calls(self) -> None:
        """Run what waits; for the engine's thread."""
        while self._calls:
            what, done = self._calls.popleft()
            if not done.set_running_or_notify_cancel():
                continue
            try:
                what()
            # Not swallowed: whoever asked for it gets it.
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(None)

    def next_single(self) -> Single | None:
        """The next one that is still waited for; for the engine's thread."""
        while self._singles:
            single = self._singles.popleft()
            if single.said.set_running_or_notify_cancel():
                return single
        return None

    def close(self) -> None:
        """Nothing is taken any more; who waits is told."""
        with self._lock:
            self._is_closed = True
        waiting = [done for _, done in self._calls] + [single.said for single in self._singles]
        self._calls.clear()
        self._singles.clear()
        for future in waiting:
            future.cancel()

    def _put(self, queue: deque[T], item: T, most: int) -> None:
        with self._lock:
            if self._is_closed:
                raise StreamQAError(_STOPPED)
            if len(queue) >= most:
                raise Busy(f"{most} others wait for the model already; try again soon")
            queue.append(item)
        self._wake()


_OVERLOADED = "it is overloaded or hangs, see /readyz"
_STOPPED = "the line has stopped; nothing can be asked or changed any more"


def _result(future: Future[T], timeout_s: float, what: str) -> T:
    try:
        return future.result(timeout_s)
    except FutureTimeout:
        future.cancel()
        raise StreamQAError(f"{what}; {_OVERLOADED}") from None
    except CancelledError:
        raise StreamQAError(_STOPPED) from None
