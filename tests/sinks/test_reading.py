"""Pages, searches and moments of the log, read beside whoever writes it."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from streamqa.sinks.log import AnswerLog
from streamqa.sinks.query import Query
from tests.sinks.records import AT, answer, ms, status


@pytest.fixture
def log(tmp_path: Path):  # type: ignore[no-untyped-def]
    with closing(AnswerLog(tmp_path / "a.db")) as log:
        yield log


def test_words_of_questions_and_answers_are_found(log: AnswerLog) -> None:
    log.append([
        answer(1, ask="How many dogs are there?", text="Zwei große Hunde"),
        answer(2, ask="Is the gate open?", text="No"),
        status(),
        answer(3, ask="How many dogs are there?", text="none"),
    ])  # fmt: skip

    def found(text: str, **query: object) -> list[int | None]:
        return [one.seq for one in log.read(0, 99, Query(text=text, **query))]  # type: ignore[arg-type]

    assert found("dogs") == [1, 4]
    assert found("DOGS none") == [4]
    assert found("grosse") == []
    assert found("GROßE hunde") == [1]
    assert found("gate", questions=["elsewhere"]) == []
    assert [one.seq for one in log.newest_first(1, Query(text="dogs"))] == [4]


@pytest.mark.parametrize(
    "text", ['"', "NOT", "a AND", "*", "(", "words:x", "-", "", "x" * 200, "a\0b", "NEAR("]
)
def test_no_text_is_a_mistake_of_syntax(log: AnswerLog, text: str) -> None:
    log.append([answer(1, text="x")])
    assert log.read(0, 9, Query(text=text)) == []


def test_a_search_goes_on_page_by_page(log: AnswerLog) -> None:
    log.append([answer(n, text="dog" if n % 2 else "cat") for n in range(20)])
    first = log.page(0, 4, Query(text="dog"))
    assert [seq for seq, _ in first.rows] == [2, 4, 6, 8]
    assert not first.is_last
    rest = log.page(8, 6, Query(text="dog"))
    assert [seq for seq, _ in rest.rows] == [10, 12, 14, 16, 18, 20]
    assert rest.is_last


def test_a_page_ends_at_its_bytes(log: AnswerLog) -> None:
    log.append([answer(n) for n in range(50)])
    one = len(log.page(0, 1).rows[0][1])
    page = log.page(0, 50, most_bytes=5 * one)
    assert 5 <= len(page.rows) <= 6
    assert not page.is_last
    assert log.page(page.rows[-1][0], 100).is_last


def test_by_the_wall_clock_and_by_change(log: AnswerLog) -> None:
    log.append([answer(n, changed=n == 5) for n in range(10)])
    since, until = ms(AT + timedelta(seconds=3)), ms(AT + timedelta(seconds=7))
    assert [r.seq for r in log.read(0, 99, Query(since_ms=since, until_ms=until))] == [4, 5, 6, 7]
    assert [r.seq for r in log.read(0, 99, Query(changed_only=True))] == [6]


def test_connections_are_used_again(log: AnswerLog) -> None:
    log.append([answer(1)])
    for _ in range(20):
        log.read(0, 1)
    assert log._readers._idle.qsize() == 1
