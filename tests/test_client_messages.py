"""What comes over the wire, typed: all that the line can say, and what a newer server might."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from streamqa.client_messages import (
    PROTOCOL_VERSION,
    Alert,
    Answer,
    Change,
    Error,
    Gap,
    Hello,
    Latency,
    Reading,
    Source,
    Unknown,
    Window,
    read_message,
)
from streamqa.errors import ProtocolError
from streamqa.payload import record_payload
from streamqa.records import Alert as AlertRecord
from streamqa.records import Change as ChangeRecord
from streamqa.records import Fault, Lost, SourceStatus
from streamqa.server import messages, protocol

AT = datetime(2026, 11, 22, 2, 22, 34, 120_000, tzinfo=UTC)
ANSWER = {
    "type": "answer", "seq": 10412, "source": "gate", "question": "person", "kind": "yes_no", "value": True,
    "text": "Yes", "confidence": 0.93, "scores": {"yes": 0.93, "no": 0.07}, "mass": 0.998, "state": "ok",
    "reading": {"value": True, "confidence": 0.97, "state": "ok", "later": 1, "scores": {"yes": 0.97}},
    "reason": None, "frame": 88121,
    "t_s": 5123.4, "captured_at": "2026-11-22T02:22:34.120Z", "clock": "rtcp",
    "answered_at": "2026-11-22T02:22:34.120Z", "window": {"start_s": 5118.4, "frames": 5, "agree": 4}, "skipped": 0,
    "inactive": 0, "reused": False, "changed": True, "latency_ms": {"queue": 12, "model": 61, "total": 190},
    "model": "moondream2@2025-06-21", "evidence": "/frames/10412.jpg",
}  # fmt: skip


def test_an_answer() -> None:
    heard = read_message(ANSWER)
    assert isinstance(heard, Answer)
    assert (heard.type, heard.seq, heard.value, heard.durable) == ("answer", 10412, True, True)
    assert heard.captured_at == heard.answered_at == AT
    assert heard.reading == Reading(True, 0.97, "ok", {"yes": 0.97})
    assert heard.window == Window(5118.4, 5, 4)
    assert heard.latency_ms == Latency(12, 61, 190)
    assert heard.raw == ANSWER


def test_an_answer_that_is_not_kept() -> None:
    heard = read_message(ANSWER | {"seq": None, "durable": False, "captured_at": None})
    assert isinstance(heard, Answer)
    assert (heard.seq, heard.durable, heard.captured_at) == (None, False, None)


@pytest.mark.parametrize(("record", "expected"), [
    (SourceStatus("gate", "stalled", "no packet", AT, 5 * 10**9), Source(7, "gate", "stalled", "no packet", AT, 5.0)),
    (SourceStatus("gate", "live", "", AT), Source(7, "gate", "live", None, AT, None)),
    (Fault("model_worker", "it died", AT), Error("model_worker", "it died", 7, AT)),
    (ChangeRecord("source", "gate", "removed", "me", AT), Change(7, "source", "gate", "removed", "me", None, AT)),
    (Lost(3, "log_full", AT), Gap(None, None, "log_full", 3, 7, AT)),
])  # fmt: skip
def test_other_records(record: Any, expected: Any) -> None:
    heard = read_message(record_payload(record) | {"seq": 7})
    assert heard == expected
    assert heard.raw["seq"] == 7


def test_an_alert() -> None:
    record = AlertRecord(
        alert_id="9f31", rule="person", source="gate", question="person", kind="yes_no", phase="begin",
        severity="warning", when="yes", value=True, confidence=0.9, peak_confidence=0.97, is_blind=False, reason="",
        began_ns=5 * 10**9, began_at=AT, ended_ns=None, ended_at=None, t_ns=9 * 10**9, at=AT, duration_ns=4 * 10**9,
    )  # fmt: skip
    heard = read_message(record_payload(record) | {"seq": 7})
    assert isinstance(heard, Alert)
    assert (heard.alert_id, heard.phase, heard.value, heard.blind, heard.duration_s) == (
        "9f31",
        "begin",
        True,
        False,
        4,
    )
    assert (heard.began_at, heard.ended_at, heard.began_t_s, heard.ended_t_s) == (AT, None, 5.0, None)


def test_what_is_no_record() -> None:
    hello = messages.Hello(
        epoch="e", first_seq=1, last_seq=2, sources=[], questions=[], model=None, at=messages.wall(AT)
    )
    assert read_message(hello.model_dump(by_alias=True)) == Hello(1, "e", 1, 2, [], [], None, AT)
    gap = messages.Gap(first=1, last=4, reason="slow")
    assert read_message(gap.model_dump(by_alias=True)) == Gap(1, 4, "slow")
    error = read_message(messages.Error(code="bad_json", message="no").model_dump(by_alias=True))
    assert isinstance(error, Error)
    assert not error.is_record


def test_what_a_newer_server_may_say() -> None:
    track = {"type": "track", "seq": 9, "phase": "begin"}
    assert read_message(track) == Unknown("track", 9, track)
    assert read_message({"type": "news", "seq": "x"}) == Unknown("news", None, {"type": "news", "seq": "x"})
    more = read_message(ANSWER | {"colour": "red"})
    assert isinstance(more, Answer)
    assert more.raw["colour"] == "red"


@pytest.mark.parametrize("wrong", [
    {"type": "answer"}, ANSWER | {"answered_at": "soon"}, ANSWER | {"window": None}, {"type": "gap", "from": 1},
])  # fmt: skip
def test_what_is_not_as_agreed(wrong: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="is not as this client knows it") as caught:
        read_message(wrong)
    assert caught.value.code == "bad_message"


def test_another_version_of_the_protocol_says_what_to_do() -> None:
    assert PROTOCOL_VERSION == protocol.PROTOCOL_VERSION
    with pytest.raises(ProtocolError, match="install the same") as caught:
        read_message({"type": "hello", "protocol": 2})
    assert caught.value.code == "protocol"
