"""The tables of the answer log, from its first version to this one, and whether a file holds them unharmed."""

from __future__ import annotations

import logging
import sqlite3
import time

from streamqa.errors import ConfigError

_log = logging.getLogger(__name__)

# One script per version step: script i leads from version i to i + 1.
MIGRATIONS: tuple[str, ...] = (
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
    """
    ALTER TABLE records ADD COLUMN changed INTEGER;  -- answers only: 1 where they say something else than before
    ALTER TABLE records ADD COLUMN words TEXT;       -- answers only: what is searched, the question and what was said
    UPDATE records SET changed = json_extract(payload, '$.changed'), words = json_extract(payload, '$.text')
        WHERE type = 'answer';
    CREATE VIRTUAL TABLE word_index USING fts5(
        words, content = 'records', content_rowid = 'seq', tokenize = 'unicode61 remove_diacritics 2'
    );
    INSERT INTO word_index (word_index) VALUES ('rebuild');
    CREATE TRIGGER record_added AFTER INSERT ON records WHEN new.words IS NOT NULL BEGIN
        INSERT INTO word_index (rowid, words) VALUES (new.seq, new.words);
    END;
    CREATE TRIGGER record_deleted AFTER DELETE ON records WHEN old.words IS NOT NULL BEGIN
        INSERT INTO word_index (word_index, rowid, words) VALUES ('delete', old.seq, old.words);
    END;
    """,
    # Which alerts are open is asked at each start, and alerts are few among records.
    "CREATE INDEX alert_records ON records (seq) WHERE type = 'alert';",
)
VERSION = len(MIGRATIONS)  # of the schema, in PRAGMA user_version

CHECK_S = 5.0  # for the check at the start: 1 GB takes about 2 s, and a camera should not wait for 10 GB
_STEPS = 20_000  # of SQLite's machine between two looks at the clock


def prepare(connection: sqlite3.Connection, path: str) -> None:
    """Check that the file is an answer log and unharmed, and bring its tables to this version.

    Raises:
        ConfigError: another program's database, one of a newer streamqa, or a damaged one; nothing is changed.
        sqlite3.Error: it cannot be read or written.
    """
    _check_ours(connection, path)
    _check_whole(connection, path)
    _migrate(connection, path)


def _check_ours(connection: sqlite3.Connection, path: str) -> None:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if tables and not {"meta", "records"} <= tables:
        raise ConfigError(f"{path} is a database, but no answer log of streamqa; choose another log.path")
    if not tables:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has an effect only before the first table


def _check_whole(connection: sqlite3.Connection, path: str) -> None:
    """SQLite's own quick check, as far as it comes in `CHECK_S`."""
    until_s = time.monotonic() + CHECK_S
    connection.set_progress_handler(lambda: time.monotonic() > until_s, _STEPS)
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
        _log.info("the answer log %s is too large to be checked in %g s; it was read so far", path, CHECK_S)
        found = "ok"
    except sqlite3.DatabaseError as error:
        found = str(error)
    finally:
        connection.set_progress_handler(None, 0)
    if found != "ok":
        raise ConfigError(
            f"the answer log {path} is damaged ({' '.join(found.split())[:120]}); move it away to begin a new one, "
            f"or try to save it by `sqlite3 {path} .recover`"
        )


def _migrate(connection: sqlite3.Connection, path: str) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise ConfigError(
            f"the answer log {path} was written by a newer streamqa (log version {version}, "
            f"this one knows {VERSION}); update streamqa or choose another log.path"
        )
    for step in range(version, VERSION):
        script = f"BEGIN IMMEDIATE; {MIGRATIONS[step]} PRAGMA user_version = {step + 1}; COMMIT;"
        try:
            connection.executescript(script)
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
