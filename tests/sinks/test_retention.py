"""What is deleted: the oldest, in small steps, never a number twice."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

from streamqa.sinks.log import AnswerLog, LogSettings
from streamqa.sinks.query import Query
from streamqa.sinks.retention import STEP, Keeping, expired
from tests.sinks.records import AT, answer, ms


def test_what_is_expired_is_the_beginning() -> None:
    rows = [(1, 10), (2, 30), (3, 20), (4, 90)]
    assert expired(rows, 10) is None
    assert expired(rows, 25) == 1  # what a clock that was set back makes look old stays behind a younger one
    assert expired(rows, 40) == 3
    assert expired(rows, 100) == 4
    assert expired([], 100) is None


def test_records_that_are_too_old_go_step_by_step(tmp_path: Path) -> None:
    settings = LogSettings(records=Keeping(age_ms=600_000))
    with closing(AnswerLog(tmp_path / "a.db", settings)) as log:
        log.append([answer(n, text=f"dog{n}") for n in range(2 * STEP)])
        now_ms = ms(AT + timedelta(seconds=600 + 1.5 * STEP))
        assert log.housekeep(now_ms)[0] == STEP
        assert log.first_seq == STEP + 1
        assert log.housekeep(now_ms)[0] == STEP // 2
        assert log.housekeep(now_ms)[0] == 0
        assert log.first_seq == 1.5 * STEP + 1
        assert log.read(0, 9, Query(text="dog5")) == []  # its words are gone, too
        assert [r.seq for r in log.read(0, 9, Query(text=f"dog{2 * STEP - 1}"))] == [2 * STEP]
        log.housekeep(now_ms + 10**9)
        log.housekeep(now_ms + 10**9)
        assert log.first_seq == 2 * STEP + 1  # nothing is retained
        assert log.append([answer(0)])[0].seq == 2 * STEP + 1
    with closing(AnswerLog(tmp_path / "a.db")) as log:
        assert log.append([answer(0)])[0].seq == 2 * STEP + 2


def test_a_log_that_is_too_large_gives_its_oldest_records_and_its_pages_back(tmp_path: Path) -> None:
    settings = LogSettings(records=Keeping(size_bytes=1_000_000))
    with closing(AnswerLog(tmp_path / "a.db", settings)) as log:
        for _ in range(10):
            log.append([answer(n) for n in range(400)])
        assert log.sizes()[0] > 1_500_000
        for _ in range(50):
            log.housekeep(0)
        assert log.sizes()[0] <= 1_000_000
        assert log.first_seq > 1000
        assert len(log.read(0, 10_000)) == 4001 - log.first_seq
        log._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert (tmp_path / "a.db").stat().st_size < 1_500_000


def test_nothing_is_deleted_where_all_is_kept(tmp_path: Path) -> None:
    with closing(AnswerLog(tmp_path / "a.db")) as log:
        log.append([answer(0)])
        assert log.housekeep(10**15) == (0, 0)


def test_a_reader_in_the_middle_of_a_page_does_not_hold_retention_up(tmp_path: Path) -> None:
    settings = LogSettings(records=Keeping(age_ms=1))
    with closing(AnswerLog(tmp_path / "a.db", settings)) as log:
        log.append([answer(n) for n in range(100)])
        with log._readers.reading() as connection:
            rows = connection.execute("SELECT seq FROM records")
            rows.fetchone()
            assert log.housekeep(10**15)[0] == 100
            assert len(rows.fetchall()) == 99  # it goes on to see its own moment
