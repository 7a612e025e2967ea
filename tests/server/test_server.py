"""One port: binding, unfinished requests, the hand-over on raw sockets, stopping."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from contextlib import suppress
from typing import Any

import pytest

from streamqa.server.listen import listen
from streamqa.server.server import Server

UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
)


async def exchange(port: int, data: str, until: bytes = b"") -> bytes:
    """Everything the server says to `data`, until `until` is in it or it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data.encode("latin-1"))
        answer = b""
        async with asyncio.timeout(10):
            while not until or until not in answer:
                chunk = await reader.read(65536)
                if not chunk:
                    break
                answer += chunk
        return answer
    except ConnectionError:
        return answer
    finally:
        writer.transport.abort()


def test_the_address_that_people_open(site: Any) -> None:
    async def scenario() -> None:
        async with site.running():
            assert site.server.url == f"http://127.0.0.1:{site.server.port}/"
            everywhere = Server(site.context(), listen("0.0.0.0", 0))
            assert everywhere.url == f"http://127.0.0.1:{everywhere.port}/"
            await everywhere.stop()
            await everywhere.stop()

    asyncio.run(scenario())


def test_signals_are_left_alone(site: Any) -> None:
    async def scenario() -> None:
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        async with site.running():
            assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before

    asyncio.run(scenario())


def test_the_port_is_free_again_after_stopping(site: Any) -> None:
    async def scenario() -> None:
        async with site.running():
            site.port = site.server.port
        async with site.running():
            assert site.server.port == site.port

    asyncio.run(scenario())


@pytest.mark.parametrize("begun", [
    "",
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nabc",
])  # fmt: skip
def test_a_request_that_is_never_finished_is_cut_off(make_site: Any, begun: str) -> None:
    site = make_site(request_s=0.2)

    async def scenario() -> None:
        async with site.running():
            start = time.monotonic()
            await exchange(site.server.port, begun)
            assert time.monotonic() - start < 5

    asyncio.run(scenario())


def test_the_time_for_a_request_is_not_that_for_a_websocket_or_for_keeping_alive(
    make_site: Any, join: Any
) -> None:
    site = make_site(request_s=0.2)

    async def scenario() -> None:
        async with site.running(), join(site) as peer:
            reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
            for _ in range(2):
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                async with asyncio.timeout(5):
                    assert (await reader.readuntil(b'{"ok":true}')).startswith(b"HTTP/1.1 200")
                await asyncio.sleep(0.4)
            writer.close()
            assert await peer.synced() == []

    asyncio.run(scenario())


UPGRADES = (
    ("/ws", "127.0.0.1", "", b"101"),
    ("/ws?x=1", "localhost:9", "", b"101"),
    ("/ws", "evil.example", "", b"403"),
    ("/ws", "127.0.0.1", "Host: evil.example\r\n", b"400"),
    ("/ws", "127.0.0.1", "Origin: http://127.0.0.1\r\nOrigin: http://evil.example\r\n", b"403"),
    ("/ws", "127.0.0.1", "Origin: http://evil.example\r\n", b"403"),
    ("/ws", "127.0.0.1", "Origin: null\r\n", b"403"),
    ("/ws", "127.0.0.1", "Origin: http://127.0.0.1\r\n", b"101"),
    ("/ws/", "127.0.0.1", "", b"404"),
    ("/", "127.0.0.1", "", b"404"),
    ("/api/info", "127.0.0.1", "", b"404"),
    ("/ws", "127.0.0.1", "X: " + "x" * 20_000 + "\r\n", b"431"),
)


def test_upgrades(site: Any) -> None:
    async def scenario() -> None:
        async with site.running():
            for path, host, more, status in UPGRADES:
                request = UPGRADE.format(path=path, host=host, more=more)
                answer = await exchange(site.server.port, request, b"\r\n\r\n")
                assert answer.split(b" ")[1] == status, (path, host, more[:60])
            body = await exchange(site.server.port, "GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert body.startswith(b"HTTP/1.1 200")

    asyncio.run(scenario())


def test_too_many_http_connections(make_site: Any) -> None:
    site = make_site(connections=3)

    async def scenario() -> None:
        async with site.running():
            held = [await asyncio.open_connection("127.0.0.1", site.server.port) for _ in range(3)]
            answer = await exchange(
                site.server.port, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\r\n\r\n"
            )
            assert answer.split(b" ")[1] == b"503"
            held += [await asyncio.open_connection("127.0.0.1", site.server.port) for _ in range(5)]
            async with asyncio.timeout(5):
                assert b"" in [await reader.read(1) for reader, _ in held[-1:]]
            for _, writer in held:
                writer.transport.abort()

    asyncio.run(scenario())


def own_address() -> str:
    """An address of this machine in a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine is in no network")
        return str(probe.getsockname()[0])


def test_one_address_does_not_take_all_the_room(make_site: Any) -> None:
    address, site = own_address(), make_site(connections=8)
    site.host = "0.0.0.0"

    async def scenario() -> None:
        async with site.running(), asyncio.timeout(10):
            held = [await asyncio.open_connection(address, site.server.port) for _ in range(4)]
            for _ in range(3):
                reader, writer = await asyncio.open_connection(address, site.server.port)
                with suppress(ConnectionError):
                    assert await reader.read(1) == b""
                writer.close()
            request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
            assert b" 200 " in await exchange(site.server.port, request, b"\r\n\r\n")
            for _, writer in held:
                writer.transport.abort()

    asyncio.run(scenario())


def test_stopping_with_clients_in_every_state(site: Any, join: Any) -> None:
    async def scenario() -> None:
        async with site.running():
            port = site.server.port
            half = socket.create_connection(("127.0.0.1", port))
            half.sendall(b"GET / HTT")
            silent = socket.create_connection(("127.0.0.1", port))
            async with join(site) as peer:
                await peer.synced()
                start = time.monotonic()
                await site.server.stop()
                assert time.monotonic() - start < 3
            half.close()
            silent.close()

    asyncio.run(scenario())
