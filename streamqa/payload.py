"""Records as the flat, JSON-ready objects that sinks and the wire carry."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from streamqa.records import Alert, Answer, Change, Fault, Lost, Record, SourceStatus
from streamqa.types import NS_PER_S, Box, Point, Value, iso_ms

_SAME = (  # fields of an alert that go over the wire as they are
    "alert_id", "rule", "source", "question", "kind", "phase", "severity", "when", "confidence", "peak_confidence",
)  # fmt: skip


def record_payload(record: Record) -> dict[str, Any]:
    """A record as the flat, JSON-ready object that sinks and the wire carry; `seq` is the log's to add."""
    if isinstance(record, Answer):
        return _answer_payload(record)
    if isinstance(record, Alert):
        return _alert_payload(record)
    if isinstance(record, SourceStatus):
        return _status_payload(record)
    if isinstance(record, Change):
        return _change_payload(record)
    return _fault_payload(record) if isinstance(record, Fault) else _lost_payload(record)


def _plain(value: Value) -> Any:
    """A value with its points and boxes as plain objects."""
    if isinstance(value, tuple):
        return [{name: round(getattr(item, name), 5) for name in item.__slots__} for item in value]
    return round(value, 6) if isinstance(value, float) else value


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 4)


def _seconds(t_ns: int) -> float:
    return round(t_ns / NS_PER_S, 6)


def _answer_payload(answer: Answer) -> dict[str, Any]:
    decision, reading = answer.decision, answer.reading
    return {
        "type": "answer",
        "source": answer.source,
        "question": answer.question,
        "kind": answer.kind,
        "value": _plain(decision.value),
        "text": reading.text,
        "confidence": _rounded(decision.confidence),
        "scores": _scores(decision.scores),
        "mass": _rounded(reading.mass),
        "state": decision.state,
        "reason": decision.reason or None,
        "reading": {
            "value": _plain(reading.value),
            "confidence": _rounded(reading.confidence),
            "state": reading.state,
            "scores": _scores(reading.scores),
        },
        "frame": answer.frame,
        "t_s": _seconds(answer.t_ns),
        "captured_at": iso_ms(answer.captured_at),
        "clock": answer.clock,
        "answered_at": iso_ms(answer.answered_at),
        "window": {
            "start_s": _seconds(decision.start_ns),
            "frames": decision.frames,
            "agree": decision.agree,
            "since_s": None if decision.since_ns is None else _seconds(decision.since_ns),
        },
        "skipped": answer.skipped,
        "inactive": answer.inactive,
        "reused": answer.reused,
        "changed": answer.changed,
        "latency_ms": {
            "queue": round(answer.queue_ms, 1),
            "model": round(answer.model_ms, 1),
            "total": round(answer.total_ms, 1),
        },
        "model": answer.model,
        "evidence": answer.evidence,
    }


def _scores(scores: tuple[tuple[str, float], ...]) -> dict[str, float] | None:
    return {name: round(score, 4) for name, score in scores} if scores else None


def _alert_payload(alert: Alert) -> dict[str, Any]:
    return {
        "type": "alert",
        "alert_id": alert.alert_id,
        "phase": alert.phase,
        "rule": alert.rule,
        "source": alert.source,
        "question": alert.question,
        "kind": alert.kind,
        "severity": alert.severity,
        "when": alert.when,
        "value": _plain(alert.value),
        "confidence": _rounded(alert.confidence),
        "peak_confidence": _rounded(alert.peak_confidence),
        "blind": alert.is_blind,
        "reason": alert.reason or None,
        "began_t_s": _seconds(alert.began_ns),
        "began_at": iso_ms(alert.began_at),
        "ended_t_s": None if alert.ended_ns is None else _seconds(alert.ended_ns),
        "ended_at": iso_ms(alert.ended_at),
        "duration_s": _seconds(alert.duration_ns),
        "t_s": _seconds(alert.t_ns),
        "at": iso_ms(alert.at),
        "evidence": None,
    }


def _status_payload(status: SourceStatus) -> dict[str, Any]:
    return {
        "type": "source",
        "source": status.source,
        "state": status.state,
        "reason": status.reason or None,
        "at": iso_ms(status.at),
        "t_s": None if status.t_ns is None else _seconds(status.t_ns),
    }


def _fault_payload(fault: Fault) -> dict[str, Any]:
    return {"type": "error", "code": fault.code, "message": fault.message, "at": iso_ms(fault.at)}


def _change_payload(change: Change) -> dict[str, Any]:
    return {
        "type": "change",
        "what": change.what,
        "id": change.id,
        "action": change.action,
        "by": change.by,
        "settings": change.settings,
        "at": iso_ms(change.at),
    }


def _lost_payload(lost: Lost) -> dict[str, Any]:
    # The `gap` of the wire; which numbers these records would have had nobody knows.
    return {
        "type": "gap",
        "from": None,
        "to": None,
        "count": lost.count,
        "reason": lost.reason,
        "at": iso_ms(lost.at),
    }


def read_alert(payload: dict[str, Any]) -> Alert:
    """The alert that a payload is of, `seq` and evidence aside.

    Raises `KeyError` or `ValueError` where it is of none.
    """
    ended_s: float | None = payload["ended_t_s"]
    return Alert(
        **{name: payload[name] for name in _SAME},
        value=_read_value(payload["value"]),
        is_blind=payload["blind"],
        reason=payload["reason"] or "",
        began_ns=round(payload["began_t_s"] * NS_PER_S),
        began_at=_read_wall(payload["began_at"]),
        ended_ns=None if ended_s is None else round(ended_s * NS_PER_S),
        ended_at=_read_wall(payload["ended_at"]),
        t_ns=round(payload["t_s"] * NS_PER_S),
        at=datetime.fromisoformat(payload["at"]),
        duration_ns=round(payload["duration_s"] * NS_PER_S),
    )


def _read_wall(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _read_value(value: Any) -> Value:
    if not isinstance(value, list):
        return value  # type: ignore[no-any-return] # JSON, which `_plain` made of a value
    if value and "x" in value[0]:
        return tuple(Point(**place) for place in value)
    return tuple(Box(**place) for place in value)
