"""Records as they are on the wire, in REST and in every other sink: what `payload.record_payload` makes, described.

Nothing is made of these at run time: a record is written once, by the log, and passed on as text. They are what the
published schemas come from, and what every message in the tests is held against.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from streamqa.conditions import Severity
from streamqa.types import Clock, Kind, SourceState, State

Wall = Annotated[
    str,
    Field(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
        description="UTC, ISO 8601 with milliseconds",
        json_schema_extra={"format": "date-time"},
    ),
]
_Count = Annotated[int, Field(ge=0)]
_Probability = Annotated[float, Field(ge=0, le=1)]
_Seconds = Annotated[float, Field(description="stream time")]


class Part(BaseModel):
    """Some of a message."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


class PointValue(Part):
    """A position, origin top left, in units of the picture's width and height."""

    x: float
    y: float


class BoxValue(Part):
    """A rectangle, origin top left, in units of the picture's width and height; may leave [0, 1]."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float


Value: TypeAlias = bool | int | float | str | list[PointValue] | list[BoxValue] | None


class ReadingValue(Part):
    """What an answer's own frame says."""

    value: Value
    confidence: _Probability | None
    state: State
    scores: dict[str, _Probability] | None = Field(description="of each option, of closed kinds")


class WindowValue(Part):
    """What an answer was decided from."""

    start_s: _Seconds
    frames: _Count = Field(description="readings in the window")
    agree: _Count = Field(description="of these, how many have the decided value")
    since_s: float | None = Field(
        description="stream time of the first reading of the run that decided; null: nothing is decided"
    )


class LatencyValue(Part):
    """Milliseconds."""

    queue: float = Field(description="waiting for the model")
    model: float = Field(description="in it")
    total: float = Field(description="from the decoder to the answer")


class _Record(Part):
    seq: Annotated[int, Field(ge=1)] | None = Field(
        description="place in the log, never used twice in one epoch; null: it is in no log"
    )
    durable: bool = Field(True, description="false: the log is full, it will not come again")


class AnswerRecord(_Record):
    """The answer to one question about one frame."""

    type: Literal["answer"]
    source: str
    question: str
    kind: Kind
    value: Value = Field(description="what the window decided; null unless state is ok")
    text: str = Field(description="what the model said about this frame")
    confidence: _Probability | None
    scores: dict[str, _Probability] | None = Field(
        description="of each option over the window, of closed kinds"
    )
    mass: float | None = Field(description="probability that the model says any of the options")
    state: State = Field(description="unsure, stale and error are no `no`")
    reason: str | None = Field(description="a short stable word, unless state is ok")
    reading: ReadingValue
    frame: _Count
    t_s: _Seconds
    captured_at: Wall | None = Field(description="null: recorded video")
    clock: Clock
    answered_at: Wall
    window: WindowValue
    skipped: _Count = Field(description="earlier ticks merged into this answer")
    inactive: _Count = Field(description="earlier ticks in which it was not to be asked")
    reused: bool = Field(description="the picture had not changed, so the model was not asked")
    changed: bool = Field(description="value or state differs from the answer before it")
    latency_ms: LatencyValue
    model: str = Field(description="name@revision")
    evidence: str | None = Field(description="path of the picture that it is about, where one is kept")


class AlertRecord(_Record):
    """A condition on answers began to hold, changed while it held, or holds no longer."""

    type: Literal["alert"]
    alert_id: str = Field(description="the same from its beginning to its end")
    phase: Literal["begin", "update", "end"]
    rule: str
    source: str
    question: str
    kind: Kind
    severity: Severity
    when: str = Field(description="the condition")
    value: Value = Field(description="the newest decided value that met it")
    confidence: _Probability | None
    peak_confidence: _Probability | None
    blind: bool = Field(description="nothing is seen, or asked: it neither holds nor ends")
    reason: str | None = Field(description="why it is blind, or what ended it")
    began_t_s: _Seconds = Field(description="first reading of the run that began it")
    began_at: Wall | None = Field(description="null: recorded video")
    ended_t_s: float | None = Field(description="first reading of the run that ended it; null: it is open")
    ended_at: Wall | None
    duration_s: Annotated[float, Field(ge=0)] = Field(description="as far as is known")
    t_s: _Seconds = Field(description="of the frame by which this was known")
    at: Wall
    evidence: str | None = Field(description="path of the picture of its peak, where it is new and kept")


class SourceRecord(_Record):
    """A source changed its state."""

    type: Literal["source"]
    source: str
    state: SourceState
    reason: str | None
    at: Wall
    t_s: _Seconds | None


class ChangeRecord(_Record):
    """A question, a source or a webhook was added, changed, paused, resumed or removed while the server ran."""

    type: Literal["change"]
    what: Literal["question", "source", "webhook"]
    id: str
    action: Literal["added", "changed", "paused", "resumed", "removed"]
    by: str = Field(description="the name of a token, or local")
    settings: dict[str, Any] | None = Field(description="as they are now, without passwords; null: removed")
    at: Wall


class ErrorRecord(_Record):
    """A part of the line failed and is being set right; belongs to no source."""

    type: Literal["error"]
    code: str
    message: str
    at: Wall


class GapRecord(_Record):
    """So many records were sent while the log was full, and are not kept."""

    type: Literal["gap"]
    first: None = Field(alias="from")
    last: None = Field(alias="to")
    count: _Count
    reason: Literal["log_full"]
    at: Wall


Record: TypeAlias = AnswerRecord | AlertRecord | SourceRecord | ChangeRecord | ErrorRecord | GapRecord
