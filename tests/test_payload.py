import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streamqa.payload import record_payload
from streamqa.records import Alert, Answer, Fault, SourceStatus
from streamqa.types import Box, Decision, Point, Reading

MOMENT = datetime(2026, 11, 22, 2, 22, 34, 120_900, tzinfo=UTC)

ANSWER = Answer(
    source="gate",
    question="person",
    kind="yes_no",
    decision=Decision(
        True,
        0.93456,
        "ok",
        "",
        5_118_400_000_000,
        5,
        4,
        5_119_400_000_000,
        (("yes", 0.93456), ("no", 0.06544)),
    ),
    reading=Reading(True, 0.97, "ok", "", "Yes", (("yes", 0.97), ("no", 0.03)), 0.99812),
    frame=88121,
    t_ns=5_123_400_000_000,
    captured_at=MOMENT,
    clock="rtcp",
    answered_at=MOMENT + timedelta(milliseconds=190),
    skipped=0,
    changed=True,
    queue_ms=12.04,
    model_ms=61.0,
    total_ms=190.0,
    model="moondream2@2025-06-21",
)


def test_an_answer_as_it_goes_over_the_wire() -> None:
    assert record_payload(ANSWER) == {
        "type": "answer",
        "source": "gate",
        "question": "person",
        "kind": "yes_no",
        "value": True,
        "text": "Yes",
        "confidence": 0.9346,
        "scores": {"yes": 0.9346, "no": 0.0654},
        "mass": 0.9981,
        "state": "ok",
        "reason": None,
        "reading": {"value": True, "confidence": 0.97, "state": "ok", "scores": {"yes": 0.97, "no": 0.03}},
        "frame": 88121,
        "t_s": 5123.4,
        "captured_at": "2026-11-22T02:22:34.120Z",
        "clock": "rtcp",
        "answered_at": "2026-11-22T02:22:34.310Z",
        "window": {"start_s": 5118.4, "frames": 5, "agree": 4, "since_s": 5119.4},
        "skipped": 0,
        "inactive": 0,
        "reused": False,
        "changed": True,
        "latency_ms": {"queue": 12.0, "model": 61.0, "total": 190.0},
        "model": "moondream2@2025-06-21",
        "evidence": None,
    }


def test_an_unsure_answer_on_a_recording() -> None:
    reading = Reading(None, None, "unsure", "off_list")
    decision = Decision(None, None, "unsure", "off_list", 0, 1, 0)
    payload = record_payload(
        replace(ANSWER, reading=reading, decision=decision, captured_at=None, clock="media")
    )
    assert (payload["value"], payload["confidence"], payload["scores"], payload["mass"]) == (None,) * 4
    assert (payload["state"], payload["reason"]) == ("unsure", "off_list")
    assert payload["reading"] == {"value": None, "confidence": None, "state": "unsure", "scores": None}
    assert (payload["captured_at"], payload["clock"]) == (None, "media")


def test_a_stale_answer_and_the_ticks_in_which_nothing_was_to_be_asked() -> None:
    reading = Reading(None, None, "stale", "too_old")
    decision = Decision(None, None, "stale", "too_old", 0, 1, 0)
    payload = record_payload(replace(ANSWER, reading=reading, decision=decision, skipped=2, inactive=3600))
    assert (payload["state"], payload["reason"], payload["value"]) == ("stale", "too_old", None)
    assert payload["reading"] == {"value": None, "confidence": None, "state": "stale", "scores": None}
    assert (payload["skipped"], payload["inactive"]) == (2, 3600)


def test_an_alert_as_it_goes_over_the_wire() -> None:
    alert = Alert(
        alert_id="9f31", rule="person", source="gate", question="person", kind="yes_no", phase="end",
        severity="critical", when="yes", value=True, confidence=0.91237, peak_confidence=0.97, is_blind=False,
        reason="", began_ns=5_000_000_000, began_at=MOMENT - timedelta(seconds=4), ended_ns=8_000_000_000,
        ended_at=MOMENT - timedelta(seconds=1), t_ns=9_000_000_000, at=MOMENT, duration_ns=3_000_000_000,
    )  # fmt: skip
    assert record_payload(alert) == {
        "type": "alert",
        "alert_id": "9f31",
        "phase": "end",
        "rule": "person",
        "source": "gate",
        "question": "person",
        "kind": "yes_no",
        "severity": "critical",
        "when": "yes",
        "value": True,
        "confidence": 0.9124,
        "peak_confidence": 0.97,
        "blind": False,
        "reason": None,
        "began_t_s": 5.0,
        "began_at": "2026-11-22T02:22:30.120Z",
        "ended_t_s": 8.0,
        "ended_at": "2026-11-22T02:22:33.120Z",
        "duration_s": 3.0,
        "t_s": 9.0,
        "at": "2026-11-22T02:22:34.120Z",
        "evidence": None,
    }
    open_ = record_payload(
        replace(alert, phase="update", ended_ns=None, ended_at=None, is_blind=True, reason="x")
    )
    assert (open_["ended_t_s"], open_["ended_at"], open_["blind"], open_["reason"]) == (None, None, True, "x")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((Point(1 / 3, 1.0),), [{"x": 0.33333, "y": 1.0}]),
        ((Box(0.0, -0.1, 0.5, 1.0),), [{"x_min": 0.0, "y_min": -0.1, "x_max": 0.5, "y_max": 1.0}]),
        ((), []),
        (2 / 3, 0.666667),
        (4, 4),
        ("a red car", "a red car"),
    ],
)
def test_values_are_plain_json(value: Any, plain: Any) -> None:
    decision = replace(ANSWER.decision, value=value)
    payload = record_payload(replace(ANSWER, decision=decision, reading=replace(ANSWER.reading, value=value)))
    assert payload["value"] == payload["reading"]["value"] == plain
    assert json.loads(json.dumps(payload, allow_nan=False)) == payload


def test_a_source_status_as_it_goes_over_the_wire() -> None:
    status = SourceStatus("gate", "stalled", "no frame for 5 s", MOMENT, t_ns=1_500_000_000)
    assert record_payload(status) == {
        "type": "source",
        "source": "gate",
        "state": "stalled",
        "reason": "no frame for 5 s",
        "at": "2026-11-22T02:22:34.120Z",
        "t_s": 1.5,
    }
    bare = record_payload(SourceStatus("gate", "live", "", MOMENT))
    assert (bare["reason"], bare["t_s"]) == (None, None)


def test_a_fault_as_it_goes_over_the_wire() -> None:
    assert record_payload(Fault("model_worker", "the model's process died", MOMENT)) == {
        "type": "error",
        "code": "model_worker",
        "message": "the model's process died",
        "at": "2026-11-22T02:22:34.120Z",
    }


def test_the_payload_of_an_answer_leaves_nothing_out() -> None:
    """Every field of `Answer` has its place on the wire, flat or grouped."""
    grouped = {
        "ask",
        "picture",
        "view",
        "captured_ns",
        "decision",
        "t_ns",
        "queue_ms",
        "model_ms",
        "total_ms",
    }
    assert {f.name for f in fields(Answer)} - grouped <= set(record_payload(ANSWER))
