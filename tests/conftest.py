"""What holds for every test."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

# How long an example takes depends on what else the machine does; timings are benches, never tests.
settings.register_profile("streamqa", deadline=None)
settings.load_profile("streamqa")


@pytest.fixture(autouse=True)
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Whatever a server of this process says over a websocket or as events, in whichever test, is as published."""
    if "streamqa.server.subscriber" not in sys.modules:
        yield None
        return
    from streamqa.server import events, protocol, subscriber
    from tests.wire import Heard, Wire

    wire, plain, plain_event = Wire(), subscriber.Frame, events.event

    def checked(opcode: Any, data: bytes) -> Any:
        wire.from_server(data)
        return plain(opcode, data)

    def checked_event(place: str | None, kind: str, text: str) -> bytes:
        wire.from_server(text)
        return plain_event(place, kind, text)

    monkeypatch.setattr(events, "event", checked_event)
    monkeypatch.setattr(subscriber, "Frame", checked)
    monkeypatch.setattr(protocol, "_INCOMING", Heard(protocol._INCOMING, wire.from_client))
    yield wire
    assert not wire.wrong, "\n".join(["said over the wire, and not as published:", *wire.wrong[:10]])
