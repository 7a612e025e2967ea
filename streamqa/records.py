"""Records: what gets a number in the log and goes to every sink."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from streamqa.conditions import Severity
from streamqa.types import Clock, Decision, Kind, Reading, SourceState, Value

if TYPE_CHECKING:
    from streamqa.types import Image


@dataclass(frozen=True, slots=True)
class Answer:
    """The typed result for one question on one frame, with its evidence."""

    source: str
    question: str
    kind: Kind
    decision: Decision
    reading: Reading
    frame: int
    t_ns: int
    captured_at: datetime | None
    clock: Clock
    answered_at: datetime
    skipped: int
    changed: bool  # value or state differs from the answer before it of the same question and source
    queue_ms: float
    model_ms: float
    total_ms: float
    model: str
    evidence: str | None = None
    reused: bool = False  # the model was not asked: the picture had not changed since its last answer
    inactive: int = 0  # ticks since the last answer in which it was not to be asked
    ask: str = ""  # the question's words, by which the log finds it; not on the wire
    captured_ns: int | None = field(
        default=None, repr=False, compare=False
    )  # live: monotonic clock, for latencies
    # What the model saw, uint8 (H, W, 3) RGB with masks, where it is worth keeping as evidence; the log's to store.
    picture: Image | None = field(default=None, repr=False, compare=False)
    # The same whether it is worth that or not, for alerts to choose from; dropped before the log.
    view: Image | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Alert:
    """A condition on answers began to hold, changed while it held, or holds no longer."""

    alert_id: str  # the same from its beginning to its end
    rule: str  # the name of its rule
    source: str
    question: str
    kind: Kind
    phase: Literal["begin", "update", "end"]
    severity: Severity
    when: str  # the condition, as it would be written
    value: Value  # the newest decided value that met it
    confidence: float | None  # of that
    peak_confidence: float | None  # the largest of all since it began
    is_blind: bool  # its source gives no pictures, or its question is not asked: it neither holds nor ends
    reason: str  # one line: why it is blind, or what ended it; "" when there is nothing to say
    began_ns: int  # stream time of the first reading of the run that began it
    began_at: datetime | None  # wall clock; None: recorded video
    ended_ns: int | None  # stream time of the first reading of the run that ended it; None: it is open
    ended_at: datetime | None
    t_ns: int  # stream time of the frame by which this was known
    at: datetime  # wall clock when this was known
    duration_ns: int  # since it began, as far as is known
    picture: Image | None = field(
        default=None, repr=False, compare=False
    )  # the one of the peak, where it is new


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """A source changed its state."""

    source: str
    state: SourceState
    reason: str  # one line without secrets, "" when there is nothing to say
    at: datetime
    t_ns: int | None = None  # stream time, where there is one


@dataclass(frozen=True, slots=True)
class Fault:
    """A part of the line itself failed, and is being set right; belongs to no source."""

    code: str  # a short stable word: model_worker
    message: str  # one line without secrets: what happened, and what is done about it
    at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """A standing question, a source or a webhook was added, changed, paused, resumed or removed while it ran."""

    what: Literal["question", "source", "webhook"]
    id: str
    action: Literal["added", "changed", "paused", "resumed", "removed"]
    by: str  # who: a token's name, or "local"
    at: datetime
    settings: dict[str, Any] | None = None  # as it is now, JSON-ready and without secrets; None: removed


@dataclass(frozen=True, slots=True)
class Lost:
    """Records were delivered and could not be kept; stands in the log at the place where they are missing."""

    count: int
    reason: Literal["log_full"]
    at: datetime  # when records could be kept again


Record: TypeAlias = Answer | Alert | SourceStatus | Fault | Change | Lost
