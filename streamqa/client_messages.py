"""What a server says, as the subscriber library gives it: frozen values with the wire's names.

Fields that a newer server adds are in `raw` only; messages of a type that is not known here are `Unknown`. Within one
version of the protocol no field goes away or changes its meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar, TypeAlias

from streamqa.errors import ProtocolError

PROTOCOL_VERSION = 1

_Raw = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """What the frame of an answer says by itself."""

    value: Any
    confidence: float | None
    state: str
    scores: dict[str, float] | None = None  # of closed kinds


@dataclass(frozen=True, slots=True)
class Window:
    """What an answer was decided from."""

    start_s: float  # stream time of the oldest reading
    frames: int  # readings
    agree: int  # of these, how many have the decided value
    since_s: float | None = None  # stream time of the first reading of the run that decided


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds that a frame spent."""

    queue: float  # waiting for the model
    model: float  # in it
    total: float  # from the decoder to the answer


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of every connection: what the server watches and asks, and where its log is."""

    type: ClassVar[str] = "hello"
    protocol: int
    epoch: str  # of the log: a place in it is a `seq` with this
    first_seq: int  # oldest retained record
    last_seq: int  # newest record
    sources: list[_Raw]
    questions: list[_Raw]
    model: _Raw | None  # None: it is being loaded
    at: datetime
    raw: _Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question about one frame."""

    type: ClassVar[str] = "answer"
    seq: int | None  # None: not in the log (its disk is full)
    source: str
    question: str
    kind: str
    value: Any  # bool, int, float, str, a list of points or boxes; None unless `state` is ok
    text: str
    confidence: float | None
    scores: dict[str, float] | None  # over the window, of closed kinds
    mass: float | None
    state: str  # ok, unsure, stale, error
    reason: str | None
    reading: Reading
    frame: int
    t_s: float  # stream time
    captured_at: datetime | None  # UTC; None: recorded video
    clock: str  # rtcp, arrival, media
    answered_at: datetime
    window: Window
    skipped: int  # ticks merged into this one
    inactive: int  # ticks before this one in which it was not to be asked
    reused: bool  # the picture had not changed, so the model was not asked
    changed: bool  # value or state differs from the answer before it
    latency_ms: Latency
    model: str
    evidence: str | None  # where its picture is, from the server's root
    durable: bool = True
    raw: _Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Alert:
    """A condition on answers began to hold, changed while it held, or holds no longer."""

    type: ClassVar[str] = "alert"
    seq: int | None
    alert_id: str  # the same from its beginning to its end
    phase: str  # begin, update, end
    rule: str
    source: str
    question: str
    kind: str
    severity: str  # info, warning, critical
    when: str  # the condition
    value: Any  # the newest that met it
    confidence: float | None
    peak_confidence: float | None
    blind: bool  # its source gives no pictures: it neither holds nor ends
    reason: str | None  # why it is blind, or what ended it
    began_t_s: float  # stream time of the first reading of the run that began it
    began_at: datetime | None  # None: recorded video
    ended_t_s: float | None  # the same of its end; None: it is open
    ended_at: datetime | None
    duration_s: float
    t_s: float  # of the frame by which this was known
    at: datetime
    evidence: str | None  # where the picture of its peak is, from the server's root
    durable: bool = True
    raw: _Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Source:
    """A source changed its state."""

    type: ClassVar[str] = "source"
    seq: int | None
    source: str
    state: str  # connecting, live, stalled, frozen, reconnecting, refused, paused, ended
    reason: str | None
    at: datetime
    t_s: float | None  # stream time
    durable: bool = True
    raw: _Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Change:
    """A question, a source or a webhook was added, changed, paused, resumed or removed while the server ran."""

    type: ClassVar[str] = "change"
    seq: int | None
    what: str  # question, source, webhook
    id: str
    action: str  # added, changed, paused, resumed, removed
    by: str  # the name of a token, or local
    settings: _Raw | None  # as they are now; None: removed
    at: datetime
    durable: bool = True
    raw: _Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Gap:
    """Records that will not come: those from `from_` to `to`, both included, whichever of them would have matched.

    `reason`: `slow` (we did not read fast enough), `retention` (no longer kept), `new_log` (our place was in another
    log, and everything in this one follows), `log_full` (a record: so many were sent and could not be kept).
    """

    type: ClassVar[str] = "gap"
    from_: int | None
    to: int | None
    reason: str
    count: int | None = None
    seq: int | None = None  # only of `log_full`
    at: datetime | None = None
    raw: _Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Error:
    """A part of the line failed and is being set right; or, not `is_record`, this connection has a trouble."""

    type: ClassVar[str] = "error"
    code: str
    message: str
    seq: int | None = None
    at: datetime | None = None
    durable: bool = True
    raw: _Raw = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_record(self) -> bool:
        """Whether it is about the line, for everybody, and not about this connection."""
        return "seq" in self.raw


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a type that this library does not know, of a newer server."""

    type: str
    seq: int | None
    raw: _Raw = field(repr=False)


Message: TypeAlias = Hello | Answer | Alert | Source | Change | Gap | Error | Unknown


def _wall(value: Any) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _part(kind: type[Any]) -> Callable[[Any], Any]:
    needed = tuple(one.name for one in fields(kind) if one.default is MISSING)
    others = tuple(one.name for one in fields(kind) if one.default is not MISSING)
    return lambda value: kind(*[value[name] for name in needed], *[value.get(name) for name in others])


_READ: Mapping[str, Callable[[Any], Any]] = {
    "at": _wall,
    "captured_at": _wall,
    "answered_at": _wall,
    "began_at": _wall,
    "ended_at": _wall,
    "reading": _part(Reading),
    "window": _part(Window),
    "latency_ms": _part(Latency),
}
_KINDS: Mapping[str, type[Any]] = {
    kind.type: kind for kind in (Hello, Answer, Alert, Source, Change, Gap, Error)
}
# Of each type: the field, its name on the wire, how it is read, and whether it must be there.
_FIELDS = {
    kind: [
        (one.name, one.name.rstrip("_"), _READ.get(one.name), one.default is MISSING)
        for one in fields(kind)
        if one.name != "raw"
    ]
    for kind in _KINDS.values()
}


def read_message(raw: Mapping[str, Any]) -> Message:
    """A message as it came over the wire, typed.

    Raises `ProtocolError` with code `bad_message` where a field is missing or is not what it should be, and
    `protocol` at the `hello` of a server that speaks another version.
    """
    raw = dict(raw)
    name = raw.get("type")
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        return Unknown(str(name), _number(raw), raw)
    if kind is Hello and raw.get("protocol") != PROTOCOL_VERSION:
        raise ProtocolError(
            "protocol",
            f"the server speaks version {raw.get('protocol')!r} of the protocol, this client {PROTOCOL_VERSION}; "
            "install the same streamqa on both sides",
        )
    try:
        message: Message = kind(**dict(_values(kind, raw)), raw=raw)
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(
            "bad_message", f"a message of type {name} is not as this client knows it: {error!r:.100}"
        ) from None
    return message


def _values(kind: type[Any], raw: _Raw) -> list[tuple[str, Any]]:
    found = []
    for name, wire, read, is_needed in _FIELDS[kind]:
        if is_needed or wire in raw:
            value = raw[wire]
            found.append((name, value if read is None else read(value)))
    return found


def _number(raw: _Raw) -> int | None:
    seq = raw.get("seq")
    return seq if type(seq) is int else None
