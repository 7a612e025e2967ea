"""Alerts through the whole line: from pictures to records, ended with their source, and on after a restart."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from streamqa.capture.source import SourceSpec
from streamqa.conditions import AlertRule, parse_condition
from streamqa.metrics import Metrics
from streamqa.pipeline import Parts, Pipeline
from streamqa.sinks.log import AnswerLog, LogSettings
from streamqa.sinks.retention import ALL
from streamqa.testing import ScriptedModel
from streamqa.types import Question
from tests.clips import bright_model, bright_when, brightness
from tests.test_pipeline import Kept

SLIDE_NS = 200_000_000


def person(*rules: AlertRule, **fields: Any) -> Question:
    known: dict[str, Any] = {
        "id": "person",
        "ask": "Is there a person?",
        "kind": "yes_no",
        "every_ns": SLIDE_NS,
    }
    return Question(**known | {"alerts": rules or (AlertRule("person", parse_condition("yes")),)} | fields)


def run(question: Question, clip: Path, log: AnswerLog, **spec: Any) -> list[dict[str, Any]]:
    kept = Kept()
    parts = Parts(
        (question,), (SourceSpec("gate", str(clip), **spec),), bright_model(), log, (kept,), Metrics(),
        keep_evidence=log.keeps_evidence,
    )  # fmt: skip
    pipeline = Pipeline(parts)
    pipeline.start()
    assert pipeline.wait(30)
    pipeline.stop()
    assert pipeline.failure is None
    return kept.of("alert")  # type: ignore[return-value]


def test_each_event_of_a_clip_is_an_alert_with_its_picture(tmp_path: Path) -> None:
    clip = bright_when(tmp_path / "a.mp4", lambda t: 1 <= t < 2 or 3 <= t < 4, seconds=5)
    with closing(AnswerLog(tmp_path / "a.db", LogSettings(evidence=ALL))) as log:
        told = run(person(window_ns=3 * SLIDE_NS, decide="majority"), clip, log)
        assert [a["peak_confidence"] for a in told if a["phase"] == "update"] == [
            0.9184
        ] * 2  # as the window fills
        alerts = [alert for alert in told if alert["phase"] != "update"]
        assert [(a["phase"], a["began_t_s"], a["ended_t_s"]) for a in alerts] == [
            ("begin", 1.0, None), ("end", 1.0, 2.0), ("begin", 3.0, None), ("end", 3.0, 4.0),
        ]  # fmt: skip
        assert [a["t_s"] for a in alerts] == [1.2, 2.2, 3.2, 4.2]
        assert [a["evidence"] is not None for a in alerts] == [True, False, True, False]
        for alert in alerts:
            assert (alert["evidence"] is None) or log.evidence(alert["seq"]) is not None
        assert log.alerts()[0].phase == "end"


def test_an_alert_that_is_open_at_the_end_of_a_recording_ends_with_it(tmp_path: Path) -> None:
    clip = bright_when(tmp_path / "a.mp4", lambda t: t >= 1)
    with closing(AnswerLog(":memory:")) as log:
        begin, end = run(person(), clip, log)
    assert (begin["phase"], end["phase"], end["reason"]) == ("begin", "end", "source ended")
    assert (end["began_t_s"], end["ended_t_s"], end["duration_s"]) == (1.0, 1.8, 0.8)


def wait_for(condition: Any, timeout_s: float = 15) -> None:
    until_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until_s, "it did not come"
        time.sleep(0.02)


def live(log: AnswerLog, clip: Path, kept: Kept, question: Question) -> Pipeline:
    spec = SourceSpec("gate", str(clip), pace="realtime", loop=True)
    pipeline = Pipeline(
        Parts((question,), (spec,), ScriptedModel(brightness), log, (kept,), Metrics()), stays=True
    )
    pipeline.start()
    return pipeline


def test_an_open_alert_survives_a_restart_and_is_told_to_be_blind(tmp_path: Path) -> None:
    always = bright_when(tmp_path / "a.mp4", lambda t: True)
    never = bright_when(tmp_path / "b.mp4", lambda t: False)
    with closing(AnswerLog(tmp_path / "a.db")) as log:
        first = Kept()
        pipeline = live(log, always, first, person())
        wait_for(lambda: first.of("alert"))
        assert [a.phase for a in pipeline.alerts()] == ["begin"]
        pipeline.stop()
        (begin,) = first.of("alert")
    with closing(AnswerLog(tmp_path / "a.db")) as log:
        second = Kept()
        pipeline = live(log, never, second, person())
        wait_for(lambda: any(a["phase"] == "end" for a in second.of("alert")))
        pipeline.stop()
    told = second.of("alert")
    assert {a["alert_id"] for a in told} == {begin["alert_id"]}
    assert [(a["phase"], a["blind"]) for a in told] == [("update", True), ("end", False)]
    assert [a["began_at"] for a in told] == [begin["began_at"]] * 2


def test_what_no_rule_asks_for_any_more_ends_at_the_next_start(tmp_path: Path) -> None:
    always = bright_when(tmp_path / "a.mp4", lambda t: True)
    with closing(AnswerLog(tmp_path / "a.db")) as log:
        first = Kept()
        pipeline = live(log, always, first, person())
        wait_for(lambda: first.of("alert"))
        pipeline.stop()
        second = Kept()
        pipeline = live(log, always, second, person(AlertRule("person", parse_condition("no"))))
        wait_for(lambda: second.of("answer"))
        pipeline.stop()
    (end,) = second.of("alert")
    assert (end["phase"], end["reason"]) == ("end", "rule removed")


def test_a_source_that_is_removed_ends_its_alerts_and_a_changed_question_its_own(tmp_path: Path) -> None:
    always = bright_when(tmp_path / "a.mp4", lambda t: True)
    with closing(AnswerLog(":memory:")) as log:
        kept = Kept()
        pipeline = live(log, always, kept, person())
        wait_for(lambda: kept.of("alert"))
        pipeline.asked.change_question(person(every_ns=SLIDE_NS // 2))
        wait_for(lambda: len(kept.of("alert")) >= 3)
        pipeline.remove_source("gate")
        wait_for(lambda: not pipeline.alerts())
        pipeline.stop()
    assert [(a["phase"], a["reason"]) for a in kept.of("alert")] == [
        ("begin", None), ("end", "question changed"), ("begin", None), ("end", "source removed"),
    ]  # fmt: skip


def test_a_model_that_takes_long_is_asked_once_to_let_the_alerts_of_an_ended_source_end(
    tmp_path: Path,
) -> None:
    """Else changes would be refused after two minutes: the engine's inbox would be full."""
    clip = bright_when(tmp_path / "a.mp4", lambda t: True, seconds=1)
    inside, go_on = threading.Event(), threading.Event()

    def slow(image: Any, prompt: Any) -> bool:
        inside.set()
        go_on.wait(15)
        return True

    with closing(AnswerLog(":memory:")) as log:
        kept = Kept()
        parts = Parts(
            (person(),), (SourceSpec("gate", str(clip)),), ScriptedModel(slow), log, (kept,), Metrics()
        )
        pipeline = Pipeline(parts, stays=True)
        pipeline.start()
        wait_for(inside.is_set)
        pipeline.remove_source("gate")
        for _ in range(300):
            pipeline._finish_ended()  # as the watch does twice a second
        assert len(pipeline._engine.inbox._calls) <= 2  # and what the removal itself asks for
        go_on.set()
        wait_for(lambda: any(a["phase"] == "end" for a in kept.of("alert")))
        pipeline.stop()
