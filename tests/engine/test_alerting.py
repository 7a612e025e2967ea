"""The shell around the alert rules: order in the log, counts, ends of sources."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np

from streamqa.engine.alerting import Alerting
from streamqa.metrics import Metrics
from streamqa.records import Alert, Answer, Record, SourceStatus
from streamqa.types import NS_PER_S
from tests.engine.decisions import AT, Feed, question, rule


class Line:
    """An `Alerting` and all that it put, in order."""

    def __init__(self, *rules: object, earlier: list[Alert] | None = None) -> None:
        self.records: list[Record] = []
        self.metrics = Metrics()
        self.asked = question(*rules)  # type: ignore[arg-type]
        self.feed = Feed(self.asked)
        self.alerting = Alerting([self.asked], self.put, self.metrics, earlier or [])

    def put(self, records: object) -> None:
        self.records += records  # type: ignore[operator]

    def words(self) -> list[str]:
        """What was put: the phase of an alert, the state of a source, or an answer."""
        return [
            r.phase if isinstance(r, Alert) else r.state if isinstance(r, SourceStatus) else "answer"
            for r in self.records
        ]

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"streamqa_{name}", labels) or 0.0


def test_an_alert_follows_its_answer() -> None:
    line = Line(rule())
    line.alerting.answers(list(line.feed.answers("nyyn")))
    assert line.words() == ["answer", "answer", "begin", "answer", "answer", "end"]
    both = {"source": "gate", "question": "person"}
    assert line.count("alerts_total", **both, severity="warning", phase="begin") == 1
    assert line.count("alerts_total", **both, severity="warning", phase="end") == 1
    assert line.count("alerts_open", **both) == 0


def test_what_is_open_and_what_is_held_back_is_counted() -> None:
    line = Line(rule(cooldown_ns=60 * NS_PER_S))
    line.alerting.answers(list(line.feed.answers("ynyyyn")))
    assert line.count("alerts_held_back_total", source="gate", question="person") == 1
    line = Line(rule())
    line.alerting.answers(list(line.feed.answers("y")))
    assert line.count("alerts_open", source="gate", question="person") == 1
    assert [a.phase for a in line.alerting.open()] == ["begin"]


def test_pictures_go_with_alerts_and_not_with_all_answers() -> None:
    line = Line(rule())
    picture = np.zeros((2, 2, 3), np.uint8)
    line.alerting.answers([replace(answer, view=picture) for answer in line.feed.answers("ny")])
    assert [getattr(r, "view", None) for r in line.records if isinstance(r, Answer)] == [None, None]
    (begin,) = (r for r in line.records if isinstance(r, Alert))
    assert begin.picture is picture


def test_a_source_that_stalls_is_told_before_its_blind_alerts() -> None:
    line = Line(rule())
    line.alerting.answers(list(line.feed.answers("y")))
    line.alerting.status(line.feed.status("stalled", "no frame for 5 s"))
    assert line.words() == ["answer", "begin", "stalled", "update"]


def test_a_source_that_ends_ends_its_alerts_once_it_is_answered() -> None:
    line = Line(rule())
    line.alerting.answers(list(line.feed.answers("y")))
    line.alerting.status(line.feed.status("ended"))
    assert line.alerting.ending() == ["gate"]
    line.alerting.answers(list(line.feed.answers("Y")))
    line.alerting.finish("gate")
    line.alerting.finish("gate")
    assert line.words() == ["answer", "begin", "ended", "answer", "update", "end"]
    assert line.alerting.ending() == []


def test_a_source_that_begins_again_keeps_its_alerts() -> None:
    line = Line(rule())
    line.alerting.answers(list(line.feed.answers("y")))
    line.alerting.status(line.feed.status("ended", "removed"))
    line.alerting.status(line.feed.status("live"))
    line.alerting.finish("gate")
    assert [a.phase for a in line.alerting.open()] == ["begin"]


def test_the_start_shows_what_is_open_and_ends_what_is_gone() -> None:
    first = Line(rule())
    first.alerting.answers(list(first.feed.answers("y")))
    begun = first.alerting.open()
    again = Line(rule(), earlier=begun)
    again.alerting.begin(["gate"])
    assert (again.words(), again.count("alerts_open", source="gate", question="person")) == ([], 1)
    again.alerting.replace([replace(again.asked, ask="Who?")])
    assert again.words() == ["end"]
    gone = Line(rule(), earlier=begun)
    gone.alerting.begin(["yard"])
    assert gone.words() == ["end"]
    (end,) = (r for r in gone.records if isinstance(r, Alert))
    assert end.reason == "source removed"
    assert end.at > AT + timedelta(0)
