"""What of the log is deleted, in steps so small that nobody who writes waits for one.

Always the oldest records, in the order of their numbers: what is missing is then named by one number, the oldest
that is retained, and a subscriber that comes back later is told of one gap.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

STEP = 500  # records; deleting so many with their words takes 5 to 10 ms
_PAGES = 256  # given back to the file system at once
_WAL_BYTES = 64 * 2**20  # a reader that stays can make the write-ahead log grow; beyond this it is cut down


@dataclass(frozen=True, slots=True)
class Keeping:
    """How much is kept; None: all of it."""

    age_ms: int | None = None
    size_bytes: int | None = None


ALL = Keeping()


def expired(rows: Sequence[tuple[int, int]], before_ms: int) -> int | None:
    """The last of `rows` (seq, wall clock in ms), from the first on, that are all older than `before_ms`.

    Stops at the first that is not, also where a wall clock that was set back makes a later one older.
    """
    last = None
    for seq, at_ms in rows:
        if at_ms >= before_ms:
            break
        last = seq
    return last


def delete_some(connection: sqlite3.Connection, keeping: Keeping, now_ms: int) -> int:
    """Delete at most `STEP` records; how many that were. With a transaction open."""
    rows = connection.execute("SELECT seq, at_ms FROM records ORDER BY seq LIMIT ?", [STEP]).fetchall()
    last = None if keeping.age_ms is None else expired(rows, now_ms - keeping.age_ms)
    if keeping.size_bytes is not None and len(rows) > 1 and used_bytes(connection) > keeping.size_bytes:
        last = rows[-2][0] if len(rows) < STEP else rows[-1][0]  # the newest one stays
    if last is None:
        return 0
    return connection.execute("DELETE FROM records WHERE seq <= ?", [last]).rowcount


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the database file that hold something."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int(pages - free) * int(size)


def tidy(connection: sqlite3.Connection, wal_bytes: int) -> None:
    """Give free pages back, and cut a write-ahead log that has grown; waits for nobody."""
    # Not `execute`: it takes one step of a statement without columns, and each step frees one page.
    connection.executescript(f"PRAGMA incremental_vacuum({_PAGES})")
    if wal_bytes > _WAL_BYTES:
        (timeout,) = connection.execute("PRAGMA busy_timeout").fetchone()
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(timeout)}")
