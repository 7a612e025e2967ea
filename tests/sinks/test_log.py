"""The answer log: order, durability, the epoch, reading beside the writer."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streamqa.errors import ConfigError
from streamqa.records import Answer, Fault, SourceStatus
from streamqa.sinks import log as log_module
from streamqa.sinks.log import AnswerLog, to_json
from streamqa.sinks.query import Query
from streamqa.types import Decision, Reading

AT = datetime(2026, 11, 22, 2, 22, 34, 120_000, tzinfo=UTC)


def answer(n: int = 0, *, source: str = "gate", question: str = "person", text: str = "Yes") -> Answer:
    decision = Decision(True, 0.9, "ok", "", start_ns=n, frames=1, agree=1)
    reading = Reading(True, 0.9, "ok", text=text)
    return Answer(
        source=source, question=question, kind="yes_no", decision=decision, reading=reading, frame=n, t_ns=n * 10**9,
        captured_at=AT, clock="arrival", answered_at=AT, skipped=0, changed=True, queue_ms=1, model_ms=2,
        total_ms=3, model="fake@1",
    )  # fmt: skip


def status(source: str = "gate") -> SourceStatus:
    return SourceStatus(source, "live", "", AT, 5)


@contextmanager
def opened(path: str | Path) -> Iterator[AnswerLog]:
    with closing(AnswerLog(path)) as log:
        yield log


@pytest.fixture(params=["file", "memory"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnswerLog]:
    with opened(tmp_path / "answers.db" if request.param == "file" else ":memory:") as log:
        yield log


def test_numbers_follow_the_order_of_appending(log: AnswerLog) -> None:
    assert (log.first_seq, log.last_seq) == (1, 0)
    first = log.append([answer(0), status(), answer(1)])
    second = log.append([answer(2)])
    assert [item.seq for item in first + second] == [1, 2, 3, 4]
    assert (log.first_seq, log.last_seq) == (1, 4)
    assert log.append([]) == []


def test_what_is_read_is_what_was_appended(log: AnswerLog) -> None:
    appended = log.append([answer(0, text="grün 日本 \u2028"), status()])
    assert log.read(0, 10) == appended
    assert list(appended[0].payload)[:2] == ["type", "seq"]
    page = log.page(0, 10)
    assert page.first_seq == 1
    assert page.rows[0] == (1, to_json(appended[0].payload))


def test_half_a_surrogate_pair_does_not_stop_the_log(log: AnswerLog) -> None:
    log.append([answer(0, text="\udcff")])
    assert log.read(0, 1)[0].payload["text"] == "?"


def test_pages_of_a_filtered_log(log: AnswerLog) -> None:
    log.append([answer(n, source=f"s{n % 3}", question=f"q{n % 2}") for n in range(12)] + [status("s1")])
    assert [r.seq for r in log.read(0, 5)] == [1, 2, 3, 4, 5]
    assert [r.seq for r in log.read(11, 5)] == [12, 13]
    assert [r.seq for r in log.read(0, 99, Query(["s1"]))] == [2, 5, 8, 11, 13]
    assert [r.seq for r in log.read(0, 99, Query(["s1"], ["q0"]))] == [
        5,
        11,
        13,
    ]  # 13: of no question
    assert [r.seq for r in log.read(0, 99, Query(["s1"], ["q0"], ["answer"]))] == [5, 11]
    assert [r.seq for r in log.read(0, 99, Query(types=["source"]))] == [13]
    assert log.read(0, 99, Query([])) == []
    assert log.read(99, 5) == []


def test_an_error_is_of_no_source_and_hidden_only_by_type(log: AnswerLog) -> None:
    fault = Fault("model_worker", "it died", AT)
    appended = log.append([answer(0), fault, status("desk")])
    assert appended[1].payload == {
        "type": "error", "seq": 2, "code": "model_worker", "message": "it died",
        "at": "2026-11-22T02:22:34.120Z",
    }  # fmt: skip
    assert log.read(0, 10) == appended
    assert [record.seq for record in log.read(0, 10, Query(["gate"], ["person"]))] == [1, 2]
    assert [record.seq for record in log.read(0, 10, Query(types=["error"]))] == [2]
    assert [record.seq for record in log.read(0, 10, Query(types=["answer"]))] == [1]


def test_a_batch_is_all_or_nothing(log: AnswerLog) -> None:
    bad = SourceStatus("gate", "live", "", AT, 2**70)  # too large a number for a column
    with pytest.raises(OverflowError):
        log.append([answer(0), bad])
    assert log.last_seq == 0
    assert log.read(0, 9) == []
    assert [r.seq for r in log.append([answer(0)])] == [1]


def test_reopening_goes_on_with_the_numbers_and_the_epoch(tmp_path: Path) -> None:
    with opened(tmp_path / "a.db") as log:
        epoch = log.epoch
        log.append([answer(0), answer(1)])
    with opened(str(tmp_path / "a.db")) as log:
        assert log.epoch == epoch
        assert log.last_seq == 2
        assert [r.seq for r in log.append([answer(2)])] == [3]


def test_numbers_are_never_reused_even_when_the_newest_rows_are_gone(tmp_path: Path) -> None:
    with opened(tmp_path / "a.db") as log:
        log.append([answer(n) for n in range(5)])
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        connection.execute("DELETE FROM records")
    with opened(tmp_path / "a.db") as log:
        assert (log.first_seq, log.last_seq) == (6, 5)
        assert [r.seq for r in log.append([answer(9)])] == [6]
        assert (log.first_seq, log.last_seq) == (6, 6)


def test_two_logs_have_two_epochs(tmp_path: Path) -> None:
    with opened(tmp_path / "a.db") as one, opened(tmp_path / "b.db") as other:
        assert one.epoch != other.epoch
        assert len(one.epoch) == 16


WRITER = """
import sys
from datetime import UTC, datetime
from streamqa.sinks.log import AnswerLog
from streamqa.records import SourceStatus
log = AnswerLog(sys.argv[1])
print(log.epoch, flush=True)
pair = [SourceStatus("gate", "live", "", datetime.now(UTC)), SourceStatus("yard", "live", "", datetime.now(UTC))]
while True:
    print(log.append(pair)[-1].seq, flush=True)
"""


def killed_while_writing(path: Path, lines: int) -> tuple[str, int]:
    """The epoch, and the last number acknowledged, of a process that got SIGKILL while it wrote."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        epoch = process.stdout.readline().strip()
        for _ in range(lines):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split("\n")[:-1]  # whole lines only
    process.wait(30)
    return epoch, max([lines * 2, *(int(line) for line in rest)])


def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    epoch, acknowledged = killed_while_writing(tmp_path / "a.db", lines=50)
    with opened(tmp_path / "a.db") as log:
        assert log.epoch == epoch  # the numbering is unbroken: same boot, write-ahead log intact
        assert log.last_seq >= acknowledged
        assert [r.seq for r in log.read(0, 10**6)] == list(range(1, log.last_seq + 1))
        assert log.last_seq % 2 == 0  # batches are whole


@pytest.mark.parametrize(("clean", "boot", "renewed"), [
    (True, "other", False),
    (False, "same", False),
    (False, "other", True),
    (False, "", True),
])  # fmt: skip
def test_the_epoch_is_renewed_only_when_numbers_may_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean: bool, boot: str, renewed: bool
) -> None:
    monkeypatch.setattr(log_module, "_boot_id", lambda: "same" if boot else "")
    with opened(tmp_path / "a.db") as log:
        epoch = log.epoch
    if not clean:
        with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
            connection.execute("UPDATE meta SET value = '0' WHERE key = 'clean'")
    monkeypatch.setattr(log_module, "_boot_id", lambda: boot)
    with opened(tmp_path / "a.db") as log:
        assert (log.epoch != epoch) is renewed


def test_readers_do_not_hold_up_the_writer(tmp_path: Path) -> None:
    with opened(tmp_path / "a.db") as log:
        log.append([answer(n) for n in range(2000)])
        stop, seen, failures = threading.Event(), [0], []

        def read() -> None:
            after = 0
            while not stop.is_set():
                page = log.read(after, 100)
                if [r.seq for r in page] != list(range(after + 1, after + 1 + len(page))):
                    failures.append(page)
                after = page[-1].seq if page else 0
                seen[0] += len(page)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        # A read transaction that stays open does not block appending either.
        with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM records").fetchone()
            for n in range(200):
                log.append([answer(n)])
            reader.execute("COMMIT")
        stop.set()
        for thread in threads:
            thread.join(30)
        assert not failures
        assert seen[0] > 0
        assert log.last_seq == 2200


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with opened(tmp_path / "a.db"), pytest.raises(ConfigError, match="in use by another streamqa"):
        AnswerLog(tmp_path / "a.db")
    with opened(tmp_path / "a.db"):
        pass


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_text("hello " * 100)
    with pytest.raises(ConfigError, match=r"not a database; move it away") as caught:
        AnswerLog(path)
    assert "\n" not in str(caught.value)
    assert path.read_text().startswith("hello")


def test_somebody_elses_database(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        connection.execute("CREATE TABLE other (x)")
    with pytest.raises(ConfigError, match="no answer log of streamqa"):
        AnswerLog(tmp_path / "a.db")


def test_a_log_of_the_future(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match="newer streamqa"):
        AnswerLog(tmp_path / "a.db")


@pytest.mark.parametrize("name", ["missing/a.db", "file/a.db", "folder"])
def test_a_path_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=r"cannot open the answer log .*log\.path") as caught:
        AnswerLog(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_closing_twice_and_using_it_afterwards(tmp_path: Path) -> None:
    log = AnswerLog(tmp_path / "a.db")
    log.close()
    log.close()
    with pytest.raises(sqlite3.ProgrammingError):
        log.append([answer()])


def test_the_stored_text_is_strict_json() -> None:
    assert json.loads(to_json({"a": "ü", "b": [1.5, None]})) == {"a": "ü", "b": [1.5, None]}
    with pytest.raises(ValueError, match="JSON"):
        to_json({"a": float("nan")})


@pytest.mark.parametrize("version", [0, 1, 75])
def test_a_database_of_another_program_is_refused_and_not_touched(tmp_path: Path, version: int) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.executescript(f"CREATE TABLE x (a); PRAGMA user_version = {version};")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="no answer log of streamqa"):
        AnswerLog(path)
    assert path.read_bytes() == before
