import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamqa.bench.subscriber import Seen, leave, main, seen, watch
from streamqa.client import Answer as Heard
from streamqa.client import Gap, Hello, Message, Source
from streamqa.client_messages import read_message
from streamqa.errors import ConfigError
from streamqa.payload import record_payload
from streamqa.records import Answer
from streamqa.testing import make_frame
from streamqa.types import Decision, Reading, utc_now

NOW = utc_now()


def message(**fields: Any) -> Heard:
    frame = make_frame("cam", t_s=1.5)
    reading = Reading("yes", 0.9, "ok")
    decision = Decision("yes", 0.9, "ok", "", frame.t_ns, 1, 1)
    answer = Answer(
        source="cam", question="q", kind="text", decision=decision, reading=reading, frame=3, t_ns=frame.t_ns,
        captured_at=NOW, clock="arrival", answered_at=NOW, skipped=2, changed=True,
        queue_ms=1.0, model_ms=20.0, total_ms=22.5, model="fixed@1",
    )  # fmt: skip
    heard = read_message(record_payload(answer) | {"seq": 7} | fields)
    assert isinstance(heard, Heard)
    return heard


def test_an_answer_is_noted_with_the_time_it_was_parsed() -> None:
    noted = seen(message(), 12345)
    answered_ns = int(NOW.timestamp() * 1000) * 1_000_000
    assert noted == Seen(12345, "cam", "q", 1_500_000_000, 2, answered_ns, 22.5, "ok")


def test_everything_is_noted_until_the_server_goes() -> None:
    async def messages() -> AsyncIterator[Message]:
        yield Hello(1, "e", 1, 7, [], [], None, NOW)
        yield Source(6, "cam", "live", None, NOW, None)
        yield message()
        yield Gap(8, 9, "slow")
        yield message()
        leave("no connection")

    notes = asyncio.run(watch(messages()))
    assert notes["hello_ns"] > 0
    assert notes["missed"] == 2
    assert len(notes["answers"]) == 2
    assert notes["answers"][0].seen_ns < notes["answers"][1].seen_ns


def test_an_address_that_is_none_is_told() -> None:
    with pytest.raises(ConfigError, match="no address"):
        main(["ftp://somewhere"])
