"""What clients hear over the websocket, beside the records that are passed on as the log keeps them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from streamqa.capture.sources import SourceInfo
from streamqa.conditions import AlertRule, Severity
from streamqa.server.protocol import PROTOCOL_VERSION
from streamqa.server.record_messages import Part, Wall
from streamqa.types import NS_PER_S, Decide, Kind, Look, ModelInfo, Question, SourceState, Task, iso_ms


class _Outgoing(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, json_schema_serialization_defaults_required=True
    )

    def json_text(self) -> str:
        """As it goes over the wire."""
        return self.model_dump_json(by_alias=True)


class AboutSource(Part):
    """A source that is watched."""

    id: str
    url: str = Field(description="without user name and password")
    is_live: bool
    state: SourceState
    reason: str | None = Field(description="of its state")
    since: Wall | None = Field(description="of its state; null: it has not begun")


class AboutAlert(Part):
    """When answers to a question are an alert."""

    name: str
    when: str = Field(description="the condition")
    above: float | None = Field(description="the decision's least confidence; null: any")
    for_s: float = Field(ge=0, description="it has to hold for so long")
    k_of_n: list[int] = Field(description="of the last n decisions at least k meet it")
    cooldown_s: float = Field(ge=0)
    severity: Severity
    hours: str | None = Field(description="in which alerts begin; null: always")


class AboutQuestion(Part):
    """A standing question."""

    id: str
    ask: str
    kind: Kind
    every_s: float = Field(gt=0)
    window_s: float = Field(ge=0)
    decide: Decide
    sources: list[str] | None = Field(description="null: every source")
    choices: list[str]
    zone: list[list[float]] | None = Field(
        description="corners x, y, in units of the picture's width and height"
    )
    when: str | None = Field(description="active hours; null: always")
    max_age_s: float = Field(gt=0)
    above: float | None
    below: float | None
    for_s: float = Field(ge=0, description="a value has to be decided for so long before it counts")
    only_if: str | None = Field(description="asked only while that holds; null: always")
    look: Look
    alerts: list[AboutAlert]
    paused: bool


class AboutModel(Part):
    """What answers."""

    name: str
    revision: str
    device: str
    dtype: str
    tasks: list[Task]
    note: str = Field(description="what one must know not to be misled")


class Hello(_Outgoing):
    """The first message of every connection."""

    type: Literal["hello"] = "hello"
    protocol: int = PROTOCOL_VERSION
    epoch: str
    first_seq: int  # oldest retained record
    last_seq: int  # newest record; `subscribe {since: last_seq}` misses nothing after this hello
    sources: list[AboutSource]
    questions: list[AboutQuestion]
    model: AboutModel | None  # null while it is being loaded
    at: Wall


class Gap(_Outgoing):
    """Records with these numbers, both ends included, will not come, whichever of them would have matched.

    `slow`: the client did not read fast enough; `retention`: no longer kept; `new_log`: the client's place is in
    another log (both ends null), everything retained in this one follows; `log_full`: a record, with a `seq`, that
    says how many were delivered and not kept (both ends null).
    """

    type: Literal["gap"] = "gap"
    first: int | None = Field(alias="from")
    last: int | None = Field(alias="to")
    reason: Literal["slow", "retention", "new_log", "log_full"]
    count: int | None = None  # how many records, where that is known


class Heartbeat(_Outgoing):
    """All is well: everything up to `last_seq` that matches has been sent."""

    type: Literal["heartbeat"] = "heartbeat"
    last_seq: int
    at: Wall


class Error(_Outgoing):
    """The client's last message was not understood (or `internal`: we failed); the connection stays open.

    Without `seq`; an `error` with one is a record: a part of the line failed (`types.Fault`).
    """

    type: Literal["error"] = "error"
    id: str | None = None  # of the command that failed
    code: str
    message: str


class Reply(_Outgoing):
    """A command was carried out."""

    type: Literal["reply"] = "reply"
    id: str | None
    result: dict[str, Any]


class Pong(_Outgoing):
    """The answer to `ping`."""

    type: Literal["pong"] = "pong"
    id: str | None
    at: Wall


def about(
    sources: Iterable[SourceInfo], questions: Iterable[Question], model: ModelInfo | None
) -> dict[str, Any]:
    """What this server watches, asks, and answers with: part of `hello` and of `/api/info`."""
    return {
        "sources": [_source(source) for source in sources],
        "questions": [_question(question) for question in questions],
        "model": None if model is None else _model(model),
    }


def _model(model: ModelInfo) -> dict[str, Any]:
    return {
        "name": model.name,
        "revision": model.revision,
        "device": model.device,
        "dtype": model.dtype,
        "tasks": sorted(model.tasks),
        "note": model.note,
    }


def wall(moment: datetime) -> str:
    """A wall time on the wire."""
    return iso_ms(moment) or ""


def _source(source: SourceInfo) -> dict[str, Any]:
    return {
        "id": source.id,
        "url": source.url,
        "is_live": source.is_live,
        "state": source.state,
        "reason": source.reason or None,
        "since": iso_ms(source.since),
    }


def _question(question: Question) -> dict[str, Any]:
    return {
        "id": question.id,
        "ask": question.ask,
        "kind": question.kind,
        "every_s": question.every_ns / NS_PER_S,
        "window_s": question.window_ns / NS_PER_S,
        "decide": question.decide,
        "sources": None if question.sources is None else list(question.sources),
        "choices": list(question.choices),
        "zone": None if question.zone is None else [[corner.x, corner.y] for corner in question.zone.corners],
        "when": None if question.when is None else str(question.when),
        "max_age_s": question.age_limit_ns / NS_PER_S,
        "above": question.above,
        "below": question.below,
        "for_s": question.hold_ns / NS_PER_S,
        "only_if": None if question.only_if is None else str(question.only_if),
        "look": question.look,
        "alerts": [_alert(rule) for rule in question.alerts],
        "paused": question.is_paused,
    }


def _alert(rule: AlertRule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "when": str(rule.when),
        "above": rule.above,
        "for_s": rule.hold_ns / NS_PER_S,
        "k_of_n": list(rule.k_of_n),
        "cooldown_s": rule.cooldown_ns / NS_PER_S,
        "severity": rule.severity,
        "hours": None if rule.hours is None else str(rule.hours),
    }
