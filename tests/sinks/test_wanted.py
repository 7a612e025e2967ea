"""Which records go to a sink."""

from __future__ import annotations

from typing import Any

import pytest

from streamqa.sinks.wanted import Wanted

ANSWER = {"type": "answer", "source": "gate", "question": "person", "changed": False}
CHANGED = {**ANSWER, "changed": True}
ALERT = {"type": "alert", "source": "gate", "question": "person", "phase": "begin", "severity": "info"}
SOURCE = {"type": "source", "source": "gate", "state": "live"}
FAULT = {"type": "error", "code": "model_worker"}
ALL = [ANSWER, CHANGED, ALERT, SOURCE, FAULT]


@pytest.mark.parametrize(
    ("wanted", "passing"),
    [
        (Wanted(), ALL),
        (Wanted(types=["alert"]), [ALERT]),
        (Wanted(types=[]), []),
        (Wanted(sources=["gate"]), ALL),
        (Wanted(sources=["yard"]), [FAULT]),
        (Wanted(questions=["cars"]), [SOURCE, FAULT]),
        (Wanted(changed_only=True), [CHANGED, ALERT, SOURCE, FAULT]),
        (Wanted(phases=["end"]), [ANSWER, CHANGED, SOURCE, FAULT]),
        (Wanted(severities=["critical"]), [ANSWER, CHANGED, SOURCE, FAULT]),
        (Wanted(types=["answer"], questions=["person"], changed_only=True), [CHANGED]),
    ],
)
def test_what_passes(wanted: Wanted, passing: list[dict[str, Any]]) -> None:
    assert [payload for payload in ALL if wanted.wants(payload)] == passing
