"""Answers as the engine would give them, from one letter for each tick: for tests of what follows from decisions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from streamqa.conditions import AlertRule, parse_condition
from streamqa.engine.window import Window
from streamqa.records import Answer, SourceStatus
from streamqa.types import NS_PER_S, Question, Reading, SourceState, Value

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
KNOWN: dict[str, Reading] = {
    "y": Reading(True, 0.9, "ok", scores=(("yes", 0.9), ("no", 0.1))),
    "Y": Reading(True, 0.97, "ok", scores=(("yes", 0.97), ("no", 0.03))),
    "w": Reading(True, 0.6, "ok", scores=(("yes", 0.6), ("no", 0.4))),  # weak
    "n": Reading(False, 0.9, "ok", scores=(("yes", 0.1), ("no", 0.9))),
    "u": Reading(None, None, "unsure", "off_list"),
    "s": Reading(None, None, "stale", "too_old"),
    "e": Reading(None, None, "error", "model_error: x"),
}


def rule(when: str = "yes", **fields: Any) -> AlertRule:
    return AlertRule(**{"name": "person", "when": parse_condition(when)} | fields)


def question(*rules: AlertRule, **fields: Any) -> Question:
    known: dict[str, Any] = {"id": "person", "ask": "?", "kind": "yes_no", "every_ns": NS_PER_S}
    return Question(**known | {"alerts": rules} | fields)


def reading(value: str | int) -> Reading:
    if isinstance(value, int):
        return Reading(value, 0.9, "ok", scores=((str(value), 0.9),))
    return KNOWN[value]


class Feed:
    """The answers to one question on one source, a tick a second; `live` says whether they have wall times."""

    def __init__(
        self, asked: Question, source: str = "gate", *, live: bool = True, first_s: float = 0
    ) -> None:
        self.asked, self.source, self.live = asked, source, live
        self.window = Window(asked)
        self.t_ns = round(first_s * NS_PER_S)

    def answers(self, ticks: str | list[int]) -> Iterator[Answer]:
        """One answer for each letter, or number; a blank is a tick that nobody answered."""
        for tick in ticks:
            if tick != " ":
                yield self.answer(reading(tick))
            self.t_ns += self.asked.every_ns

    def answer(self, read: Reading) -> Answer:
        captured = AT + timedelta(microseconds=self.t_ns / 1000)
        value: Value = read.value
        return Answer(
            source=self.source, question=self.asked.id, kind=self.asked.kind,
            decision=self.window.add(self.t_ns, read), reading=read, frame=self.t_ns // NS_PER_S, t_ns=self.t_ns,
            captured_at=captured if self.live else None, clock="arrival" if self.live else "media",
            answered_at=captured + timedelta(milliseconds=100), skipped=0, changed=value is not None, queue_ms=0,
            model_ms=0, total_ms=0, model="m@1",
        )  # fmt: skip

    def status(self, state: SourceState, reason: str = "") -> SourceStatus:
        return SourceStatus(
            self.source, state, reason, AT + timedelta(microseconds=self.t_ns / 1000), self.t_ns
        )
