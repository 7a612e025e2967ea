"""A log of an earlier version becomes one of this; what is damaged or somebody else's is not touched."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from streamqa.errors import ConfigError
from streamqa.payload import record_payload
from streamqa.sinks.log import AnswerLog
from streamqa.sinks.query import Query
from streamqa.sinks.schema import MIGRATIONS, VERSION
from tests.sinks.records import answer


def first_version(path: Path, count: int) -> None:
    """A log as version 1 left it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"BEGIN; {MIGRATIONS[0]} PRAGMA user_version = 1; COMMIT;")
        for seq in range(1, count + 1):
            said = answer(seq, text=f"two dogs {seq}", changed=seq % 2 == 0)
            payload = json.dumps(record_payload(said) | {"seq": seq})
            connection.execute(
                "INSERT INTO records (seq, type, source, question, t_ns, at_ms, payload) "
                "VALUES (?, 'answer', 'gate', 'person', 0, 0, ?)",
                [seq, payload],
            )
        connection.execute("INSERT INTO meta VALUES ('epoch', 'abc'), ('clean', '1')")
        connection.commit()


def test_a_log_of_the_first_version_goes_on(tmp_path: Path) -> None:
    first_version(tmp_path / "a.db", 6)
    with closing(AnswerLog(tmp_path / "a.db")) as log:
        assert log.epoch == "abc"
        assert [r.seq for r in log.read(0, 99, Query(changed_only=True))] == [2, 4, 6]
        assert [r.seq for r in log.read(0, 99, Query(text="dogs 3"))] == [3]
        assert log.append([answer(7)])[0].seq == 7
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    first_version(path, 2)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE records SET payload = 'no json' WHERE seq = 2")
    with pytest.raises(ConfigError, match="cannot open the answer log"):
        AnswerLog(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert "words" not in {name for _, name, *_ in connection.execute("PRAGMA table_info(records)")}


def test_a_damaged_log_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(AnswerLog(path)) as log:
        log.append([answer(n, text=f"{n} " * 50) for n in range(500)])
    data = bytearray(path.read_bytes())
    for page in range(8, len(data) // 4096, 3):
        data[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"is damaged .*; move it away to begin a new one") as caught:
        AnswerLog(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == bytes(data)


def test_a_new_log_can_shrink(tmp_path: Path) -> None:
    with closing(AnswerLog(tmp_path / "a.db")):
        pass
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
