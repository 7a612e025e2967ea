"""Records: what gets a number in the log and goes to every sink."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from streamqa.types import Clock, Decision, Kind, Reading, SourceState

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
    """A standing question or a source was added, changed, paused, resumed or removed while it ran."""

    what: Literal["question", "source"]
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


Record: TypeAlias = Answer | SourceStatus | Fault | Change | Lost
