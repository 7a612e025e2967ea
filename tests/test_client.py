"""The subscriber library against a real server that goes away and comes back on the same log."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack, aclosing, closing
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from streamqa import client
from streamqa.client import (
    Error,
    Gap,
    Hello,
    Message,
    Place,
    Source,
    address,
    backoff_s,
    subscribe,
    subscribe_sync,
    websocket_url,
)
from streamqa.errors import ConfigError, ProtocolError
from streamqa.metrics import Metrics
from streamqa.payload import record_payload
from streamqa.records import Fault, SourceStatus
from streamqa.server.context import Limits, ServerContext
from streamqa.server.listen import listen
from streamqa.server.server import Server
from streamqa.sinks.base import Logged
from streamqa.sinks.log import AnswerLog
from streamqa.types import ModelInfo

MODEL = ModelInfo("fake", "1", "cpu", "float32", frozenset({"query"}))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_BACKOFF_S", (0.02, 0.1))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class Site:
    """A server on one log and one port, as often as it is started."""

    def __init__(self, path: Path, **limits: Any) -> None:
        self.path, self.limits, self.port = path, Limits(**limits), 0

    async def __aenter__(self) -> Site:
        self.log = AnswerLog(self.path)
        context = ServerContext(self.log, Metrics(), tuple, tuple, lambda: MODEL, lambda _: None, lambda: [])
        self.server = Server(context, listen("127.0.0.1", self.port), self.limits)
        await self.server.start()
        self.port = self.server.port
        return self

    async def __aexit__(self, *_: object) -> None:
        async with asyncio.timeout(6):
            await self.server.stop()
        self.log.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def publish(self, count: int, source: str = "gate") -> None:
        records = [SourceStatus(source, "live", str(n), datetime.now(UTC)) for n in range(count)]
        self.server.broadcaster.publish(self.log.append(records))


async def take_until(messages: Any, seq: int) -> list[Message]:
    taken: list[Message] = []
    async with asyncio.timeout(20):
        while not taken or taken[-1].raw.get("seq") != seq:
            taken.append(await anext(messages))
    return taken


def seqs(messages: list[Message]) -> list[int]:
    return [message.raw["seq"] for message in messages if "seq" in message.raw]


def test_everything_retained_then_live(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path / "a.db") as site:
            site.publish(5)
            async with aclosing(subscribe(site.url, since=0)) as messages:
                first = await take_until(messages, 5)
                assert isinstance(first[0], Hello)
                assert seqs(first) == [1, 2, 3, 4, 5]
                site.publish(2)
                assert seqs(await take_until(messages, 7)) == [6, 7]

    asyncio.run(scenario())


def test_an_error_record_is_given_and_ends_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path / "answers.db") as site:
            fault = Fault("model_worker", "it died", datetime.now(UTC))
            site.server.broadcaster.publish(site.log.append([fault]))
            site.publish(1)
            async with aclosing(subscribe(site.url, sources=["gate"], since=0)) as messages:
                seen = await take_until(messages, 2)
        _, error, source = seen
        assert isinstance(error, Error)
        assert error.is_record
        assert error.code == "model_worker"
        assert isinstance(source, Source)

    asyncio.run(scenario())


def test_only_what_comes_from_now_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path / "a.db") as site:
            site.publish(5)
            async with aclosing(subscribe(site.url, sources=["desk"])) as messages:
                assert (await anext(messages)).raw["last_seq"] == 5
                site.publish(2)
                site.publish(1, "desk")
                assert seqs(await take_until(messages, 8)) == [8]

    asyncio.run(scenario())


def test_records_that_no_log_keeps_pass_through_and_leave_our_place_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        site = Site(tmp_path / "a.db")
        async with site, aclosing(subscribe(site.url, since=0)) as messages:
            site.publish(2)
            await take_until(messages, 2)
            status = SourceStatus("gate", "live", "unkept", datetime.now(UTC))
            unkept = Logged(None, record_payload(status) | {"seq": None, "durable": False})
            site.server.broadcaster.publish([unkept])
            async with asyncio.timeout(10):
                heard = await anext(messages)
            assert isinstance(heard, Source)
            assert (heard.reason, heard.seq, heard.durable) == ("unkept", None, False)
            await site.server.stop()  # and from where it was, on the same log
            site.log.close()
            async with site:
                site.publish(1)
                assert seqs(await take_until(messages, 3)) == [3]

    asyncio.run(scenario())


def test_restarts_of_the_server_lose_and_double_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        site = Site(tmp_path / "a.db")
        async with site:
            site.publish(3)
        messages = subscribe(site.url, since=0)
        got: list[int] = []
        async with aclosing(messages):
            for round_ in range(3):
                async with site:
                    site.publish(10)
                    heard = await take_until(messages, 13 + 20 * round_)
                    got += seqs(heard)
                    site.publish(10)  # some of it on the wire when the server stops, some only in the log
                    assert not [message for message in heard if message.type == "gap"]
            async with site:
                got += seqs(await take_until(messages, 63))
        assert got == list(range(1, 64))

    asyncio.run(scenario())


def test_a_place_moves_with_everything_that_has_a_number_and_with_nothing_else() -> None:
    place = Place(None, None).met("e", 3)
    assert place == Place(3, "e")
    assert Place(2, None).met("e", 3) == Place(2, "e")
    assert Place(2, "old").met("e", 3) == Place(2, "old")  # the server answers with a gap
    for raw, since in [
        ({"type": "heartbeat", "last_seq": 90}, 90),  # a quiet, filtered subscriber
        ({"type": "gap", "from": 91, "to": 95, "reason": "slow"}, 95),
        ({"type": "source", "seq": 97}, 97),
        ({"type": "answer", "seq": None, "durable": False}, 97),
        ({"type": "gap", "from": None, "to": None, "reason": "log_full", "count": 2, "seq": 98}, 98),
        ({"type": "alert", "seq": 99}, 99),  # not known here
        ({"type": "news"}, 99),
        ({"type": "error", "code": "internal", "message": ""}, 99),
    ]:
        place = place.after(raw, "e")
        assert place == Place(since, "e"), raw
    assert place.after({"type": "gap", "from": None, "to": None, "reason": "new_log"}, "f") == Place(0, "f")


def test_a_replaced_log_is_announced_and_given_whole(tmp_path: Path) -> None:
    async def scenario() -> None:
        site = Site(tmp_path / "a.db")
        async with AsyncExitStack() as stack:
            async with site:
                site.publish(3)
                messages = subscribe(site.url, since=0)
                await stack.enter_async_context(aclosing(messages))
                await take_until(messages, 3)
            site.path = tmp_path / "b.db"
            async with site:
                site.publish(5)
                heard = await take_until(messages, 5)
                assert isinstance(heard[0], Hello)
                assert heard[1] == Gap(None, None, "new_log")
                assert seqs(heard) == [1, 2, 3, 4, 5]
            async with site:  # and from there on as ever
                site.publish(1)
                heard = await take_until(messages, 6)
                assert [message.type for message in heard] == ["hello", "source"]

    asyncio.run(scenario())


def test_it_waits_for_a_server_that_is_not_there_yet(tmp_path: Path) -> None:
    async def scenario() -> None:
        site = Site(tmp_path / "a.db")
        async with site:
            pass
        messages = subscribe(site.url, since=0)
        async with aclosing(messages):
            waiting = asyncio.create_task(anext(messages))
            await asyncio.sleep(0.2)
            assert not waiting.done()
            async with site, asyncio.timeout(10):
                assert (await waiting).type == "hello"

    asyncio.run(scenario())


def test_what_the_server_refuses_for_good_is_an_error(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path / "a.db") as site:
            with pytest.raises(ProtocolError, match="404"):
                await anext(subscribe(site.url + "elsewhere"))
            with pytest.raises(ProtocolError, match="types") as caught:
                await take_until(subscribe(site.url, types=["nonsense"]), 1)
            assert caught.value.code == "bad_message"

    asyncio.run(scenario())


def test_without_asyncio(tmp_path: Path) -> None:
    ready, stop = Event(), Event()
    site = Site(tmp_path / "a.db")

    async def main() -> None:
        async with site:
            site.publish(3)
            ready.set()
            await asyncio.to_thread(stop.wait, 30)

    server = Thread(target=lambda: asyncio.run(main()))
    server.start()
    assert ready.wait(10)
    with closing(subscribe_sync(site.url, since=1)) as messages:
        assert next(messages).type == "hello"
        assert [next(messages).raw["seq"] for _ in range(2)] == [2, 3]
    stop.set()
    server.join(10)


@pytest.mark.parametrize(("url", "expected"), [
    ("http://127.0.0.1:8765", "ws://127.0.0.1:8765/ws"),
    ("http://127.0.0.1:8765/", "ws://127.0.0.1:8765/ws"),
    ("127.0.0.1:8765", "ws://127.0.0.1:8765/ws"),
    ("localhost", "ws://localhost/ws"),
    ("https://cameras.example/site/", "wss://cameras.example/site/ws"),
    ("ws://[::1]:1/ws", "ws://[::1]:1/ws"),
])  # fmt: skip
def test_addresses(url: str, expected: str) -> None:
    assert websocket_url(url) == expected


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "http://a:b", "http:///ws"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ConfigError, match="no address of a streamqa server"):
        subscribe(url)


def test_waits_grow_and_end() -> None:
    first, longest = client._BACKOFF_S
    assert 0.5 * first <= backoff_s(1) <= first
    assert 0.5 * longest <= backoff_s(10**6) <= longest


@pytest.mark.parametrize(("url", "more"), [
    ("http://127.0.0.1/?token=0123456789abcdef", {}),
    ("http://127.0.0.1/#0123456789abcdef", {}),
    ("http://127.0.0.1", {"token": ""}),
    ("http://127.0.0.1", {"token": "0123456789abcdef\r\nHost: x"}),
    ("http://me:0123456789abcdef@127.0.0.1", {"token": "0123456789abcdef"}),
    ("http://127.0.0.1", {"tls": "ca.pem"}),
    ("https://127.0.0.1", {"tls": "/nowhere/ca.pem"}),
    ("https://127.0.0.1", {"tls": __file__}),
])  # fmt: skip
def test_what_cannot_be_is_told_at_once_and_without_secrets(url: str, more: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        subscribe(url, **more)
    assert "0123456789abcdef" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_token_is_never_shown() -> None:
    where = address("https://cameras.example", "0123456789abcdef")
    assert where.headers == {"Authorization": "Bearer 0123456789abcdef"}
    assert "0123456789abcdef" not in repr(where) + where.shown


def test_it_loads_nothing_heavy() -> None:
    heavy = (
        "{'torch', 'cv2', 'av', 'transformers', 'fastapi', 'pydantic', 'uvicorn', 'numpy', 'PIL', 'typer'}"
    )
    script = (
        f"import sys; import streamqa.client; found = {heavy} & set(sys.modules); sys.exit(str(found or ''))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.stderr.strip() == b""
