"""What an MQTT outlet sees of the rest, and records for it, for its tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from streamqa.capture.sources import SourceInfo
from streamqa.conditions import AlertRule, parse_condition
from streamqa.errors import NotThere
from streamqa.metrics import Metrics
from streamqa.payload import record_payload
from streamqa.records import Change, SourceStatus
from streamqa.sink_settings import MqttConfig
from streamqa.sinks.base import Logged
from streamqa.sinks.mqtt import MqttOutlet
from streamqa.sinks.outbox import DEFAULT_LIMITS, Limits
from streamqa.sinks.outlet import Context
from streamqa.types import Decision, Question
from tests.sinks.records import AT, answer
from tests.sinks.standing import question, source

RULE = AlertRule("person", parse_condition("yes"))


class Line:
    """A gate with a person and cars; what is paused is paused here."""

    def __init__(self) -> None:
        self.sources: list[SourceInfo] = [source()]
        self.questions: list[Question] = [question(alerts=(RULE,)), question("cars", kind="number")]
        self.paused: list[tuple[str, str, bool]] = []
        self.pictures: dict[int, Path] = {}
        self.may_pause = threading.Event()
        self.may_pause.set()
        self.outlet: MqttOutlet | None = None
        self.metrics = Metrics()
        self._seq = count(1)

    def counted(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(f"streamqa_{name}_total", {"sink": "mqtt"}) or 0.0

    def context(self) -> Context:
        return Context(
            metrics=self.metrics,
            epoch="epoch",
            evidence=self.pictures.get,
            describe=self.describe,
            pause=self.pause,
            dead_letters=None,
        )

    def describe(self) -> tuple[Sequence[SourceInfo], Sequence[Question]]:
        return tuple(self.sources), tuple(self.questions)

    def pause(self, what: Any, name: str, is_pause: bool) -> None:
        assert self.may_pause.wait(10)
        self.paused.append((what, name, is_pause))
        if name not in {one.id for one in (*self.sources, *self.questions)}:
            raise NotThere(f"{what} {name!r}: there is no such {what}")
        if what == "question":
            self.questions = [
                replace(one, is_paused=is_pause) if one.id == name else one for one in self.questions
            ]
        else:
            state = "paused" if is_pause else "connecting"
            self.sources = [replace(one, state=state) if one.id == name else one for one in self.sources]
            self.say(SourceStatus(name, state, "", AT))  # type: ignore[arg-type]
        self.say(Change(what, name, "paused" if is_pause else "resumed", "mqtt", AT))

    def say(self, *records: Any) -> None:
        """Write records, or payloads."""
        assert self.outlet is not None
        payloads = [one if isinstance(one, dict) else record_payload(one) for one in records]
        self.outlet.write([Logged(next(self._seq), payload) for payload in payloads])

    def change(self, what: Any, name: str, action: Any) -> None:
        self.say(Change(what, name, action, "local", AT, None if action == "removed" else {}))


def decided(value: Any, state: Any = "ok", reason: str = "", **fields: Any) -> dict[str, Any]:
    decision = Decision(value, 0.9, state, reason, start_ns=0, frames=1, agree=1)
    return record_payload(answer(decision=decision, **fields))


def alert(phase: str, number: int, evidence: str | None = None) -> dict[str, Any]:
    return {
        "type": "alert", "alert_id": f"a{number}", "phase": phase, "rule": "person", "source": "gate",
        "question": "person", "kind": "yes_no", "severity": "warning", "value": True, "evidence": evidence,
    }  # fmt: skip


@contextmanager
def outlet(line: Line, url: str, limits: Limits = DEFAULT_LIMITS, **settings: Any) -> Iterator[MqttOutlet]:
    made = MqttOutlet(MqttConfig(mqtt=url, **settings), "mqtt", line.context(), limits)
    line.outlet = made
    try:
        yield made
    finally:
        made.close()
