"""What clients hear, word for word."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from streamqa.capture.source import SourceFacts
from streamqa.capture.sources import SourceInfo
from streamqa.conditions import AlertRule, parse_condition
from streamqa.hours import parse_hours
from streamqa.server.messages import Error, Gap, Heartbeat, Hello, Pong, about, wall
from streamqa.types import ModelInfo, Point, Question, Zone

NOW = wall(datetime(2026, 11, 22, 2, 22, 34, 120_400, tzinfo=UTC))


def test_every_message_that_is_sent() -> None:
    model = ModelInfo("tiny", "1", "cpu", "float32", frozenset({"query", "point"}), note="synthetic")
    zone = Zone((Point(0.5, 0), Point(1, 0), Point(1, 1)))
    question = Question("q", "Why?", "choice", 5 * 10**8, sources=("gate",), choices=("a", "b"),
                        zone=zone, when=parse_hours("22:00-06:00 Europe/Rome"), above=0.7,
                        alerts=(AlertRule("q", parse_condition("a"), hold_ns=3 * 10**9),))  # fmt: skip
    gate = SourceInfo("gate", "scene:gate", True, "live", "", None, SourceFacts())
    hello = Hello(
        epoch="e",
        first_seq=1,
        last_seq=4,
        at=NOW,
        **about([gate], [question], model),
    )
    assert json.loads(hello.json_text()) == {
        "type": "hello", "protocol": 1, "epoch": "e", "first_seq": 1, "last_seq": 4,
        "sources": [{"id": "gate", "url": "scene:gate", "is_live": True, "state": "live", "reason": None,
                     "since": None}],
        "questions": [{"id": "q", "ask": "Why?", "kind": "choice", "every_s": 0.5, "window_s": 0.0,
                       "decide": "latest", "sources": ["gate"], "choices": ["a", "b"],
                       "zone": [[0.5, 0], [1, 0], [1, 1]], "when": "22:00-06:00 Europe/Rome",
                       "max_age_s": 1.0, "above": 0.7, "below": None, "for_s": 0.0, "only_if": None, "look": "frame",
                       "alerts": [{"name": "q", "when": "a", "above": None, "for_s": 3.0, "k_of_n": [1, 1],
                                   "cooldown_s": 0.0, "severity": "warning", "hours": None}],
                       "paused": False}],
        "model": {"name": "tiny", "revision": "1", "device": "cpu", "dtype": "float32",
                  "tasks": ["point", "query"], "note": "synthetic"},
        "at": "2026-11-22T02:22:34.120Z",
    }  # fmt: skip
    gap = Gap(first=2, last=3, reason="slow")
    assert json.loads(gap.json_text()) == {"type": "gap", "from": 2, "to": 3, "reason": "slow", "count": None}
    assert json.loads(Heartbeat(last_seq=4, at=NOW).json_text()) == {
        "type": "heartbeat",
        "last_seq": 4,
        "at": NOW,
    }
    assert json.loads(Pong(id=None, at=NOW).json_text()) == {"type": "pong", "id": None, "at": NOW}
    error = Error(code="bad_json", message="no")
    assert json.loads(error.json_text()) == {"type": "error", "id": None, "code": "bad_json", "message": "no"}
