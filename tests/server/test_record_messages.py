"""The models of records are what the line makes of each record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from streamqa.payload import record_payload
from streamqa.records import Answer, Change, Fault, Lost, SourceStatus
from streamqa.server.record_messages import (
    AlertRecord,
    AnswerRecord,
    ChangeRecord,
    ErrorRecord,
    GapRecord,
    SourceRecord,
)
from streamqa.types import Box, Decision, Point, Reading, Value
from tests.sinks.records import alert

AT = datetime(2026, 11, 22, 2, 22, 34, 120_400, tzinfo=UTC)


def answer(value: Value, state: Any = "ok", **more: Any) -> Answer:
    return Answer(
        source="gate", question="q", kind="text",
        decision=Decision(value, 0.9, state, "" if state == "ok" else "off_list", 0, 1, 1),
        reading=Reading(value, 0.9, state, text="x", scores=(("yes", 0.9),), mass=0.99), frame=1, t_ns=10**9,
        captured_at=AT, clock="arrival", answered_at=AT, skipped=0, changed=True, queue_ms=1.04, model_ms=2,
        total_ms=3, model="fake@1",
    )  # fmt: skip


@pytest.mark.parametrize(("record", "model"), [
    *((answer(value), AnswerRecord) for value in (True, 3, 2.5, "a cat", (), (Point(0.1, 0.2),), (Box(0, 0, 1, 1),))),
    *((answer(None, state), AnswerRecord) for state in ("unsure", "stale", "error")),
    *((alert(3, value=value), AlertRecord) for value in (True, 3, "red", None, (Point(0.1, 0.2),))),
    (alert(3, phase="end", ended_ns=4 * 10**9, ended_at=AT, is_blind=True, reason="source ended"), AlertRecord),
    (alert(3, began_at=None, confidence=None, peak_confidence=None), AlertRecord),
    (SourceStatus("gate", "live", "", AT), SourceRecord),
    (SourceStatus("gate", "stalled", "no packet", AT, 5), SourceRecord),
    (Fault("model_worker", "it died", AT), ErrorRecord),
    (Change("question", "cars", "added", "me", AT, {"ask": "How many?"}), ChangeRecord),
    (Change("source", "gate", "removed", "me", AT), ChangeRecord),
    (Lost(3, "log_full", AT), GapRecord),
])  # fmt: skip
def test_every_record(record: Any, model: type[BaseModel]) -> None:
    payload = record_payload(record)
    for numbered in ({"seq": 7}, {"seq": None, "durable": False}):
        model.model_validate(payload | numbered)
    for wrong in ({"seq": 0}, {"seq": "7"}, {}, {"seq": 7, "more": 1}):
        with pytest.raises(ValidationError):
            model.model_validate(payload | wrong)


@pytest.mark.parametrize("at", ["2026-11-22T02:22:34Z", "2026-11-22T02:22:34.120+00:00", ""])
def test_wall_times_have_one_form(at: str) -> None:
    payload = record_payload(Fault("model_worker", "it died", AT)) | {"seq": 7}
    with pytest.raises(ValidationError):
        ErrorRecord.model_validate(payload | {"at": at})
