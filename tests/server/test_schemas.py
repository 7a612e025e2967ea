"""The published protocol: AsyncAPI 3 and JSON Schemas, and the check that all tests are held against."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from streamqa.server.schemas import SPOKEN, asyncapi, schema
from tests.wire import Wire, name_of

AT = "2026-11-22T02:22:34.120Z"
DOCUMENT = asyncapi("127.0.0.1:8765", is_tls=False)
# What AsyncAPI 3.0.0 says of the objects that we use: the fields that must be there, and those that may.
OBJECTS = {
    "root": ({"asyncapi", "info"}, {"id", "servers", "defaultContentType", "channels", "operations", "components"}),
    "info": ({"title", "version"}, {"description", "termsOfService", "contact", "license", "tags", "externalDocs"}),
    "server": ({"host", "protocol"}, {"pathname", "protocolVersion", "title", "summary", "description", "security"}),
    "channel": (set(), {"address", "messages", "title", "summary", "description", "servers", "parameters"}),
    "operation": ({"action", "channel"}, {"title", "summary", "description", "security", "messages", "reply"}),
    "reply": (set(), {"address", "channel", "messages"}),
    "message": (set(), {"headers", "payload", "name", "title", "summary", "description", "contentType"}),
    "components": (set(), {"schemas", "servers", "channels", "operations", "messages", "securitySchemes", "replies"}),
}  # fmt: skip


def at(reference: dict[str, str]) -> Any:
    """What a `$ref` of the document leads to."""
    assert set(reference) == {"$ref"}
    assert reference["$ref"].startswith("#/")
    value: Any = DOCUMENT
    for part in reference["$ref"][2:].split("/"):
        value = value[part]
    return value


def references(value: Any) -> Iterator[dict[str, str]]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield {"$ref": value["$ref"]}
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def check(kind: str, value: dict[str, Any]) -> None:
    needed, allowed = OBJECTS[kind]
    assert needed <= set(value) <= needed | allowed, (kind, set(value))


def test_the_document_has_the_structure_of_asyncapi_3() -> None:
    check("root", DOCUMENT)
    assert DOCUMENT["asyncapi"] == "3.0.0"
    check("info", DOCUMENT["info"])
    check("components", DOCUMENT["components"])
    for server in DOCUMENT["servers"].values():
        check("server", server)
        assert all(at(one)["type"] == "http" for one in server["security"])
    for message in DOCUMENT["components"]["messages"].values():
        check("message", message)
    for channel in DOCUMENT["channels"].values():
        check("channel", channel)
        assert all(at(server) in DOCUMENT["servers"].values() for server in channel["servers"])
        assert all(at(message) for message in channel["messages"].values())
    for found in references(DOCUMENT):
        assert at(found)


def test_operations_speak_of_messages_of_their_channel() -> None:
    for name, operation in DOCUMENT["operations"].items():
        check("operation", operation)
        assert operation["action"] == ("send" if name in ("say", "stream") else "receive")
        channel = operation["channel"]["$ref"]
        spoken = [*operation["messages"]]
        if "reply" in operation:
            check("reply", operation["reply"])
            assert operation["reply"]["channel"] == operation["channel"]
            spoken += operation["reply"]["messages"]
        for message in spoken:
            assert message["$ref"].startswith(f"{channel}/messages/")
            assert at(at(message))["name"] == message["$ref"].rpartition("/")[2]


def test_every_message_is_published_once() -> None:
    names = [one.name for one in SPOKEN]
    assert len(names) == len(set(names)) == len({one.title for one in SPOKEN})
    assert set(DOCUMENT["components"]["messages"]) == set(names)
    said = {message["$ref"].rpartition("/")[2] for message in DOCUMENT["operations"]["say"]["messages"]}
    assert said == {one.name for one in SPOKEN if one.direction == "from_server"}
    assert set(DOCUMENT["operations"]) - {"say", "stream"} == set(names) - said


def test_schemas_are_schemas_by_the_dialect_they_name_and_by_that_of_asyncapi() -> None:
    for one in SPOKEN:
        Draft202012Validator.check_schema(schema(one.name))
    for definition in DOCUMENT["components"]["schemas"].values():
        Draft7Validator.check_schema(definition)
        assert "prefixItems" not in json.dumps(definition)  # not in draft 7


def test_what_the_server_says_is_open_and_what_clients_say_closed() -> None:
    pong = {"type": "pong", "id": None, "at": AT}
    server, client = (Draft202012Validator(schema(name)) for name in ("from_server", "from_client"))
    assert server.is_valid(pong | {"later": 1})
    assert not server.is_valid({"type": "pong"})
    assert client.is_valid({"type": "subscribe", "since": 0, "changed_only": True})
    assert not client.is_valid({"type": "subscribe", "sinse": 0})


def test_they_are_served(get: Any) -> None:
    document = get("/asyncapi.json")
    assert document.json()["servers"]["websocket"]["host"].startswith("127.0.0.1:")
    assert document.json()["channels"] == DOCUMENT["channels"]
    answer = get("/schemas/answer.json")
    assert answer.headers["content-type"] == "application/schema+json"
    assert answer.json() == schema("answer")
    missing = get("/schemas/nonsense.json")
    assert missing.status_code == 404
    assert "from_server, from_client, answer" in missing.json()["detail"]


@pytest.mark.parametrize(("message", "found"), [
    ({"type": "pong", "id": None, "at": AT}, 0),
    ({"type": "pong", "id": None, "at": AT, "later": 1}, 1),  # not in what we publish
    ({"type": "pong", "id": None, "at": "now"}, 3),
    ({"type": "news"}, 1),
    ({"type": "error", "seq": 1, "code": "x", "message": "y", "at": AT}, 0),
    ({"type": "error", "id": None, "code": "x", "message": "y"}, 0),
])  # fmt: skip
def test_the_check_of_all_tests_finds_what_is_wrong(message: dict[str, Any], found: int) -> None:
    wire = Wire()
    wire.from_server(json.dumps(message))
    assert len(wire.wrong) == found, wire.wrong


def test_records_are_told_from_what_has_their_type() -> None:
    assert name_of({"type": "gap", "seq": None}) == "gap_record"
    assert name_of({"type": "gap"}) == "gap"
    assert name_of({"type": "answer", "seq": 1}) == "answer"


def test_every_record_that_is_described_is_published() -> None:
    from typing import get_args

    from streamqa.server import record_messages, schemas

    assert set(get_args(record_messages.Record)) == set(schemas._RECORDS.values())
