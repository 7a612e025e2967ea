"""Records for the tests of the log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from streamqa.records import Alert, Answer, SourceStatus
from streamqa.types import Decision, Reading

AT = datetime(2026, 11, 22, 2, 22, 34, 120_000, tzinfo=UTC)


def answer(n: int = 0, *, text: str = "Yes", **fields: Any) -> Answer:
    decision = Decision(True, 0.9, "ok", "", start_ns=n, frames=1, agree=1)
    known: dict[str, Any] = {
        "source": "gate", "question": "person", "kind": "yes_no", "decision": decision,
        "reading": Reading(True, 0.9, "ok", text=text), "frame": n, "t_ns": n * 10**9,
        "captured_at": AT + timedelta(seconds=n), "clock": "arrival", "answered_at": AT + timedelta(seconds=n),
        "skipped": 0, "changed": True, "queue_ms": 1, "model_ms": 2, "total_ms": 3, "model": "fake@1",
    }  # fmt: skip
    return Answer(**(known | fields))


def alert(n: int = 0, **fields: Any) -> Alert:
    """The beginning of an alert, `n` seconds in."""
    known: dict[str, Any] = {
        "alert_id": f"a{n}", "rule": "person", "source": "gate", "question": "person", "kind": "yes_no",
        "phase": "begin", "severity": "warning", "when": "yes", "value": True, "confidence": 0.9,
        "peak_confidence": 0.9, "is_blind": False, "reason": "", "began_ns": n * 10**9,
        "began_at": AT + timedelta(seconds=n), "ended_ns": None, "ended_at": None, "t_ns": n * 10**9,
        "at": AT + timedelta(seconds=n), "duration_ns": 0,
    }  # fmt: skip
    return Alert(**(known | fields))


def status(source: str = "gate") -> SourceStatus:
    return SourceStatus(source, "live", "", AT, 5)


def picture(grey: int = 100) -> np.ndarray:
    return np.full((48, 64, 3), grey, np.uint8)


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
