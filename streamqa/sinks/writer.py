"""The one thread that makes records durable and then hands them on: log first, then everybody else."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence

from streamqa.errors import StreamQAError
from streamqa.metrics import Metrics
from streamqa.records import Record
from streamqa.sinks.base import Logged, Sink
from streamqa.sinks.log import AnswerLog

_logger = logging.getLogger(__name__)

_CAPACITY = 256  # batches; a full queue makes the engine wait, and capture then keeps its newest frames only
_BATCH = 256  # records of one transaction
_LOOK_UP_S = 0.2


class RecordWriter:
    """A bounded queue, the log, and the sinks behind it.

    Queue policy: it waits. A record is never dropped here; a slow disk slows the engine down, and the frames
    that are lost to that are counted where frames are lost, in the capture buffer.
    """

    def __init__(self, log: AnswerLog, sinks: Sequence[Sink], metrics: Metrics) -> None:
        self._log, self._sinks, self._metrics = log, tuple(sinks), metrics
        self._queue: queue.Queue[tuple[Record, ...]] = queue.Queue(_CAPACITY)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="records", daemon=True)
        self.failure: Exception | None = None  # why nothing is written any more

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, records: Sequence[Record]) -> None:
        """Queue records; waits while the queue is full.

        Raises:
            StreamQAError: the writer has failed or is closed, so they would be lost.
        """
        while not self._closing.is_set():
            if self.failure is not None:
                raise StreamQAError(f"records cannot be written any more: {self.failure}")
            try:
                self._queue.put(tuple(records), timeout=_LOOK_UP_S)
            except queue.Full:
                continue
            return
        raise StreamQAError("records cannot be written any more: the log is closing")

    def drained(self, timeout_s: float) -> bool:
        """Wait until all that was put is written, or cannot be; False when the time is over first."""
        with self._queue.all_tasks_done:
            return self._queue.all_tasks_done.wait_for(
                lambda: not self._queue.unfinished_tasks or self.failure is not None, timeout_s
            )

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is queued, then stop. The log and the sinks stay open: they are their owner's to close."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                _logger.warning(
                    "the log or an output hangs: %d batches of records are given up",
                    self._queue.unfinished_tasks,
                )

    def _run(self) -> None:
        try:
            while not (self._closing.is_set() and self._queue.empty()):
                batches = self._take()
                if batches:
                    self._write([record for batch in batches for record in batch])
                for _ in batches:
                    self._queue.task_done()
        except Exception as error:  # the thread's own supervisor: `put` reports it to whoever comes next
            _logger.error("the answer log failed, nothing is recorded any more: %s", error)
            self.failure = error
            with self._queue.all_tasks_done:
                self._queue.all_tasks_done.notify_all()

    def _take(self) -> list[tuple[Record, ...]]:
        """What is due together: everything that waits, up to one transaction's worth."""
        batches: list[tuple[Record, ...]] = []
        room = _BATCH
        try:
            batches.append(self._queue.get(timeout=_LOOK_UP_S))
            while (room := room - len(batches[-1])) > 0:
                batches.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return batches

    def _write(self, records: Sequence[Record]) -> None:
        logged: list[Logged] = self._log.append(records)
        self._metrics.records_logged.inc(len(logged))
        for sink in self._sinks:
            sink.write(logged)
