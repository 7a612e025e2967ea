"""The subscriber library at a server with locks: tokens, certificates, redirects, and who is refused for good."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from streamqa.client import Hello, Source, subscribe
from streamqa.errors import ConfigError, ProtocolError
from streamqa.server.auth import Keyring
from streamqa.server.locks import Locks, tls_context
from streamqa.service_settings import TlsConfig, TokenConfig

TOKEN = "read-token-0123456789"
KEYRING = Keyring([TokenConfig(name="dash", scope="read", token=TOKEN)])


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


async def first(url: str, **options: Any) -> Any:
    async with asyncio.timeout(10), aclosing(subscribe(url, **options)) as messages:
        return await anext(messages)


def test_a_token_opens_and_no_log_has_it(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    site.locks = Locks(KEYRING)
    caplog.set_level(logging.DEBUG)

    async def scenario() -> None:
        async with site.running():
            assert isinstance(await first(site.http, token=TOKEN), Hello)
            for wrong in (None, TOKEN + "x"):
                with pytest.raises(ProtocolError, match="answered 401") as caught:
                    await first(site.http, token=wrong)
                assert TOKEN not in str(caught.value)

    asyncio.run(scenario())
    assert TOKEN not in caplog.text


def test_a_certificate_is_trusted_by_its_file(
    site: Any,
    certificate: tuple[Path, Path],
    make_certificate: Callable[..., tuple[Path, Path]],
    tmp_path: Path,
) -> None:
    cert, key = certificate
    site.locks = Locks(KEYRING, tls_context(TlsConfig(cert=str(cert), key=str(key))))
    other, _ = make_certificate(tmp_path, "other")

    async def scenario() -> None:
        async with site.running():
            assert isinstance(await first(site.ws, token=TOKEN, tls=cert), Hello)
            for not_trusting in (None, other):
                with pytest.raises(ConfigError, match="certificate is not trusted"):
                    await first(site.ws, token=TOKEN, tls=not_trusting)

    asyncio.run(scenario())


def test_a_redirect_is_not_followed() -> None:
    """Whoever stands there would get the token."""

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/ws\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(redirect, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(ProtocolError, match="answered 302"):
                await first(f"http://127.0.0.1:{port}", token=TOKEN)

    asyncio.run(scenario())


def test_a_consumer_slower_than_the_server_is_patient_gets_everything_or_is_told(
    make_site: Callable[..., Any], status: Callable[..., Any]
) -> None:
    """It is cut off while it does not read, comes back and goes on where it was."""
    site = make_site(stall_s=0.2, backlog=8)

    async def scenario() -> None:
        async with site.running(), aclosing(subscribe(site.http, since=0)) as messages, asyncio.timeout(30):
            await anext(messages)
            for _ in range(20):
                site.publish(*(status("x" * 64) for _ in range(2000)))
                await asyncio.sleep(0)
            while site.count("subscribers"):  # noqa: ASYNC110 - a counter tells nobody when it changes
                await asyncio.sleep(0.05)
            place = 0
            while place < 40_000:
                message = await anext(messages)
                if isinstance(message, Source):
                    assert message.seq == place + 1
                    place = message.seq
                elif message.type == "gap":
                    assert message.raw["from"] == place + 1
                    place = message.raw["to"]

    asyncio.run(scenario())
