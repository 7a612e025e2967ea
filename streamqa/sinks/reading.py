"""Reading the answer log, from any thread, without holding up who writes it."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from streamqa.sinks.query import EVERYTHING, Query

_KEPT = 8  # idle connections; opening one takes 0.2 ms
_BUSY_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Page:
    """Some records as they are stored, and the oldest number that was retained at the same moment."""

    first_seq: int
    rows: list[tuple[int, str]]  # (seq, JSON text), oldest first
    is_last: bool  # nothing that matched came after these


class Readers:
    """Connections that only read, each used by one thread at a time. They see one moment of the log each.

    `shared`: the one connection of a log in memory, with its lock.
    """

    def __init__(self, path: str, shared: tuple[sqlite3.Connection, threading.RLock] | None) -> None:
        self._path, self._shared = path, shared
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue(_KEPT)
        self._is_closed = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one moment of the log, however many questions are put to it."""
        if self._shared is not None:
            connection, lock = self._shared
            with lock:
                yield connection
            return
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = sqlite3.connect(
                self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA query_only=ON")
        try:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        try:
            if self._is_closed:
                raise queue.Full
            self._idle.put_nowait(connection)
        except queue.Full:
            connection.close()

    def close(self) -> None:
        """Close those that are idle; the others close after their use."""
        self._is_closed = True
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def page(self, after: int, limit: int, query: Query = EVERYTHING, most_bytes: int | None = None) -> Page:
        """Up to `limit` retained records with `seq > after` that match, oldest first.

        `most_bytes` ends a page early, behind the record that reaches it.
        """
        statement, arguments = query.select(after, limit + 1)
        rows: list[tuple[int, str]] = []
        size, more = 0, False
        with self.reading() as connection:
            for seq, text in connection.execute(statement, arguments):
                if len(rows) >= limit or (most_bytes is not None and size >= most_bytes):
                    more = True
                    break
                rows.append((seq, text))
                size += len(text)
            return Page(oldest(connection), rows, not more)

    def first_seq(self) -> int:
        """The oldest retained number."""
        with self.reading() as connection:
            return oldest(connection)


def oldest(connection: sqlite3.Connection) -> int:
    """The oldest retained number; the next one to come where nothing is retained."""
    (first,) = connection.execute("SELECT min(seq) FROM records").fetchone()
    return int(first) if first is not None else newest(connection) + 1


def newest(connection: sqlite3.Connection) -> int:
    """The newest number that was given out, also if its record is no longer there; 0 before the first."""
    (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
    return int(last)


def newest_alerts(connection: sqlite3.Connection, limit: int) -> list[str]:
    """The newest `limit` records of alerts, the newest first, as JSON texts."""
    found = connection.execute(
        "SELECT payload FROM records WHERE type = 'alert' ORDER BY seq DESC LIMIT ?", (limit,)
    )
    return [text for (text,) in found]
