"""https and wss with a real certificate: the hand-over, slow clients, handshakes that are never finished."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect

from streamqa.server.locks import Locks, tls_context
from streamqa.service_settings import TlsConfig

pytestmark = pytest.mark.usefixtures("locked")


@pytest.fixture
def locked(site: Any, certificate: tuple[Path, Path]) -> None:
    site.locks = Locks(tls=tls_context(TlsConfig(cert=str(certificate[0]), key=str(certificate[1]))))


@pytest.fixture
def trust(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate[0])


def test_https_and_its_cookie(site: Any, background: Any, trust: ssl.SSLContext) -> None:
    with background(site), httpx2.Client(base_url=site.http, trust_env=False, verify=trust) as client:
        assert site.server.url == f"https://127.0.0.1:{site.server.port}/"
        assert client.get("/healthz").json() == {"ok": True}
        assert client.get("/").status_code == 200


def test_answers_come_by_wss_and_stopping_is_quick(site: Any, answer: Any, trust: ssl.SSLContext) -> None:
    async def scenario() -> None:
        async with site.running(), connect(site.ws, proxy=None, compression=None, ssl=trust) as one:
            assert json.loads(await one.recv())["type"] == "hello"
            await one.send('{"type": "subscribe", "since": 0}')
            sent = [seq for n in range(300) for seq in site.publish(answer(n))]
            async with asyncio.timeout(10):
                heard = [json.loads(await one.recv())["seq"] for _ in sent]
            assert heard == sent
            began_s = time.monotonic()
            await site.server.stop()
            assert time.monotonic() - began_s < 3
            with pytest.raises(Exception, match="1001"):
                await one.recv()

    asyncio.run(scenario())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - a counter tells nobody when it changes
        await asyncio.sleep(0.01)


async def stalled(site: Any, trust: ssl.SSLContext) -> asyncio.StreamWriter:
    """A subscriber by wss that never reads again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port, ssl=trust, limit=1024)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert b"101" in await reader.readline()
    mask, text = b"\0\0\0\0", b'{"type":"subscribe"}'
    writer.write(bytes((0x81, 0x80 | len(text))) + mask + text)
    writer.transport.pause_reading()
    return writer


def test_who_does_not_read_gets_a_bounded_backlog_and_is_cut_off(
    make_site: Any, certificate: tuple[Path, Path], answer: Any, trust: ssl.SSLContext
) -> None:
    site = make_site(stall_s=0.5, backlog=8)
    site.locks = Locks(tls=tls_context(TlsConfig(cert=str(certificate[0]), key=str(certificate[1]))))

    async def scenario() -> None:
        async with site.running():
            writer = await stalled(site, trust)
            async with asyncio.timeout(20):
                await until(lambda: site.count("subscribers") == 1)
                while site.count("subscribers_aborted_total") == 0:
                    site.publish(*(answer(n, text="x" * 5000) for n in range(20)))
                    await asyncio.sleep(0.02)
                await until(lambda: site.count("subscribers") == 0)
            assert site.count("messages_dropped_total") > 0
            writer.transport.abort()

    asyncio.run(scenario())


def test_a_handshake_that_is_never_finished_is_cut_off(
    make_site: Any, certificate: tuple[Path, Path]
) -> None:
    site = make_site(request_s=0.3)
    site.locks = Locks(tls=tls_context(TlsConfig(cert=str(certificate[0]), key=str(certificate[1]))))

    async def scenario() -> None:
        async with site.running():
            for begun in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"):
                reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
                writer.write(begun)
                async with asyncio.timeout(5):
                    with suppress(ConnectionError):
                        assert b"HTTP" not in await reader.read()
                writer.transport.abort()

    asyncio.run(scenario())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_is_refused(site: Any, background: Any) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with background(site), pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{site.http}/healthz", verify=context, trust_env=False)
