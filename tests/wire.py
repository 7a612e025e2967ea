"""Holds every message that goes over any websocket in any test against what is published of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from pydantic import ValidationError

from streamqa.server import schemas

# By the model each message is checked; by the JSON Schema, which is made from it and a hundred times slower, the
# first of each kind in a test, and then now and then.
_ALL_OF_FIRST, _THEN_EACH = 20, 101


def name_of(message: dict[str, Any]) -> str:
    """Which of the messages of a server this is."""
    kind = str(message.get("type"))
    return f"{kind}_record" if kind in ("error", "gap") and "seq" in message else kind


class Wire:
    """What was found wrong, in the order in which it was said."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.said: Counter[str] = Counter()

    def from_server(self, data: bytes | str) -> None:
        """A server sends this text."""
        message = json.loads(data)
        name = name_of(message)
        spoken = _spoken().get(("from_server", name))
        if spoken is None:
            self._note(message, "no such message")
            return
        try:
            spoken.model.model_validate_json(data, strict=True)
        except ValidationError as error:
            self._note(message, str(error))
        self._check_schema("from_server", name, message)

    def from_client(self, data: str) -> None:
        """A server has understood this text."""
        message = json.loads(data)
        self._check_schema("from_client", message["type"], message)

    def _check_schema(self, direction: str, name: str, message: Any) -> None:
        self.said[name] += 1
        if self.said[name] > _ALL_OF_FIRST and self.said[name] % _THEN_EACH:
            return
        for asked in (direction, name):
            for error in _validator(asked).iter_errors(message):
                self._note(message, f"schema {asked}: {error.message[:300]}")

    def _note(self, message: Any, why: str) -> None:
        self.wrong.append(f"{str(message)[:500]}: {why}")


class Heard:
    """In the place of what reads clients' messages: also holds what it understands against the schemas."""

    def __init__(self, inner: Any, check: Callable[[str], None]) -> None:
        self._inner, self._check = inner, check

    def validate_json(self, data: str) -> Any:
        """As pydantic's."""
        read = self._inner.validate_json(data)
        self._check(data)
        return read


@cache
def _spoken() -> dict[tuple[str, str], schemas.Spoken]:
    return {(one.direction, one.name): one for one in schemas.SPOKEN}


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(schemas.schema(name))
