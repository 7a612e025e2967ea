"""The answer log: SQLite that gives every record its sequence number and hands it out again.

Durable here means: survives the death of the process (write-ahead log, `synchronous=NORMAL`). A machine that goes
down may lose the last moments, and then numbers that subscribers have already seen could be given out again; hence
the `epoch`, a random word that names one unbroken numbering (see `_epoch`).
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from streamqa.errors import ConfigError
from streamqa.payload import record_payload
from streamqa.records import Answer, Record, SourceStatus
from streamqa.sinks.base import Logged
from streamqa.sinks.query import EVERYTHING, Query

if sys.platform != "win32":
    import fcntl

VERSION = 1  # of the schema, in PRAGMA user_version

_BUSY_TIMEOUT_S = 5.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

# One script per version step: script i leads from version i to i + 1.
_MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE records (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused, also after the newest rows are deleted
        type TEXT NOT NULL,
        source TEXT NOT NULL,                   -- "": belongs to none (errors)
        question TEXT,                          -- answers only
        t_ns INTEGER,                           -- stream time, where there is one
        at_ms INTEGER NOT NULL,                 -- wall clock, UNIX: capture, else when it was answered or seen
        payload TEXT NOT NULL                   -- the JSON object as it goes over the wire
    );
    """,
)

_INSERT = (
    "INSERT INTO records (seq, type, source, question, t_ns, at_ms, payload) VALUES (?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class Page:
    """Some records as they are stored, and the oldest number that was retained at the same moment."""

    first_seq: int
    rows: list[tuple[int, str]]  # (seq, JSON text), oldest first


class AnswerLog:
    """Where records become durable and get their number; one writer, any number of reading threads.

    `append` and `close` belong to one thread at a time; the rest may be called from anywhere. Reading opens a
    connection of its own per call (measured: 0.2 ms), so it never holds up the writer. `":memory:"` gives a log that
    is gone when closed; there, readers and writer share one connection and wait for each other.

    Raises `ConfigError` when the file cannot be opened, is not one of ours, or is being written by another process.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._in_memory = self.path == ":memory:"
        self._lock = threading.RLock()  # guards the one shared connection
        self._guard: IO[bytes] | None = None
        self._closed = False
        try:
            if not self._in_memory:
                self._guard = self._take_guard()
            self._connection = self._connect()
            try:
                self._check_ours()
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=NORMAL")
                self._migrate()
                self.epoch = self._epoch()
                self._last_seq = self._stored_last_seq()
            except BaseException:
                self._connection.close()
                raise
        except (sqlite3.Error, OSError) as error:
            self._release_guard()
            raise ConfigError(f"cannot open the answer log {self.path}: {_reason(error)}") from error
        except BaseException:
            self._release_guard()
            raise

    @property
    def last_seq(self) -> int:
        """The newest number given out, also if its record is no longer retained; 0 before the first."""
        return self._last_seq

    @property
    def first_seq(self) -> int:
        """The oldest retained number; `last_seq + 1` when nothing is retained."""
        with self._reading() as connection:
            return self._oldest(connection)

    def append(self, records: Sequence[Record]) -> list[Logged]:
        """Make records durable, all or none, in this order; returns them with their numbers.

        Raises `sqlite3.Error` when that fails (a full disk, for one); then no number is used up.
        """
        if not records:
            return []
        with self._lock:
            first = self._last_seq + 1
            logged = [_logged(seq, record) for seq, record in enumerate(records, first)]
            rows = [_row(item, record) for item, record in zip(logged, records, strict=True)]
            with self._transaction():
                self._connection.executemany(_INSERT, rows)
            self._last_seq += len(logged)
        return logged

    def read(self, after: int, limit: int, query: Query = EVERYTHING) -> list[Logged]:
        """Up to `limit` retained records with `seq > after` that match, oldest first."""
        page = self.page(after, limit, query)
        return [Logged(seq, json.loads(text)) for seq, text in page.rows]

    def page(self, after: int, limit: int, query: Query = EVERYTHING) -> Page:
        """As `read`, as JSON texts, which replay writes to sockets without decoding them."""
        condition, arguments = query.condition()
        statement = f"SELECT seq, payload FROM records WHERE seq > ? AND {condition} ORDER BY seq LIMIT ?"
        with self._reading() as connection:
            rows: list[tuple[int, str]] = connection.execute(statement, [after, *arguments, limit]).fetchall()
            return Page(self._oldest(connection), rows)

    def close(self) -> None:
        """Mark the stop as clean and free the file. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # On a full disk the mark cannot be written: the next start may then renew the epoch, which is honest.
            with suppress(sqlite3.Error):
                self._set_meta(clean="1")
            self._connection.close()
        self._release_guard()

    def _take_guard(self) -> IO[bytes] | None:
        """A lock file that says "somebody writes here"; the kernel drops the lock with the process.

        A file beside the log, because closing any descriptor of the log itself drops SQLite's POSIX locks on it.
        """
        if sys.platform == "win32":
            return None
        guard = open(self.path + "-lock", "ab")  # noqa: SIM115 - held as long as the log is open
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            guard.close()
            raise ConfigError(
                f"the answer log {self.path} is in use by another streamqa; stop it or choose another log.path"
            ) from None
        return guard

    def _release_guard(self) -> None:
        if self._guard is not None:
            self._guard.close()
            self._guard = None

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if self._in_memory:
            with self._lock:
                yield self._connection
            return
        with closing(sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)) as connection:
            connection.execute("PRAGMA query_only=ON")
            connection.execute("BEGIN")  # one moment of the log, however many questions are put to it
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _oldest(self, connection: sqlite3.Connection) -> int:
        (first,) = connection.execute("SELECT min(seq) FROM records").fetchone()
        if first is not None:
            return int(first)
        (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
        return int(last) + 1

    def _check_ours(self) -> None:
        """Refuse a database of another program, before anything in it is changed."""
        tables = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master")}
        if tables and not {"meta", "records"} <= tables:
            raise ConfigError(
                f"{self.path} is a database, but no answer log of streamqa; choose another log.path"
            )

    def _migrate(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise ConfigError(
                f"the answer log {self.path} was written by a newer streamqa (log version {version}, "
                f"this one knows {VERSION}); update streamqa or choose another log.path"
            )
        for step in range(version, VERSION):
            script = f"BEGIN IMMEDIATE; {_MIGRATIONS[step]} PRAGMA user_version = {step + 1}; COMMIT;"
            self._connection.executescript(script)

    def _epoch(self) -> str:
        """The stored epoch, or a new one if numbers that were given out may have been lost.

        Lost they can only be when the last stop was not clean *and* the machine has been restarted since: a process
        that is killed leaves all it committed in the write-ahead log. Where the system has no boot id, every unclean
        stop counts as a restart.
        """
        meta = dict(self._connection.execute("SELECT key, value FROM meta").fetchall())
        boot = _boot_id()
        intact = meta.get("clean") == "1" or (boot != "" and meta.get("boot") == boot)
        epoch: str = meta.get("epoch", "")
        if not epoch or not intact:
            epoch = secrets.token_hex(8)
        self._set_meta(epoch=epoch, boot=boot, clean="0")
        return epoch

    def _set_meta(self, **values: str) -> None:
        # Forced to the disk: were "not clean" lost in a power cut, a shortened log would pass for an intact one.
        self._connection.execute("PRAGMA synchronous=FULL")
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                values.items(),
            )
        self._connection.execute("PRAGMA synchronous=NORMAL")

    def _stored_last_seq(self) -> int:
        (last,) = self._connection.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
        return int(last)


def _logged(seq: int, record: Record) -> Logged:
    payload = record_payload(record)
    kind = payload.pop("type")
    return Logged(seq, {"type": kind, "seq": seq, **payload})


def _row(item: Logged, record: Record) -> tuple[Any, ...]:
    moment = (record.captured_at or record.answered_at) if isinstance(record, Answer) else record.at
    return (
        item.seq,
        item.payload["type"],
        record.source if isinstance(record, Answer | SourceStatus) else "",
        record.question if isinstance(record, Answer) else None,
        record.t_ns if isinstance(record, Answer | SourceStatus) else None,
        round(moment.timestamp() * 1000),
        to_json(item.payload),
    )


def to_json(payload: dict[str, Any]) -> str:
    """The one JSON text of a record: what the log keeps is byte for byte what goes over the wire."""
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Half a surrogate pair (an undecodable byte in a question, say) has no UTF-8 form: it becomes "?".
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _reason(error: Exception) -> str:
    if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
        return "the file is not a database; move it away or choose another log.path"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror.lower()}; choose a log.path in a folder that you may write to"
    return f"{error}; choose another log.path"
