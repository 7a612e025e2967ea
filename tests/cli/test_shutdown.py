"""SIGTERM to `streamqa run` with everything in the way that can be: it ends orderly, in seconds, with exit code 0."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from streamqa.sinks.log import AnswerLog
from tests.cli.process import alive, children, until
from tests.cli.test_serve import Running
from tests.sinks.records import answer

STOPS_S = 5.0
CONFIG = """
model: tiny
sources:
  gate: scene:gate
  hung: rtsp://127.0.0.1:{port}/stream
questions:
  person: {{ask: "Is there a person?", kind: yes_no, every: 200ms}}
"""


@pytest.fixture
def black_hole() -> Iterator[socket.socket]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def running(tmp_path: Path, black_hole: socket.socket) -> Iterator[Running]:
    with closing(AnswerLog(tmp_path / "answers.db")) as log:
        log.append([answer(n, text="x" * 400) for n in range(20_000)])  # more than any socket takes
    server = Running(tmp_path, CONFIG.format(port=black_hole.getsockname()[1]))
    yield server
    server.end()


def client(server: Running, request: str) -> socket.socket:
    """A connection that has sent this, and reads nothing."""
    host, _, port = server.http.removeprefix("http://").strip("/").partition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((host, int(port)))
    connection.sendall(request.replace("HOST", f"{host}:{port}").encode())
    return connection


def stalled_subscriber(server: Running) -> socket.socket:
    """Wants 8 MB, and reads none of it."""
    connection = client(
        server,
        "GET /ws HTTP/1.1\r\nHost: HOST\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    connection.recv(16)
    payload = b'{"type":"subscribe","since":0}'
    connection.sendall(bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload)  # masked with zeros
    return connection


def obstacles(server: Running, stack: ExitStack) -> None:
    """Clients that are in the way."""
    epoch = server.get("api/info")["epoch"]
    for connection in (
        stalled_subscriber(server),
        client(
            server, f"GET /events HTTP/1.1\r\nHost: HOST\r\nLast-Event-ID: {epoch}:0\r\n\r\n"
        ),  # reads nothing
        client(server, "GET /events HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        client(server, "GET /api/info HT"),
        client(server, "POST /api/ask HTTP/1.1\r\nHost: HOST\r\nContent-Length: 500\r\n\r\n{"),
        client(server, ""),
    ):
        stack.enter_context(connection)


def is_replaying(server: Running) -> bool:
    import urllib.request

    with urllib.request.urlopen(server.http + "metrics", timeout=10) as response:
        page = response.read().decode()
    return "streamqa_event_streams 2.0" in page and "streamqa_subscribers 2.0" in page


async def stop_while_listening(server: Running, stack: ExitStack) -> tuple[list[dict[str, Any]], int, float]:
    """What a good subscriber hears to the end; the code that it is told; how long the command took to end."""
    heard: list[dict[str, Any]] = []
    async with connect(server.ws, proxy=None) as ws:
        await ws.send(json.dumps({"type": "subscribe"}))
        await asyncio.to_thread(obstacles, server, stack)
        await asyncio.to_thread(until, lambda: is_replaying(server))
        while len([one for one in heard if one["type"] == "answer"]) < 3:
            heard.append(json.loads(await asyncio.wait_for(ws.recv(), 20)))
        began_s = time.monotonic()
        ended = asyncio.create_task(asyncio.to_thread(server.stop))
        code = 0
        try:
            while True:
                heard.append(json.loads(await asyncio.wait_for(ws.recv(), 20)))
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else 0
        assert await ended == 0, server.told
        return heard, code, time.monotonic() - began_s


def finished(folder: Path, server: Running, heard: list[dict[str, Any]]) -> None:
    """All that is in the log was heard, and nothing else."""
    records = [one for one in heard if "seq" in one]
    with closing(AnswerLog(folder / "answers.db")) as log:
        kept = [one.payload for one in log.read(records[0]["seq"] - 1, 1000)]
    assert kept == records
    assert server.process.pid not in alive()
    assert [line for line in server.told if re.match("Traceback|[A-Z]+ ", line)] == []


def test_with_clients_and_a_source_that_hang(tmp_path: Path, running: Running) -> None:
    with ExitStack() as stack:
        heard, code, took_s = asyncio.run(stop_while_listening(running, stack))
    assert code == 1001
    assert took_s < STOPS_S
    assert heard[-1] | {"state": "ended"} == heard[-1]  # the source's last word was still delivered
    finished(tmp_path, running, heard)


def test_with_a_model_that_is_busy_for_long_as_well(tmp_path: Path, running: Running) -> None:
    (worker,) = children(running.process.pid)
    until(lambda: bool(running.get("api/records?type=answer&order=newest&limit=1")["records"]))

    async def main() -> tuple[list[dict[str, Any]], int, float]:
        async with connect(running.ws, proxy=None) as ws:
            await ws.send(json.dumps({"type": "subscribe"}))
            while json.loads(await asyncio.wait_for(ws.recv(), 20))["type"] != "answer":
                pass
            os.kill(worker, signal.SIGSTOP)  # from now on it answers nothing
            heard: list[dict[str, Any]] = []
            began_s = time.monotonic()
            ended = asyncio.create_task(asyncio.to_thread(running.stop))
            code = 0
            try:
                while True:
                    heard.append(json.loads(await asyncio.wait_for(ws.recv(), 20)))
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 0
            assert await ended == 0
            return heard, code, time.monotonic() - began_s

    with ExitStack() as stack:
        obstacles(running, stack)
        heard, code, took_s = asyncio.run(main())
    assert code == 1001
    assert took_s < STOPS_S
    assert worker not in alive()
    finished(tmp_path, running, heard)
