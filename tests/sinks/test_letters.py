"""Dead letters in a real file: bounded, private, and safe between processes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from streamqa.sinks.letters import Letter, Letters


def letter(number: int, sink: str = "hook", body: str = "{}") -> Letter:
    return Letter(sink, f"e0:{number}", body, "410 Gone", "2026-11-22T02:22:34.120Z")


def keys(letters: Letters, sink: str | None = None) -> list[str]:
    return [one.key for one in letters.read(sink)]


def test_nothing_is_made_before_the_first(tmp_path: Path) -> None:
    letters = Letters(tmp_path / "u.db")
    assert letters.read() == []
    assert letters.counts() == {}
    assert list(tmp_path.iterdir()) == []


def test_what_was_put_is_there_for_whoever_opens_the_file(tmp_path: Path) -> None:
    Letters(tmp_path / "u.db").put([letter(1, body='{"text":"Yés \U0001f600"}'), letter(2, "other")])
    letters = Letters(tmp_path / "u.db")
    first, second = letters.read()
    assert (first.sink, first.key, first.body) == ("hook", "e0:1", '{"text":"Yés \U0001f600"}')
    assert (first.reason, first.given_up_at) == ("410 Gone", "2026-11-22T02:22:34.120Z")
    assert keys(letters, "other") == ["e0:2"]
    assert letters.read(after=first.number) == [second]
    assert letters.counts() == {"hook": (1, 0), "other": (1, 0)}
    letters.remove(first)
    assert keys(letters) == ["e0:2"]
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]


def test_a_letter_that_is_given_up_again_is_kept_once(tmp_path: Path) -> None:
    letters = Letters(tmp_path / "u.db")
    letters.put([letter(1), letter(2)])
    (first, _) = letters.read()
    letters.put([letter(1)])
    letters.remove(first)  # delivered before it was put again: the new one stays
    assert keys(letters) == ["e0:2", "e0:1"]


def test_the_oldest_go_by_number(tmp_path: Path) -> None:
    letters = Letters(tmp_path / "u.db", most=3)
    assert letters.put([letter(1), letter(2, "other"), letter(3)]) == 0
    assert letters.put([letter(4), letter(5)]) == 2
    assert keys(letters) == ["e0:3", "e0:4", "e0:5"]
    assert letters.counts() == {"hook": (3, 1), "other": (0, 1)}


def test_the_oldest_go_by_size(tmp_path: Path) -> None:
    letters = Letters(tmp_path / "u.db", most_bytes=1000)
    letters.put([letter(1, body="é" * 300)])
    assert letters.put([letter(2, body="x" * 500)]) == 1  # bytes, not characters
    assert keys(letters) == ["e0:2"]
    assert letters.put([letter(3, body="x" * 1001)]) == 2  # not even the newest has room
    assert keys(letters) == []


def test_several_write_at_once(tmp_path: Path) -> None:
    def write(first: int) -> None:
        for number in range(first, first + 10):
            Letters(tmp_path / "u.db").put([letter(number)])

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(Letters(tmp_path / "u.db").read()) == 30


def test_whoever_reads_leaves_the_locks_of_other_threads_alone(tmp_path: Path) -> None:
    path = tmp_path / "u.db"
    letters = Letters(path)
    letters.put([letter(1)])
    begin = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
    writing = sqlite3.connect(path, isolation_level=None)
    try:
        writing.execute("BEGIN IMMEDIATE")
        letters.counts()
        found = subprocess.run([sys.executable, "-c", begin], capture_output=True, text=True, timeout=30)
    finally:
        writing.close()
    assert "database is locked" in found.stderr


def test_another_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "u.db").write_text("This is no database. " * 50)
    with pytest.raises(sqlite3.DatabaseError):
        Letters(tmp_path / "u.db").put([letter(1)])
