"""Alerts in the log: found again at the next start, with a picture of their own, records of their question."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from streamqa.sinks.log import AnswerLog, LogSettings
from streamqa.sinks.query import Query
from streamqa.sinks.retention import ALL
from tests.sinks.records import alert, answer, picture


def test_the_newest_record_of_each_alert_comes_back(tmp_path: Path) -> None:
    first, second = alert(1, alert_id="one"), alert(2, alert_id="two")
    with closing(AnswerLog(tmp_path / "a.db")) as log:
        log.append([first, answer(2), second, alert(3, alert_id="one", phase="end", ended_ns=3 * 10**9)])
    with closing(AnswerLog(tmp_path / "a.db")) as log:
        found = log.alerts()
        assert [payload["seq"] for payload in log.open_alerts()] == [3]
    assert [(one.alert_id, one.phase) for one in found] == [("one", "end"), ("two", "begin")]
    assert found[1] == second


def test_a_log_without_alerts_has_none() -> None:
    with closing(AnswerLog(":memory:")) as log:
        log.append([answer(1)])
        assert log.alerts() == []


def test_open_alerts_are_found_by_an_index(tmp_path: Path) -> None:
    with closing(AnswerLog(tmp_path / "a.db")) as log, log._readers.reading() as connection:
        statement = (
            "EXPLAIN QUERY PLAN SELECT payload FROM records WHERE type = 'alert' ORDER BY seq DESC LIMIT 5"
        )
        plan = " ".join(str(row) for row in connection.execute(statement))
    assert "alert_records" in plan


def test_an_alert_has_a_picture_of_its_own(tmp_path: Path) -> None:
    with closing(AnswerLog(tmp_path / "a.db", LogSettings(evidence=ALL))) as log:
        logged = log.append([answer(1), alert(1, picture=picture()), alert(2)])
        assert [item.payload["evidence"] for item in logged] == [None, "/frames/2.jpg", None]
        path = log.evidence(2)
        assert path is not None
        assert path.read_bytes()[:2] == b"\xff\xd8"


def test_alerts_are_records_of_their_question_and_source() -> None:
    with closing(AnswerLog(":memory:")) as log:
        log.append([alert(1), alert(2, question="cars", source="yard"), answer(3)])
        for query, expected in (
            (Query(questions=("cars",)), [2]),
            (Query(sources=("gate",)), [1, 3]),
            (Query(types=("alert",)), [1, 2]),
            (Query(changed_only=True), [1, 2, 3]),
        ):
            assert [item.seq for item in log.read(0, 10, query)] == expected
