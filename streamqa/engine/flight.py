"""Batches inside the model: a bounded number at once, read strictly in the order they were handed over."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

_LOOK_UP_S = 1.0  # how often an idle thread looks whether it is still needed

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class _Leg(Generic[T, R]):
    """One batch between hand-over and reading."""

    batch: T
    result: R | None = None
    failure: BaseException | None = None
    done: bool = False


class Flight(Generic[T, R]):
    """Runs `work` on up to `width` batches side by side, each width on a thread of its own.

    Queue policy: it refuses. Whoever hands over asks `full` first; nothing waits but what is being worked on. With
    width 1 the work is done inside `hand_over`, by the caller's thread; with more, `woken` is called by the thread
    of the work each time that a batch is done.
    """

    def __init__(self, work: Callable[[T], R], width: int, woken: Callable[[], None]) -> None:
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        self._work, self._width, self._woken = work, width, woken
        self._legs: deque[_Leg[T, R]] = deque()  # in the order of hand-over; only the owner changes it
        self._todo: queue.SimpleQueue[_Leg[T, R] | None] = queue.SimpleQueue()  # bounded by `full`
        self._changed = threading.Condition()
        self._closed = False
        self._threads: list[threading.Thread] = []

    @property
    def flying(self) -> int:
        """Batches that were handed over and not read yet."""
        return len(self._legs)

    @property
    def full(self) -> bool:
        """Whether a batch must be read before the next one can be handed over."""
        return len(self._legs) >= self._width

    def hand_over(self, batch: T) -> None:
        """Start work on a batch.

        Raises:
            RuntimeError: `full`, or closed.
        """
        if self.full or self._closed:
            raise RuntimeError("closed" if self._closed else f"{self.flying} batches are in flight already")
        leg: _Leg[T, R] = _Leg(batch)
        self._legs.append(leg)
        if self._width == 1:
            self._run(leg)
            return
        if len(self._threads) < min(self._width, self.flying):
            # Persistent ones: torch keeps state, and its OpenMP a whole team, for each thread that calls it.
            thread = threading.Thread(target=self._fly, name=f"model-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._todo.put(leg)

    def landed(self, timeout_s: float) -> list[tuple[T, R]]:
        """Batches that are done, with their results, up to the first that is not; waits for the oldest one.

        Raises:
            BaseException: what `work` raised for the oldest batch.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._legs or self._legs[0].done, timeout_s)
        found: list[tuple[T, R]] = []
        while self._legs and self._legs[0].done:
            leg = self._legs.popleft()
            if leg.failure is not None:
                raise leg.failure
            assert leg.result is not None
            found.append((leg.batch, leg.result))
        return found

    def abandon(self) -> list[T]:
        """Give up what is in flight, in order; what comes back of it later is thrown away."""
        batches = [leg.batch for leg in self._legs]
        self._legs.clear()
        return batches

    def close(self) -> None:
        """Let the threads end after what they are doing; does not wait for them."""
        self._closed = True
        for _ in self._threads:
            self._todo.put(None)

    def _fly(self) -> None:
        while not self._closed:
            try:
                leg = self._todo.get(timeout=_LOOK_UP_S)
            except queue.Empty:
                continue
            if leg is None:
                return
            self._run(leg)
            self._woken()

    def _run(self, leg: _Leg[T, R]) -> None:
        try:
            leg.result = self._work(leg.batch)
        # Not swallowed: `landed` raises it in the owner's thread.
        except BaseException as failure:
            leg.failure = failure
        with self._changed:
            leg.done = True
            self._changed.notify_all()
