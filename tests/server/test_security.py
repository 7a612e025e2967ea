"""Attacks on a server that is bound to a public address, with tokens: what each of them gets is nothing.

`test_browser` has the same from inside of a real browser.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from streamqa.server.auth import Keyring
from streamqa.server.locks import Locks
from streamqa.service_settings import TokenConfig

TOKENS = {"read": "read-token-0123456789", "ask": "ask-token-0123456789", "admin": "admin-token-0123456789"}
SECRET = "a-wrong-token-that-somebody-sent"


@pytest.fixture(autouse=True)
def locked(site: Any) -> None:
    site.host = "0.0.0.0"
    site.locks = Locks(Keyring([TokenConfig(name=s, scope=s, token=t) for s, t in TOKENS.items()]))


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def attempt(site: Any, path: str = "", **options: Any) -> tuple[int, str]:
    """What a websocket handshake gets: 101 and the first message, or the refusal."""
    try:
        async with connect(f"{site.ws}{path}", proxy=None, **options) as connection:
            return 101, str(await asyncio.wait_for(connection.recv(), 5))
    except InvalidStatus as refusal:
        return refusal.response.status_code, (refusal.response.body or b"").decode()


def test_websockets_get_in_with_a_token_and_in_no_other_way(site: Any) -> None:
    good = TOKENS["read"]
    own = "http://127.0.0.1:{port}"

    async def scenario() -> None:
        async with site.running():
            page = own.format(port=site.server.port)
            for status, options in (
                (101, {"additional_headers": bearer(good)}),
                (101, {"additional_headers": bearer(good), "origin": page}),
                (101, {"subprotocols": ["streamqa", f"bearer.{good}"]}),
                (401, {}),
                (401, {"origin": page}),
                (401, {"subprotocols": ["streamqa"]}),
                (401, {"subprotocols": ["streamqa", f"bearer.{SECRET}"]}),
                (401, {"additional_headers": bearer(SECRET)}),
                (401, {"additional_headers": bearer(good[:-1])}),
                (401, {"additional_headers": {"cookie": f"streamqa_{site.server.port}={good}"}}),
                (403, {"additional_headers": bearer(good), "origin": "http://evil.example"}),
                (403, {"subprotocols": ["streamqa", f"bearer.{good}"], "origin": "null"}),
                (403, {"origin": f"http://127.0.0.1:{site.server.port + 1}"}),
                (400, {"path": f"?token={good}"}),
                (400, {"path": f"?access_token={good}", "additional_headers": bearer(good)}),
            ):
                found, text = await attempt(site, **options)
                assert found == status, options
                assert ("epoch" in text) == (status == 101)
                assert good not in text
                assert status == 101 or text.count("\n") == 1
            assert site.count("subscribers") == 0

    asyncio.run(scenario())


def test_the_token_among_the_subprotocols_is_not_sent_back(site: Any) -> None:
    async def scenario() -> None:
        async with site.running():
            offered = ["streamqa", f"bearer.{TOKENS['ask']}"]
            async with connect(site.ws, proxy=None, subprotocols=offered) as connection:
                assert connection.subprotocol == "streamqa"
                assert connection.response is not None
                assert TOKENS["ask"] not in str(connection.response.headers)
            only = [f"bearer.{TOKENS['ask']}"]
            async with connect(site.ws, proxy=None, subprotocols=only) as connection:
                assert connection.subprotocol is None
            async with connect(site.ws, proxy=None, additional_headers=bearer(TOKENS["ask"])) as connection:
                assert connection.subprotocol is None

    asyncio.run(scenario())


def test_no_log_line_of_any_level_holds_a_token(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    for name in ("websockets.client", "httpcore2", "httpx2"):  # the clients of this test say what they send
        logging.getLogger(name).setLevel(logging.WARNING)
    sent = [*TOKENS.values(), SECRET]

    async def scenario() -> None:
        async with site.running():
            port = site.server.port
            cookie = ""
            async with httpx2.AsyncClient(base_url=site.http, trust_env=False) as client:
                for token in sent:
                    for path in (
                        "/api/info",
                        "/metrics",
                        f"/api/info?token={token}",
                        "/frames/1.jpg",
                        "/nowhere",
                    ):
                        await client.get(path, headers=bearer(token))
                    await client.post("/login", json={"token": token})
                    cookie = client.cookies.get(f"streamqa_{port}", cookie)
                    client.cookies.clear()
                told = (await client.get("/metrics", headers=bearer(TOKENS["read"]))).text
                told += (await client.get("/api/info", headers=bearer(TOKENS["read"]))).text
            for token in sent:
                await attempt(site, additional_headers=bearer(token))
                await attempt(site, subprotocols=["streamqa", f"bearer.{token}"])
                await attempt(site, f"?token={token}")
            status, text = await attempt(site, additional_headers={"cookie": f"streamqa_{port}={cookie}"})
            assert status == 101
            told += text + "\n".join(record.getMessage() for record in caplog.records)
            assert "connection open" in told  # the log was on
            assert [secret for secret in (*sent, cookie) if secret in told] == []

    asyncio.run(scenario())


PATHS = (
    "/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/%2e%2e/types.py", "/static//etc/passwd",
    "/static/%2fetc%2fpasswd", "/static/..%5c..%5ctypes.py", "/static/%00", "/static/login.js%00.css",
    "/frames/../answers.db", "/frames/..%2fanswers.db", "/frames/%2e%2e%2fanswers.db",
    "/frames/1.jpg/../../answers.db", "/frames/-1.jpg", "/frames/1e3.jpg", "/frames/%00.jpg",
    "/frames/..%2f..%2f..%2fetc%2fpasswd%00.jpg",
    "/frames/99999999999999999999999999.jpg", "/sources/..%2f..%2fetc/latest.jpg", "/sources/%00/latest.jpg",
)  # fmt: skip


def test_no_path_leads_out_of_what_is_served(site: Any) -> None:
    async def scenario() -> None:
        async with site.running():
            for path in PATHS:
                for headers in ({}, bearer(TOKENS["read"])):
                    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                    request += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
                    writer.write(f"{request}\r\n".encode())
                    async with asyncio.timeout(5):
                        answer = await reader.read()
                    writer.close()
                    status = int(answer.split(b" ")[1])
                    assert status in ((404, 422, 400) if headers else (401,)), (path, status)
                    assert b"root:" not in answer
                    assert b"import" not in answer
                    assert b"SQLite" not in answer

    asyncio.run(scenario())


async def hears(connection: ClientConnection) -> dict[str, Any]:
    heard: dict[str, Any] = json.loads(await asyncio.wait_for(connection.recv(), 5))
    return heard


async def huge_message(port: int) -> bytes:
    """What comes back for a message of 100 MB, as far as it can be sent; the end of it is the code of the close."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nAuthorization: Bearer "
        + TOKENS["read"].encode()
        + b"\r\n\r\n"
    )
    assert b"101" in await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\x81\xff" + (100_000_000).to_bytes(8) + b"\0\0\0\0" + b"x" * 100_000)
    heard = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(5):
            while b"\x03\xf1" not in heard and (chunk := await reader.read(65536)):
                heard += chunk
    writer.transport.abort()
    return heard[: heard.rfind(b"\x03\xf1") + 2]


def test_huge_messages_bodies_and_headers_are_refused_and_the_service_goes_on(site: Any, answer: Any) -> None:
    async def scenario() -> None:
        async with site.running():
            headers = bearer(TOKENS["read"])
            async with connect(site.ws, proxy=None, additional_headers=headers) as good:
                assert (await hears(good))["type"] == "hello"
                await good.send('{"type": "subscribe"}')
                assert (await huge_message(site.server.port))[-2:] == b"\x03\xf1"  # 1009, too big
                async with httpx2.AsyncClient(base_url=site.http, trust_env=False) as client:
                    with suppress(httpx2.TransportError):  # it may hang up before all is sent
                        response = await client.post("/login", content=b"x" * 100_000_000)
                        assert response.status_code == 413
                    bomb = {f"x-{n}": "y" * 1000 for n in range(2000)}
                    with suppress(httpx2.TransportError):
                        response = await client.get("/healthz", headers=bomb)
                        assert response.status_code in (400, 431)
                    assert (await client.get("/healthz")).status_code == 200
                (seq,) = site.publish(answer())
                assert (await hears(good))["seq"] == seq

    asyncio.run(scenario())


def test_who_logs_out_hears_nothing_more(site: Any) -> None:
    async def scenario() -> None:
        async with site.running(), httpx2.AsyncClient(base_url=site.http, trust_env=False) as client:
            own = {"origin": site.http}
            assert (
                await client.post("/login", json={"token": TOKENS["read"]}, headers=own)
            ).status_code == 204
            cookie = {"cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
            by_token = connect(site.ws, proxy=None, additional_headers=bearer(TOKENS["read"]))
            async with connect(site.ws, proxy=None, additional_headers=cookie) as one, by_token as other:
                assert (await hears(one))["type"] == (await hears(other))["type"] == "hello"
                assert (await client.post("/logout", headers=own)).status_code == 204
                await asyncio.wait_for(one.wait_closed(), 5)
                await other.send('{"type": "ping", "id": "still there"}')
                assert (await hears(other))["type"] == "pong"

    asyncio.run(scenario())
