"""The wire, without socket, clock or thread: messages, and one subscriber's place in the log.

Server to client: `hello`, `answer`, `source`, `gap`, `heartbeat`, `error`, `pong`. Client to server: `subscribe`,
`ping`. All are flat JSON objects with one `type`; records are passed on as the log keeps them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from streamqa.errors import ProtocolError
from streamqa.types import NS_PER_S, ModelInfo, Question, iso_ms

PROTOCOL_VERSION = 1
MAX_SEQ = 2**63 - 1

_Word = Annotated[str, Field(min_length=1, max_length=200)]
_Words = Annotated[list[_Word], Field(max_length=1000)]


class _Incoming(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Subscribe(_Incoming):
    """What the client wants from now on; a later one replaces it.

    `since` null: what comes from now on. A number: every retained record after it, then what comes. `epoch` says
    which log that number is of. Null in a filter lets everything pass; `questions` never hides the states of sources,
    and `sources` never hides what belongs to no source (errors).
    """

    type: Literal["subscribe"] = "subscribe"
    sources: _Words | None = None
    questions: _Words | None = None
    types: list[Literal["answer", "source", "error"]] | None = Field(None, max_length=10)
    since: int | None = Field(None, ge=0, le=MAX_SEQ)
    epoch: Annotated[str, Field(max_length=64)] | None = None


class Ping(_Incoming):
    """Answered by `pong` with the same `id`."""

    type: Literal["ping"] = "ping"
    id: Annotated[str, Field(max_length=64)] | None = None


Incoming: TypeAlias = Subscribe | Ping
_INCOMING: TypeAdapter[Incoming] = TypeAdapter(Annotated[Incoming, Field(discriminator="type")])

# What pydantic calls it → our stable word for it.
_CODES = {
    "json_invalid": "bad_json",
    "string_unicode": "bad_json",
    "union_tag_invalid": "unknown_type",
    "union_tag_not_found": "unknown_type",
}


def parse(data: str | bytes) -> Incoming:
    """A client's message.

    Raises `ProtocolError` with code `not_text`, `bad_json`, `unknown_type` or `bad_message`.
    """
    if isinstance(data, bytes):
        raise ProtocolError("not_text", "messages are JSON objects in text frames; this was a binary frame")
    try:
        return _INCOMING.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"{where}: {first['msg']}" if where else first["msg"]
        raise ProtocolError(_CODES.get(first["type"], "bad_message"), message[:300]) from None


class _Outgoing(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    def json_text(self) -> str:
        """As it goes over the wire."""
        return self.model_dump_json(by_alias=True)


class Hello(_Outgoing):
    """The first message of every connection."""

    type: Literal["hello"] = "hello"
    protocol: int = PROTOCOL_VERSION
    epoch: str
    first_seq: int  # oldest retained record
    last_seq: int  # newest record; `subscribe {since: last_seq}` misses nothing after this hello
    sources: list[dict[str, Any]]
    questions: list[dict[str, Any]]
    model: dict[str, Any]
    at: str


class Gap(_Outgoing):
    """Records with these numbers, both ends included, will not come, whichever of them would have matched.

    `slow`: the client did not read fast enough; `retention`: no longer kept; `new_log`: the client's place is in
    another log (both ends null), everything retained in this one follows.
    """

    type: Literal["gap"] = "gap"
    first: int | None = Field(alias="from")
    last: int | None = Field(alias="to")
    reason: Literal["slow", "retention", "new_log"]


class Heartbeat(_Outgoing):
    """All is well: everything up to `last_seq` that matches has been sent."""

    type: Literal["heartbeat"] = "heartbeat"
    last_seq: int
    at: str


class Error(_Outgoing):
    """The client's last message was not understood (or `internal`: we failed); the connection stays open.

    Without `seq`; an `error` with one is a record: a part of the line failed (`types.Fault`).
    """

    type: Literal["error"] = "error"
    code: str
    message: str


class Pong(_Outgoing):
    """The answer to `ping`."""

    type: Literal["pong"] = "pong"
    id: str | None
    at: str


def about(sources: Iterable[str], questions: Iterable[Question], model: ModelInfo) -> dict[str, Any]:
    """What this server watches, asks, and answers with: part of `hello` and of `/api/info`."""
    return {
        "sources": [{"id": source} for source in sources],
        "questions": [_question(question) for question in questions],
        "model": {
            "name": model.name,
            "revision": model.revision,
            "device": model.device,
            "dtype": model.dtype,
            "tasks": sorted(model.tasks),
            "note": model.note,
        },
    }


def wall(moment: datetime) -> str:
    """A wall time on the wire."""
    return iso_ms(moment) or ""


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
    }


@dataclass(frozen=True, slots=True)
class Filter:
    """What a subscriber wants to see; None lets everything pass."""

    sources: frozenset[str] | None = None
    questions: frozenset[str] | None = None
    types: frozenset[str] | None = None

    def matches(self, payload: dict[str, Any]) -> bool:
        """Whether this record is wanted. The same rule as `AnswerLog.page`."""
        source, question = payload.get("source"), payload.get("question")
        return (
            (self.sources is None or source is None or source in self.sources)
            and (self.questions is None or question is None or question in self.questions)
            and (self.types is None or payload["type"] in self.types)
        )


@dataclass(frozen=True, slots=True)
class Place:
    """What the log offers at one moment."""

    epoch: str
    first_seq: int
    last_seq: int


class Session:
    """One subscriber's place in the log: waiting for `subscribe`, replaying, or live.

    `cursor`: every wanted record up to here has been handed over or announced as a gap. Replay asks for pages after
    the cursor until it reaches what has been published; joining is then nothing but a change of phase, so there is
    no moment in which a record could be missed, and the cursor keeps any from coming twice.
    """

    __slots__ = ("cursor", "filter", "phase")

    def __init__(self) -> None:
        self.phase: Literal["waiting", "replay", "live"] = "waiting"
        self.filter = Filter()
        self.cursor = 0

    def subscribe(self, message: Subscribe, place: Place, published: int) -> Gap | None:
        """Start anew with this subscription; returns what must be said first.

        `published` is the newest number that has been broadcast; the log may already be ahead of it.
        """
        self.filter = Filter(
            *(
                None if names is None else frozenset(names)
                for names in (message.sources, message.questions, message.types)
            )
        )
        gap = None
        if message.since is None:
            self.cursor = published
        elif (message.epoch or place.epoch) != place.epoch or message.since > place.last_seq:
            gap = Gap(first=None, last=None, reason="new_log")
            self.cursor = place.first_seq - 1
        else:
            self.cursor = message.since
            gap = self._retained_from(place.first_seq)
        self.phase = "replay"
        self.join(published)
        return gap

    def join(self, published: int) -> bool:
        """Go live if nothing that has been broadcast is missing; whether that was so."""
        if self.cursor >= published:
            self.phase = "live"
        return self.phase == "live"

    def replayed(self, first_seq: int, seqs: Sequence[int], limit: int, published: int) -> Gap | None:
        """Account for a page of matching records that was asked for after `cursor`; returns a gap to say first.

        `first_seq` is of the same moment as the page; `published` was read before it, so a page that is not full
        has seen everything up to there.
        """
        gap = self._retained_from(first_seq)
        if seqs:
            self.cursor = seqs[-1]
        if len(seqs) < limit:
            self.cursor = max(self.cursor, published)
        return gap

    def _retained_from(self, first_seq: int) -> Gap | None:
        if self.cursor >= first_seq - 1:
            return None
        gap = Gap(first=self.cursor + 1, last=first_seq - 1, reason="retention")
        self.cursor = first_seq - 1
        return gap

    def handed_over(self, seq: int) -> None:
        """Everything up to `seq` is dealt with."""
        self.cursor = max(self.cursor, seq)


Item = TypeVar("Item")


class Backlog(Generic[Item]):
    """What waits for a subscriber that is not reading: the newest `size` items; what it drops becomes a gap."""

    __slots__ = ("_dropped", "_items", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[tuple[int, Item]] = deque()
        self._dropped: tuple[int, int] | None = None  # first and last number

    def __bool__(self) -> bool:
        return bool(self._items) or self._dropped is not None

    def __len__(self) -> int:
        return len(self._items)

    def push(self, seq: int, item: Item) -> int:
        """Add the newest item; returns how many old ones were dropped for it."""
        self._items.append((seq, item))
        return self._drop(len(self._items) - self._size)

    def drop(self) -> int:
        """Give up on all that waits, to be announced; returns how many that were."""
        return self._drop(len(self._items))

    def clear(self) -> None:
        """Forget all that waits: it will be replayed."""
        self._items.clear()
        self._dropped = None

    def take(self) -> tuple[Gap | None, list[Item]]:
        """Empty it: the gap to announce first, then the items in order."""
        gap = None
        if self._dropped is not None:
            gap = Gap(first=self._dropped[0], last=self._dropped[1], reason="slow")
        items = [item for _, item in self._items]
        self.clear()
        return gap, items

    def _drop(self, count: int) -> int:
        for _ in range(count):
            seq, _item = self._items.popleft()
            self._dropped = (self._dropped[0] if self._dropped else seq, seq)
        return max(count, 0)
