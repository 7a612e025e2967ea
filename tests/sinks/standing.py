"""Sources and questions for the tests of MQTT."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from streamqa.capture.source import SourceFacts
from streamqa.capture.sources import SourceInfo
from streamqa.types import Question

AT = datetime(2026, 11, 22, 2, 22, 34, tzinfo=UTC)


def source(id: str = "gate", **fields: Any) -> SourceInfo:
    known: dict[str, Any] = {
        "id": id, "url": "scene:gate", "is_live": True, "state": "live", "reason": "", "since": AT,
        "facts": SourceFacts(),
    }  # fmt: skip
    return SourceInfo(**(known | fields))


def question(id: str = "person", **fields: Any) -> Question:
    known: dict[str, Any] = {"id": id, "ask": "Is there a person?", "kind": "yes_no", "every_ns": 10**9}
    return Question(**(known | fields))
