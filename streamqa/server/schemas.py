"""What goes over the wire, for programs to read: an AsyncAPI 3 document and JSON Schemas, made from the models.

Objects in the schemas of what the server says are open: a newer server may add fields, which clients pass over. What
clients say is closed: a misspelt field is refused and not passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import Depends, FastAPI, HTTPException, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from streamqa.server import messages, protocol, record_messages
from streamqa.server.http_errors import refusals
from streamqa.server.visitor import need
from streamqa.version import __version__

Schema = dict[str, Any]
Direction = Literal["from_server", "from_client"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_MEDIA_TYPE = "application/schema+json"
_AT_COMPONENTS = "#/components/schemas/{model}"


class Spoken(NamedTuple):
    """A message: its name here, and what it is made of."""

    name: str
    model: type[BaseModel]
    mode: JsonSchemaMode  # what we send is described as it is serialised: nothing is left out
    direction: Direction

    @property
    def title(self) -> str:
        """The model's name in the schemas."""
        return self.model.__name__


def _type_of(model: type[BaseModel]) -> str:
    return str(model.model_fields["type"].default)


_RECORDS: Mapping[str, type[BaseModel]] = {
    "answer": record_messages.AnswerRecord,
    "alert": record_messages.AlertRecord,
    "source": record_messages.SourceRecord,
    "change": record_messages.ChangeRecord,
    "error_record": record_messages.ErrorRecord,
    "gap_record": record_messages.GapRecord,
}
_SAID: tuple[type[BaseModel], ...] = (
    messages.Hello, messages.Gap, messages.Heartbeat, messages.Error, messages.Reply, messages.Pong,
)  # fmt: skip
_HEARD: tuple[type[BaseModel], ...] = (
    protocol.Subscribe, protocol.Ping, protocol.List, protocol.Ask, protocol.Add, protocol.Update, protocol.Pause,
    protocol.Resume, protocol.Remove, protocol.AskOnce,
)  # fmt: skip
# Records are not made from their models, so a field with a default may be absent.
SPOKEN: tuple[Spoken, ...] = (
    *(Spoken(name, model, "validation", "from_server") for name, model in _RECORDS.items()),
    *(Spoken(_type_of(model), model, "serialization", "from_server") for model in _SAID),
    *(Spoken(_type_of(model), model, "validation", "from_client") for model in _HEARD),
)
_STREAMED = ("hello", "gap", *_RECORDS)
_NAMES = ("from_server", "from_client", *(spoken.name for spoken in SPOKEN))
_Name = Annotated[str, Path(json_schema_extra={"enum": [*_NAMES]})]


@cache
def schema(name: str) -> Schema:
    """The JSON Schema of one message, or of any message `from_server` or `from_client`. Raises `KeyError`."""
    named = {spoken.name: spoken for spoken in SPOKEN}
    if name in ("from_server", "from_client"):
        wanted = [spoken for spoken in SPOKEN if spoken.direction == name]
    else:
        wanted = [named[name]]
    definitions = _definitions(tuple(wanted), "#/$defs/{model}")
    references = [{"$ref": f"#/$defs/{spoken.title}"} for spoken in wanted]
    body = {"anyOf": references} if len(references) > 1 else references[0]
    return {"$schema": DIALECT, "title": name, **body, "$defs": definitions}


@cache
def _definitions(spoken: tuple[Spoken, ...], template: str) -> Schema:
    """Every model that these are made of, by its name; those of the server open."""
    found: Schema = {}
    for direction in ("from_client", "from_server"):
        models = [(one.model, one.mode) for one in spoken if one.direction == direction]
        _, made = models_json_schema(models, ref_template=template)
        definitions = made.get("$defs", {})
        found |= _opened(definitions) if direction == "from_server" else definitions
    return found


def _opened(value: Any) -> Any:
    """A schema whose objects may hold more than it says."""
    if isinstance(value, list):
        return [_opened(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key: _opened(item)
        for key, item in value.items()
        if not (key == "additionalProperties" and item is False)
    }


def asyncapi(host: str, is_tls: bool) -> Schema:
    """The AsyncAPI 3 document of the server at `host`."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "streamqa",
            "version": __version__,
            "description": (
                f"Standing questions of video, version {protocol.PROTOCOL_VERSION} of the protocol. The server says "
                "hello; the client subscribes; records follow in the order of `seq`. REST is at /openapi.json."
            ),
        },
        "defaultContentType": "application/json",
        "servers": {
            name: {
                "host": host,
                "protocol": f"{protocol_name}s" if is_tls else protocol_name,
                "security": [{"$ref": "#/components/securitySchemes/token"}],
            }
            for name, protocol_name in (("websocket", "ws"), ("http", "http"))
        },
        "channels": {
            "records": {
                "address": "/ws",
                "title": "The websocket",
                "servers": [{"$ref": "#/servers/websocket"}],
                "messages": {one.name: {"$ref": f"#/components/messages/{one.name}"} for one in SPOKEN},
            },
            "events": {
                "address": "/events",
                "title": "Server-sent events: each message is the data of an event that has its type as name",
                "servers": [{"$ref": "#/servers/http"}],
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _STREAMED},
            },
        },
        "operations": _operations(),
        "components": {
            "schemas": _definitions(SPOKEN, _AT_COMPONENTS),
            "messages": {one.name: _message(one) for one in SPOKEN},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "needed where the server has tokens; browsers may offer it as a subprotocol",
                }
            },
        },
    }


def _message(spoken: Spoken) -> Schema:
    summary = (spoken.model.__doc__ or spoken.name).strip().partition("\n")[0]
    return {
        "name": spoken.name,
        "summary": summary,
        "payload": {"$ref": _AT_COMPONENTS.format(model=spoken.title)},
    }


def _operations() -> Schema:
    """As the server does them: it sends what the client hears."""
    channel = {"$ref": "#/channels/records"}

    def of(*names: str, at: str = "records") -> list[Schema]:
        return [{"$ref": f"#/channels/{at}/messages/{name}"} for name in names]

    operations: Schema = {
        "say": {
            "action": "send",
            "channel": channel,
            "summary": "What a client hears, asked or not.",
            "messages": of(*(one.name for one in SPOKEN if one.direction == "from_server")),
        },
        "stream": {
            "action": "send",
            "channel": {"$ref": "#/channels/events"},
            "summary": "What comes after `Last-Event-ID` (epoch:seq), after `since`, or from now on.",
            "messages": of(*_STREAMED, at="events"),
        },
    }
    for one in SPOKEN:
        if one.direction == "from_client":
            operations[one.name] = {
                "action": "receive",
                "channel": channel,
                "summary": (one.model.__doc__ or "").strip().partition("\n")[0],
                "messages": of(one.name),
            }
            if one.name != "subscribe":
                answers = of("pong" if one.name == "ping" else "reply", "error")
                operations[one.name]["reply"] = {"channel": channel, "messages": answers}
    return operations


def add_schemas(app: FastAPI) -> None:
    """`/asyncapi.json` and `/schemas/{name}.json`."""

    @app.get("/asyncapi.json", dependencies=[Depends(need("read"))])
    def document(request: Request) -> dict[str, Any]:
        """What goes over the websocket, as AsyncAPI 3."""
        return asyncapi(request.headers.get("host", ""), request.url.scheme == "https")

    @app.get(
        "/schemas/{name}.json",
        dependencies=[Depends(need("read"))],
        response_class=Response,
        responses={200: {"content": {_MEDIA_TYPE: {"schema": {"type": "object"}}}}, **refusals(404)},
    )
    def one(name: _Name) -> JSONResponse:
        """The JSON Schema of a message, or of all `from_server` or `from_client`."""
        try:
            found = schema(name)
        except KeyError:
            raise HTTPException(404, f"no such message; there are: {', '.join(_NAMES)}") from None
        return JSONResponse(found, media_type=_MEDIA_TYPE)
