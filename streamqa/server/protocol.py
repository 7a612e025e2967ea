"""What clients say over the websocket: checked, and nothing else. See `messages` for what they hear.

All messages are flat JSON objects with one `type`. Every command but `subscribe` is answered: by `pong`, `reply` or
`error`, with the `id` that it came with.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from streamqa.errors import ProtocolError
from streamqa.question_settings import QuestionConfig
from streamqa.settings import SourceConfig

PROTOCOL_VERSION = 1
MAX_SEQ = 2**63 - 1

RecordType = Literal["answer", "alert", "source", "change", "error"]  # `gap` goes to everybody
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
    types: list[RecordType] | None = Field(None, max_length=10)
    changed_only: bool = False  # answers that say the same as the one before them are left out
    min_interval_s: float | None = Field(None, gt=0, le=86_400)  # of stream time, between answers of one pair
    since: int | None = Field(None, ge=0, le=MAX_SEQ)
    epoch: Annotated[str, Field(max_length=64)] | None = None


class Ping(_Incoming):
    """Answered by `pong` with the same `id`."""

    type: Literal["ping"] = "ping"
    id: Annotated[str, Field(max_length=64)] | None = None


_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
_RequestId = Annotated[str, Field(max_length=64)]


class _Target(_Incoming):
    """One question or one source."""

    id: _RequestId | None = None
    question: _Name | None = None
    source: _Name | None = None

    @model_validator(mode="after")
    def _one(self) -> _Target:
        if (self.question is None) == (self.source is None):
            raise ValueError("name a question or a source, one of both")
        return self


class List(_Incoming):
    """Which questions and sources there are: answered by `reply` with both."""

    type: Literal["list"] = "list"
    id: _RequestId | None = None


class Ask(_Incoming):
    """Ask a standing question from now on."""

    type: Literal["ask"] = "ask"
    id: _RequestId | None = None
    question: _Name
    settings: QuestionConfig


class Add(_Incoming):
    """Watch a source from now on."""

    type: Literal["add"] = "add"
    id: _RequestId | None = None
    source: _Name
    settings: SourceConfig


class Update(_Target):
    """Put other settings in the place of a question's or a source's."""

    type: Literal["update"] = "update"
    settings: dict[str, Any]  # of a question or a source; checked by whoever handles it


class Pause(_Target):
    """Do not ask it, or do not read it, until `resume`."""

    type: Literal["pause"] = "pause"


class Resume(_Target):
    """Go on with what was paused."""

    type: Literal["resume"] = "resume"


class Remove(_Target):
    """Take a question or a source out."""

    type: Literal["remove"] = "remove"


class AskOnce(_Incoming):
    """One question about one frame: the newest, or that of a moment of the recent past (at most one is given)."""

    type: Literal["ask_once"] = "ask_once"
    id: _RequestId | None = None
    source: _Name
    settings: QuestionConfig  # its `every`, `window` and the like have no effect
    t_s: float | None = Field(None, ge=0, le=1e9)  # stream time
    at: Annotated[str, Field(max_length=40)] | None = None  # ISO 8601 with a time zone
    ago_s: float | None = Field(None, ge=0, le=86_400)


Command: TypeAlias = List | Ask | Add | Update | Pause | Resume | Remove | AskOnce
Incoming: TypeAlias = Subscribe | Ping | Command
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
