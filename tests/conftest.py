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
    """Whatever a server of this process says over a websocket, in whichever test, is as published."""
    if "streamqa.server.subscriber" not in sys.modules:
        yield None
        return
    from streamqa.server import protocol, subscriber
    from tests.wire import Heard, Wire

    wire, plain = Wire(), subscriber.Frame

    def checked(opcode: Any, data: bytes) -> Any:
        wire.from_server(data)
        return plain(opcode, data)

    monkeypatch.setattr(subscriber, "Frame", checked)
    monkeypatch.setattr(protocol, "_INCOMING", Heard(protocol._INCOMING, wire.from_client))
    yield wire
    assert not wire.wrong, "\n".join(["said over the websocket, and not as published:", *wire.wrong[:10]])
