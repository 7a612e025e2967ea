"""Outlets: sinks that lead out of this program, to what may be down, slow or full.

Nothing behind an outlet ever slows the line: records wait in a queue of its own, which drops the oldest when it is
full, and a thread of its own delivers them. What an outlet lost, and why, is counted and shown.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from streamqa.capture.backoff import Backoff
from streamqa.capture.reach import Reach
from streamqa.capture.sources import SourceInfo
from streamqa.errors import StreamQAError
from streamqa.metrics import Metrics
from streamqa.sinks.base import Logged
from streamqa.sinks.wanted import Wanted
from streamqa.types import Question, utc_now

_logger = logging.getLogger(__name__)

_CLOSE_S = 2.0  # to deliver what is pending when it is closed
_CUT_S = 0.5  # and then for a delivery that is cut off to come back
_LAST_TRY = 0.8  # of its patience, at most, passes between two tries
_TELL_S = 60.0  # a sink that comes and goes is told of this often at most


class Undelivered(StreamQAError):
    """A delivery failed; the message is one line without secrets: what happened, and where."""

    def __init__(
        self, message: str, *, delivered: int = 0, retry: bool = True, after_s: float | None = None
    ) -> None:
        """`delivered`: how many records of those handed over, from the first on, were delivered all the same.

        `retry`: the rest is worth another try; False: the first of it is given up. `after_s`: not before so long.
        """
        super().__init__(message)
        self.delivered = delivered
        self.retry = retry
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class SinkState:
    """How a sink is doing."""

    id: str
    kind: str
    target: str  # where it leads, without secrets
    is_up: bool | None  # None: nothing was delivered yet, and nothing failed
    reason: str  # why it is down, one line without secrets; "" otherwise
    since: datetime  # UTC, of `is_up`
    queued: int
    delivered: int  # since the start
    dropped: int  # records that it missed, since the start


class Outlet(Protocol):
    """A `Sink` that says how it is doing."""

    def write(self, records: Sequence[Logged]) -> None:
        """Take some records; returns at once."""
        ...

    def state(self) -> SinkState:
        """How it is doing. Any thread."""
        ...

    def close(self) -> None:
        """Deliver what is pending, within some 2 s, and free what is held."""
        ...


class Delivery(Protocol):
    """Brings records to where they shall go. `deliver` belongs to the outlet's thread."""

    def deliver(self, records: Sequence[Logged]) -> None:
        """Deliver these, in this order; may take its time.

        Raises:
            Undelivered: some of them could not be.
        """
        ...

    def close(self) -> None:
        """Free what is held. Called once, from another thread; a `deliver` under way shall end soon after it."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What an outlet may use of the rest. All callables may be called from any thread."""

    metrics: Metrics
    epoch: str  # of the log's numbers
    evidence: Callable[[int], Path | None]  # the picture that a record is about, a JPEG
    describe: Callable[[], tuple[Sequence[SourceInfo], Sequence[Question]]]
    # Pauses (True) or resumes a question or a source; raises StreamQAError where it cannot be done.
    pause: Callable[[Literal["question", "source"], str, bool], None]
    dead_letters: Path | None  # the file for what could not be delivered; None: it is kept in memory
    reach: Reach | None = (
        None  # where those that are added over the network may lead; None: to public addresses
    )


class Ledger:
    """What is known of one sink: its state, its counts, and what was told of it. Thread-safe."""

    def __init__(self, id: str, kind: str, target: str, metrics: Metrics) -> None:
        """`target`: where it leads, without secrets."""
        self.id = id
        self._kind, self._target, self._metrics = kind, target, metrics
        self._lock = threading.Lock()
        self._is_up: bool | None = None
        self._reason, self._since = "", utc_now()
        self._queued = self._delivered = self._dropped = 0
        self._told_s: float | None = None  # when its trouble was told last
        self._is_told = False  # that it is down
        self._metrics.sink_up.labels(id).set(1)
        self._metrics.sink_queued.labels(id).set(0)

    def state(self) -> SinkState:
        """All of it."""
        with self._lock:
            return SinkState(
                self.id, self._kind, self._target, self._is_up, self._reason, self._since,
                self._queued, self._delivered, self._dropped,
            )  # fmt: skip

    def queued(self, count: int) -> None:
        """So many records wait now."""
        with self._lock:
            self._queued = count
        self._metrics.sink_queued.labels(self.id).set(count)

    def delivered(self, count: int) -> None:
        """So many more were delivered."""
        with self._lock:
            self._delivered += count
        self._metrics.sink_delivered.labels(self.id).inc(count)

    def dropped(self, count: int) -> None:
        """So many more will never be."""
        with self._lock:
            self._dropped += count
        self._metrics.sink_dropped.labels(self.id).inc(count)

    def up(self) -> None:
        """It works; told where its trouble was."""
        with self._lock:
            was_told, self._is_told = self._is_told, False
            if self._is_up is not True:
                self._is_up, self._reason, self._since = True, "", utc_now()
            dropped = self._dropped
        self._metrics.sink_up.labels(self.id).set(1)
        if was_told:
            _logger.warning("sink %s works again; it has missed %d records since the start", self.id, dropped)

    def down(self, reason: str) -> None:
        """It does not work; told once, and not more often than once a minute."""
        now_s = time.monotonic()
        with self._lock:
            if self._is_up is not False:
                self._is_up, self._since = False, utc_now()
            self._reason = reason
            is_news = not self._is_told and (self._told_s is None or now_s - self._told_s >= _TELL_S)
            if is_news:
                self._is_told, self._told_s = True, now_s
        self._metrics.sink_up.labels(self.id).set(0)
        self._metrics.sink_failures.labels(self.id).inc()
        if is_news:
            _logger.warning("sink %s is down: %s; the line goes on without it", self.id, reason)


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """How an outlet's queue is kept."""

    capacity: int = 1000  # records
    batch: int = 100  # records handed over at once, at most
    patience_s: float | None = None  # what could not be delivered for so long is given up; None: never

    def __post_init__(self) -> None:
        if self.capacity < 1 or self.batch < 1:
            raise ValueError(f"a queue needs room for a record, got {self.capacity} and {self.batch} at once")


DEFAULT_QUEUE = QueueSettings()


def _nothing(records: Sequence[Logged], reason: str) -> None:
    """What is given up is gone."""


class QueuedOutlet:
    """An outlet around a `Delivery`: a bounded queue and a thread.

    Queue policy: drop the oldest. `write` never waits; when the queue is full, the oldest record in it is dropped and
    counted (those that are just being delivered are not in it any more). A delivery that fails is tried again, after
    0.5 s, 1 s, … 30 s, spread by chance, where it says that this is worth it. What is given up on purpose, because it
    was refused, is too old, or the queue is closed or nearly full while nothing can be delivered, is handed to
    `give_up`, in the outlet's thread, and counted as dropped.
    """

    def __init__(
        self,
        ledger: Ledger,
        wanted: Wanted,
        delivery: Delivery,
        settings: QueueSettings = DEFAULT_QUEUE,
        give_up: Callable[[Sequence[Logged], str], None] = _nothing,
    ) -> None:
        """Starts at once. `delivery` is closed with it."""
        self._ledger, self._wanted, self._delivery = ledger, wanted, delivery
        self._settings, self._give_up = settings, give_up
        self._changed = threading.Condition()  # guards all that follows
        self._waiting: deque[tuple[float, Logged]] = deque()  # with the moment of arrival, monotonic
        self._in_hand: list[tuple[float, Logged]] = []  # being delivered
        self._closing = False
        self._backoff = Backoff()
        self._thread = threading.Thread(target=self._run, name=f"sink {ledger.id}", daemon=True)
        self._thread.start()

    def write(self, records: Sequence[Logged]) -> None:
        """Queue what is wanted of `records`; never waits. After `close`, nothing is taken."""
        now_s = time.monotonic()
        wanted = [(now_s, record) for record in records if self._wanted.wants(record.payload)]
        if not wanted:
            return
        with self._changed:
            if self._closing:
                return
            self._waiting.extend(wanted)
            excess = max(0, len(self._waiting) - self._settings.capacity)
            for _ in range(excess):
                self._waiting.popleft()
            self._count_queued()
            self._changed.notify_all()
        if excess:
            self._ledger.dropped(excess)

    def state(self) -> SinkState:
        """How it is doing."""
        return self._ledger.state()

    def drained(self, timeout_s: float) -> bool:
        """Wait until all that was written is delivered or given up; False when the time is over first."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._in_hand), timeout_s)

    def close(self) -> None:
        """Deliver what is pending within 2 s; the rest is given up. May be called twice."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_CLOSE_S)
        self._delivery.close()  # cuts off what hangs
        self._thread.join(_CUT_S)
        self._drop(self._taken_out(None), "it was not delivered before the end")

    def _run(self) -> None:
        while records := self._next():
            try:
                self._delivery.deliver(records)
            except Undelivered as error:
                self._done(error.delivered)
                self._failed(error)
            # A mistake of ours, or of a library behind it, must not end the outlet: one record less, and it goes on.
            except Exception as error:
                _logger.debug("sink %s failed", self._ledger.id, exc_info=True)
                self._failed(Undelivered(f"unexpected {type(error).__name__}", retry=False))
            else:
                self._done(len(records))
                self._backoff.forget()
                self._ledger.up()

    def _next(self) -> list[Logged]:
        """What is to be delivered now; waits for it. Empty: it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._in_hand or self._closing)
            while self._waiting and len(self._in_hand) < self._settings.batch:
                self._in_hand.append(self._waiting.popleft())
            return [record for _, record in self._in_hand]

    def _done(self, count: int) -> None:
        """So many of those in hand are delivered."""
        with self._changed:
            count = min(count, len(self._in_hand))
            del self._in_hand[:count]
            self._count_queued()
        if count:
            self._ledger.delivered(count)

    def _failed(self, error: Undelivered) -> None:
        reason = str(error)
        self._ledger.down(reason)
        if not error.retry:
            self._drop(self._taken_out(1), reason)
            return
        if self._closing:
            self._drop(self._taken_out(None), reason)
            return
        pause_s = max(self._backoff.after(refused=False, steady=False), error.after_s or 0.0)
        if self._settings.patience_s is not None:  # once more before it is given up, whatever was asked for
            pause_s = min(pause_s, self._settings.patience_s * _LAST_TRY)
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._is_crowded(), pause_s)
        self._drop(self._overdue(), reason)

    def _is_crowded(self) -> bool:
        """Whether room is to be made, while nothing can be delivered."""
        is_impatient = self._settings.patience_s is not None
        return is_impatient and len(self._waiting) >= max(1, self._settings.capacity * 3 // 4)

    def _overdue(self) -> list[Logged]:
        """Take out what was tried for long enough, or takes the room of newer ones."""
        patience_s = self._settings.patience_s
        if patience_s is None:
            return []
        with self._changed:
            oldest_s = time.monotonic() - patience_s
            both = [*self._in_hand, *self._waiting]
            old = sum(arrived_s < oldest_s for arrived_s, _ in both)
            crowding = len(self._waiting) - self._settings.capacity // 2 if self._is_crowded() else 0
            return self._taken_out(max(old, crowding))

    def _taken_out(self, count: int | None) -> list[Logged]:
        """Take the oldest `count` records out of what is not delivered; None: all of them."""
        with self._changed:
            both = [*self._in_hand, *self._waiting]
            count = len(both) if count is None else min(count, len(both))
            held = len(self._in_hand)
            del self._in_hand[:count]
            for _ in range(max(0, count - held)):
                self._waiting.popleft()
            self._count_queued()
            return [record for _, record in both[:count]]

    def _drop(self, records: Sequence[Logged], reason: str) -> None:
        if not records:
            return
        self._ledger.dropped(len(records))
        try:
            self._give_up(records, reason)
        # Where even that fails, they are lost, which is counted; the outlet goes on.
        except Exception as error:
            _logger.warning("sink %s: %d records are lost: %s", self._ledger.id, len(records), error)

    def _count_queued(self) -> None:
        """Called with the lock held."""
        self._ledger.queued(len(self._waiting) + len(self._in_hand))
        self._changed.notify_all()
