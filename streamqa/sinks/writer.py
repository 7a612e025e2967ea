"""The one thread that makes records durable and then hands them on: log first, then everybody else.

A log that cannot be written (its disk is full, or somebody else locks it) is a state and not an end: records go on to
the sinks without a number, flagged `durable: false`, the log is tried again once a second, and when it takes records
again, the first of them says how many are missing.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from streamqa.errors import StreamQAError
from streamqa.metrics import Metrics
from streamqa.payload import record_payload
from streamqa.records import Alert, Answer, Lost, Record
from streamqa.sinks.base import Logged, Sink
from streamqa.sinks.log import AnswerLog, captured_ns
from streamqa.types import utc_now

_logger = logging.getLogger(__name__)

_CAPACITY = 256  # batches; a full queue makes the engine wait, and capture then keeps its newest frames only
_BATCH = 256  # records of one transaction
_PICTURES = 16  # that wait to be written as evidence; each holds up to 6 MB at 1920×1080
_LOOK_UP_S = 0.2
_RETRY_S = 1.0
_TIDY_S = 0.1  # between two small steps of retention, while there is something to delete
_REST_S = 5.0  # and where there was not


class RecordWriter:
    """A bounded queue, the log, and the sinks behind it.

    Queue policy: it waits. A record is never dropped here; a slow disk slows the engine down, and the frames
    that are lost to that are counted where frames are lost, in the capture buffer. Of pictures that are to be kept as
    evidence at most 16 wait; the record of one more goes without, which is counted.
    """

    def __init__(self, log: AnswerLog, sinks: Sequence[Sink], metrics: Metrics) -> None:
        self._log, self._sinks, self._metrics = log, tuple(sinks), metrics
        self._queue: queue.Queue[tuple[Record, ...]] = queue.Queue(_CAPACITY)
        self._pictures = threading.Semaphore(_PICTURES)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="records", daemon=True)
        self._lost = 0  # records since the log could be written last
        self._why = ""  # it cannot
        self._pictures_fail = False  # the last one that was to be kept could not be
        self._retry_at_s = self._tidy_at_s = 0.0
        self.failure: Exception | None = None  # why nothing is written any more

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, records: Sequence[Record]) -> None:
        """Queue records; waits while the queue is full.

        Raises:
            StreamQAError: the writer has failed or is closed, so they would be lost.
        """
        queued = tuple(map(self._bounded, records))
        while not self._closing.is_set():
            if self.failure is not None:
                raise StreamQAError(f"records cannot be written any more: {self.failure}")
            try:
                self._queue.put(queued, timeout=_LOOK_UP_S)
            except queue.Full:
                continue
            return
        raise StreamQAError("records cannot be written any more: the log is closing")

    def trouble(self) -> list[str]:
        """Why records are not kept, one line each; empty while all is well."""
        found = []
        if self._why:
            found.append(
                f"the answer log cannot be written: {self._why}; {self._lost} records are delivered and not kept"
            )
        if self._pictures_fail:
            found.append(
                f"pictures cannot be kept as evidence in {self._log.path}.frames: {self._log.evidence_failed} so far"
            )
        return found

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

    def _bounded(self, record: Record) -> Record:
        if not isinstance(record, Answer | Alert) or record.picture is None:
            return record
        if self._pictures.acquire(blocking=False):
            return record
        self._metrics.evidence_dropped.inc()
        return replace(record, picture=None)

    def _run(self) -> None:
        try:
            while not (self._closing.is_set() and self._queue.empty()):
                batches = self._take()
                if batches:
                    self._write([record for batch in batches for record in batch])
                elif self._lost:
                    self._write([])
                for _ in batches:
                    self._queue.task_done()
                self._tidy()
            if self._lost:  # the last chance to say how many are missing
                self._retry_at_s = 0.0
                self._write([])
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
        logged = self._kept(records)
        if logged:
            for sink in self._sinks:
                sink.write(logged)

    def _kept(self, records: Sequence[Record]) -> list[Logged]:
        """`records` as they are handed on: with their numbers, or flagged, where they could not be kept."""
        try:
            if self._lost and time.monotonic() < self._retry_at_s:
                return self._unkept(records)
            missing = [Lost(self._lost, "log_full", utc_now())] if self._lost else []
            try:
                logged = self._append([*missing, *records])
            except sqlite3.DatabaseError as error:
                if not _is_state(error):
                    raise
                self._retry_at_s = time.monotonic() + _RETRY_S
                if not self._why:
                    _logger.error("the answer log cannot be written, records go on unkept: %s", error)
                self._why = " ".join(str(error).split())
                self._metrics.log_full.set(1)
                return self._unkept(records)
            if self._lost:
                _logger.warning("the answer log takes records again; %d are missing", self._lost)
                self._metrics.log_full.set(0)
            self._lost, self._why = 0, ""
            return logged
        finally:
            for record in records:
                if isinstance(record, Answer | Alert) and record.picture is not None:
                    self._pictures.release()

    def _append(self, records: Sequence[Record]) -> list[Logged]:
        failed = self._log.evidence_failed
        began_s = time.perf_counter()
        logged = self._log.append(records)
        self._metrics.log_append_seconds.observe(time.perf_counter() - began_s)
        self._metrics.records_logged.inc(len(logged))
        failed = self._log.evidence_failed - failed
        kept = sum(item.payload.get("evidence") is not None for item in logged)
        self._metrics.evidence_failed.inc(failed)
        self._metrics.evidence_kept.inc(kept)
        if failed or kept:
            self._pictures_fail = failed > 0
        return logged

    def _unkept(self, records: Sequence[Record]) -> list[Logged]:
        self._lost += len(records)
        self._metrics.records_not_kept.inc(len(records))
        return [Logged(None, _flagged(record), captured_ns(record)) for record in records]

    def _tidy(self) -> None:
        """A small step of retention, now and then."""
        now_s = time.monotonic()
        if now_s < self._tidy_at_s:
            return
        self._tidy_at_s = now_s + _REST_S
        try:
            records, pictures = self._log.housekeep(round(utc_now().timestamp() * 1000))
            sizes = self._log.sizes()
        except sqlite3.DatabaseError as error:
            if not _is_state(error):
                raise
            _logger.debug("retention waits: %s", error)
            return
        if records or pictures:
            self._tidy_at_s = now_s + _TIDY_S
        self._metrics.records_deleted.inc(records)
        self._metrics.evidence_deleted.inc(pictures)
        self._metrics.log_bytes.set(sizes[0])
        self._metrics.evidence_bytes.set(sizes[1])


def _is_state(error: sqlite3.DatabaseError) -> bool:
    """Whether the file or its disk is at fault (full, locked, read-only, damaged), and not this program."""
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def _flagged(record: Record) -> dict[str, object]:
    payload = record_payload(record)
    kind = payload.pop("type")
    return {"type": kind, "seq": None, "durable": False, **payload}
