"""The answer log: SQLite that gives every record its sequence number and hands it out again.

Durable here means: survives the death of the process (write-ahead log, `synchronous=NORMAL`). A machine that goes
down may lose the last moments, and then numbers that subscribers have already seen could be given out again; hence
the `epoch`, a random word that names one unbroken numbering (see `_epoch`).
"""

from __future__ import annotations

import json
import logging
import secrets
import sqlite3
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from streamqa.errors import ConfigError
from streamqa.payload import read_alert, record_payload
from streamqa.records import Alert, Answer, Record, SourceStatus
from streamqa.sinks.base import Logged
from streamqa.sinks.evidence import EvidenceStore, address_of
from streamqa.sinks.query import EVERYTHING, Query
from streamqa.sinks.reading import Page, Readers, newest, newest_alerts, oldest
from streamqa.sinks.retention import ALL, Keeping, delete_some, tidy, used_bytes
from streamqa.sinks.schema import prepare

if sys.platform != "win32":
    import fcntl

_log = logging.getLogger(__name__)

_BUSY_TIMEOUT_S = 5.0
_MOST_ALERTS = 10_000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_INSERT = (
    "INSERT INTO records (seq, type, source, question, t_ns, at_ms, payload, changed, words) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What can be chosen about a log."""

    sync: str = "normal"  # full: records survive a power cut, too
    records: Keeping = ALL
    evidence: Keeping | None = None  # None: no pictures are kept


DEFAULT_SETTINGS = LogSettings()


class AnswerLog:
    """Where records become durable and get their number; one writer, any number of reading threads.

    `append`, `housekeep` and `close` belong to one thread at a time; the rest may be called from anywhere. Reading
    has connections of its own, so it never holds up the writer. `":memory:"` gives a log that is gone when closed;
    there, readers and writer share one connection and wait for each other, and no pictures are kept.

    Raises `ConfigError` when the file cannot be opened, is damaged or not one of ours, or is being written by another
    process.
    """

    def __init__(self, path: str | Path, settings: LogSettings = DEFAULT_SETTINGS) -> None:
        self.settings = settings
        self.evidence_failed = 0  # pictures that could not be written
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
                prepare(self._connection, self.path)
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute(f"PRAGMA synchronous={_sync(settings)}")
                self.epoch, log_id = self._names()
                self._last_seq = newest(self._connection)
                shared = (self._connection, self._lock) if self._in_memory else None
                self._readers = Readers(self.path, shared)
                self._evidence = self._open_evidence(log_id)
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
        return self._readers.first_seq()

    def append(self, records: Sequence[Record]) -> list[Logged]:
        """Make records durable, all or none, in this order; returns them with their numbers.

        A picture that cannot be written is counted, and its record goes without.

        Raises `sqlite3.Error` when that fails (a full disk, for one); then no number is used up.
        """
        if not records:
            return []
        with self._lock:
            first = self._last_seq + 1
            logged = [self._logged(seq, record) for seq, record in enumerate(records, first)]
            rows = [_row(item, record) for item, record in zip(logged, records, strict=True)]
            try:
                with self._transaction():
                    self._connection.executemany(_INSERT, rows)
            except BaseException:
                if self._evidence is not None:
                    self._evidence.forget(first)
                raise
            self._last_seq += len(logged)
        return logged

    def read(self, after: int, limit: int, query: Query = EVERYTHING) -> list[Logged]:
        """Up to `limit` retained records with `seq > after` that match, oldest first."""
        page = self.page(after, limit, query)
        return [Logged(seq, json.loads(text)) for seq, text in page.rows]

    def page(self, after: int, limit: int, query: Query = EVERYTHING, most_bytes: int | None = None) -> Page:
        """As `read`, as JSON texts, which replay writes to sockets without decoding them; see `Readers.page`."""
        return self._readers.page(after, limit, query, most_bytes)

    def newest_first(self, limit: int, query: Query = EVERYTHING) -> list[Logged]:
        """The newest `limit` records that match, newest first."""
        statement, arguments = query.select(0, limit, newest_first=True)
        with self._readers.reading() as connection:
            return [Logged(seq, json.loads(text)) for seq, text in connection.execute(statement, arguments)]

    def alerts(self) -> list[Alert]:
        """The newest record of each of the newest alerts, the newest first; of 10,000 records."""
        return [read_alert(payload) for payload in self._newest_alerts()]

    def open_alerts(self) -> list[dict[str, Any]]:
        """The newest records of the alerts that are open, the newest first."""
        return [payload for payload in self._newest_alerts() if payload["phase"] != "end"]

    def _newest_alerts(self) -> list[dict[str, Any]]:
        with self._readers.reading() as connection:
            texts = newest_alerts(connection, _MOST_ALERTS)
        known: dict[str, dict[str, Any]] = {}
        for payload in map(json.loads, texts):
            known.setdefault(payload["alert_id"], payload)
        return list(known.values())

    def evidence(self, seq: int) -> Path | None:
        """The picture that a record is about, a JPEG; None: there is none, or it is no longer kept."""
        return None if self._evidence is None else self._evidence.path(seq)

    @property
    def keeps_evidence(self) -> bool:
        """Whether pictures that come with records are kept."""
        return self._evidence is not None

    def housekeep(self, now_ms: int) -> tuple[int, int]:
        """Delete a little of what is kept no longer, by the wall clock; how many records and how many pictures.

        Takes some 10 ms at most; to be called again soon where something was deleted. Raises `sqlite3.Error` as
        `append`.
        """
        records = pictures = 0
        with self._lock:
            # Pictures first: on a full disk a file can be deleted, where a database needs room to shrink.
            if self._evidence is not None and self.settings.evidence is not None:
                keeping = self.settings.evidence
                before_ms = None if keeping.age_ms is None else now_ms - keeping.age_ms
                first = oldest(self._connection)
                pictures = self._evidence.trim(first, before_ms, keeping.size_bytes)
            if self.settings.records != ALL:
                with self._transaction():
                    records = delete_some(self._connection, self.settings.records, now_ms)
            if not self._in_memory:
                tidy(self._connection, self._wal_bytes())
        return records, pictures

    def sizes(self) -> tuple[int, int]:
        """Bytes of records and of pictures that are kept."""
        with self._lock:
            return used_bytes(self._connection), self._evidence.size_bytes if self._evidence else 0

    def close(self) -> None:
        """Mark the stop as clean and free the file. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # On a full disk the mark cannot be written: the next start may then renew the epoch, which is honest.
            with suppress(sqlite3.Error):
                self._set_meta(clean="1")
            self._readers.close()
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
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _logged(self, seq: int, record: Record) -> Logged:
        payload = record_payload(record)
        if isinstance(record, Answer | Alert) and record.picture is not None and self._evidence is not None:
            at = record.answered_at if isinstance(record, Answer) else record.at
            try:
                self._evidence.put(seq, record.picture, round(at.timestamp() * 1000))
            except OSError as error:
                self.evidence_failed += 1
                _log.warning("a picture cannot be kept: %s", error.strerror or error)
            else:
                payload["evidence"] = address_of(seq)
        kind = payload.pop("type")
        return Logged(seq, {"type": kind, "seq": seq, **payload}, captured_ns(record))

    def _open_evidence(self, log_id: str) -> EvidenceStore | None:
        if self._in_memory or self.settings.evidence is None:
            return None
        return EvidenceStore(Path(self.path + ".frames"), log_id, self._last_seq)

    def _wal_bytes(self) -> int:
        try:
            return Path(self.path + "-wal").stat().st_size
        except OSError:
            return 0

    def _names(self) -> tuple[str, str]:
        """The epoch and the log's own id; a new epoch if numbers that were given out may have been lost.

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
        log_id: str = meta.get("id") or secrets.token_hex(8)
        self._set_meta(epoch=epoch, id=log_id, boot=boot, clean="0")
        return epoch, log_id

    def _set_meta(self, **values: str) -> None:
        # Forced to the disk: were "not clean" lost in a power cut, a shortened log would pass for an intact one.
        self._connection.execute("PRAGMA synchronous=FULL")
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                values.items(),
            )
        self._connection.execute(f"PRAGMA synchronous={_sync(self.settings)}")


def _sync(settings: LogSettings) -> str:
    return "FULL" if settings.sync == "full" else "NORMAL"


def captured_ns(record: Record) -> int | None:
    """When the picture of a live answer was captured, on the monotonic clock; None for all else."""
    return record.captured_ns if isinstance(record, Answer) else None


def _row(item: Logged, record: Record) -> tuple[Any, ...]:
    moment = (record.captured_at or record.answered_at) if isinstance(record, Answer) else record.at
    return (
        item.seq,
        item.payload["type"],
        record.source if isinstance(record, Answer | Alert | SourceStatus) else "",
        record.question if isinstance(record, Answer | Alert) else None,
        record.t_ns if isinstance(record, Answer | Alert | SourceStatus) else None,
        round(moment.timestamp() * 1000),
        to_json(item.payload),
        int(record.changed) if isinstance(record, Answer) else None,
        _whole(f"{record.ask} {record.reading.text}") if isinstance(record, Answer) else None,
    )


def to_json(payload: dict[str, Any]) -> str:
    """The one JSON text of a record: what the log keeps is byte for byte what goes over the wire."""
    return _whole(json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False))


def _whole(text: str) -> str:
    """Half a surrogate pair (an undecodable byte in a question, say) has no UTF-8 form: it becomes "?"."""
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
