"""Dead letters: what could not be delivered, kept in a file beside the log until it is sent again.

An SQLite file that only its owner may read. It is bounded in number and in bytes: the oldest letters go, counted by
sink. It is opened for each use, so that one process may add to it while another one sends from it again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MOST_LETTERS = 10_000
MOST_BYTES = 64 * 1024 * 1024

_BUSY_TIMEOUT_S = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL,
    size_bytes INTEGER NOT NULL, reason TEXT NOT NULL, given_up_at TEXT NOT NULL, UNIQUE (sink, key)
);
CREATE TABLE IF NOT EXISTS dropped (sink TEXT PRIMARY KEY, count INTEGER NOT NULL);
PRAGMA user_version = 1;
"""
_COLUMNS = "number, sink, key, body, reason, given_up_at"


@dataclass(frozen=True, slots=True)
class Letter:
    """One message that could not be delivered."""

    sink: str
    key: str  # the same at each attempt, by which a receiver knows it again
    body: str
    reason: str  # one line without secrets: why it was given up
    given_up_at: str  # ISO 8601, UTC
    number: int = 0  # in its file; 0: it is in none yet


class Letters:
    """The letters of one file. Thread-safe, and safe against other processes."""

    def __init__(self, path: Path, most: int = MOST_LETTERS, most_bytes: int = MOST_BYTES) -> None:
        """Nothing is made before the first letter."""
        self.path = path
        self._most, self._most_bytes = most, most_bytes

    def put(self, letters: Sequence[Letter]) -> int:
        """Keep these; returns how many older ones went for them.

        Raises:
            sqlite3.Error, OSError: they cannot be kept.
        """
        rows = [
            (one.sink, one.key, one.body, len(one.body.encode()), one.reason, one.given_up_at)
            for one in letters
        ]
        with self._opened() as connection, connection:
            connection.executemany(
                "INSERT OR REPLACE INTO letters (sink, key, body, size_bytes, reason, given_up_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )
            return self._trim(connection)

    def read(self, sink: str | None = None, after: int = 0, limit: int = 100) -> list[Letter]:
        """The oldest letters, or those after a number, of one sink or of all. Raises as `put`."""
        if not self.path.exists():
            return []
        with self._opened() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM letters WHERE number > ? AND (? IS NULL OR sink = ?) "
                "ORDER BY number LIMIT ?",
                (after, sink, sink, limit),
            ).fetchall()
        return [Letter(of, key, body, reason, at, number) for number, of, key, body, reason, at in rows]

    def remove(self, letter: Letter) -> None:
        """It was delivered. One that was put again meanwhile has another number, and stays. Raises as `put`."""
        with self._opened() as connection, connection:
            connection.execute("DELETE FROM letters WHERE number = ?", (letter.number,))

    def counts(self) -> dict[str, tuple[int, int]]:
        """Of each sink, how many letters are kept and how many were dropped for newer ones. Raises as `put`."""
        if not self.path.exists():
            return {}
        with self._opened() as connection:
            kept = dict(connection.execute("SELECT sink, count(*) FROM letters GROUP BY sink").fetchall())
            dropped = dict(connection.execute("SELECT sink, count FROM dropped").fetchall())
        return {sink: (kept.get(sink, 0), dropped.get(sink, 0)) for sink in sorted(kept.keys() | dropped)}

    def _trim(self, connection: sqlite3.Connection) -> int:
        """Delete the oldest beyond what may be kept."""
        count, size = connection.execute(
            "SELECT count(*), coalesce(sum(size_bytes), 0) FROM letters"
        ).fetchone()
        gone: dict[str, int] = {}
        oldest = connection.execute("SELECT number, sink, size_bytes FROM letters ORDER BY number")
        for number, sink, length in (
            oldest.fetchall() if count > self._most or size > self._most_bytes else ()
        ):
            if count <= self._most and size <= self._most_bytes:
                break
            connection.execute("DELETE FROM letters WHERE number = ?", (number,))
            count, size = count - 1, size - length
            gone[sink] = gone.get(sink, 0) + 1
        connection.executemany(
            "INSERT INTO dropped VALUES (?, ?) ON CONFLICT (sink) DO UPDATE SET count = count + excluded.count",
            gone.items(),
        )
        return sum(gone.values())

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        # For its owner only from the first byte on; SQLite gives its journal the same rights. One that is there is
        # not opened here: closing it again would take away the locks that other threads hold on it.
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S)) as connection:
            if connection.execute("PRAGMA user_version").fetchone() == (0,):
                connection.executescript(_SCHEMA)
            yield connection
