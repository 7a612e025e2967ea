"""The servers that `bench fanout` compares: ours, and what people build instead."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from typing import Any

from streamqa.errors import ConfigError
from streamqa.metrics import Metrics
from streamqa.server.context import Limits, ServerContext
from streamqa.server.listen import listen
from streamqa.server.server import Server
from streamqa.sinks.base import Logged
from streamqa.sinks.log import AnswerLog
from streamqa.types import ModelInfo

_MOST = 20_000  # connections
_MODEL = ModelInfo("none", "0", "cpu", "none", frozenset())
KINDS = ("streamqa", "streamqa.single", "websockets.broadcast", "fastapi.queue")


@dataclass(frozen=True, slots=True)
class Hub:
    """A running server."""

    port: int
    path: str
    say: str  # what a client says first
    publish: Callable[[dict[str, Any]], None]  # one message for everybody; called in the event loop


def opened_hub(kind: str) -> Any:
    """The server of this kind, as an asynchronous context. Raises ConfigError: there is no such kind."""
    if kind in ("streamqa", "streamqa.single"):
        return _ours(coalescing=kind == "streamqa")
    if kind == "websockets.broadcast":
        return _broadcast()
    if kind == "fastapi.queue":
        return _queues()
    raise ConfigError(f"no server {kind!r}; there are: {', '.join(KINDS)}")


@asynccontextmanager
async def _ours(coalescing: bool) -> AsyncIterator[Hub]:
    """The product's server; without coalescing each message is a write of its own, as the others do it."""
    limits = Limits(connections=_MOST)
    if not coalescing:
        limits = replace(limits, coalesce_s=0.0)
    with closing(AnswerLog(":memory:")) as log:
        context = ServerContext(log, Metrics(), tuple, tuple, lambda: _MODEL, lambda _: None, list)
        server = Server(context, listen("127.0.0.1", 0), limits)
        await server.start()
        try:
            yield Hub(
                server.port,
                "/ws",
                '{"type":"subscribe"}',
                lambda record: server.broadcaster.publish([Logged(record["seq"], record)]),
            )
        finally:
            await server.stop()


@asynccontextmanager
async def _broadcast() -> AsyncIterator[Hub]:
    """`websockets.broadcast` as documented, but without compression, which costs it thrice the time."""
    from websockets.asyncio.server import ServerConnection, broadcast, serve

    connected: set[ServerConnection] = set()

    async def handler(connection: ServerConnection) -> None:
        connected.add(connection)
        try:
            await connection.wait_closed()
        finally:
            connected.discard(connection)

    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield Hub(port, "/", "", lambda record: broadcast(connected, _text(record)))


@asynccontextmanager
async def _queues() -> AsyncIterator[Hub]:
    """FastAPI with a queue and a sending task for each client."""
    import uvicorn
    from fastapi import FastAPI, WebSocket, WebSocketDisconnect

    queues: set[asyncio.Queue[str]] = set()
    app = FastAPI()

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        queue: asyncio.Queue[str] = asyncio.Queue(100_000)
        queues.add(queue)

        async def send() -> None:
            while True:
                await websocket.send_text(await queue.get())

        sending = asyncio.create_task(send())
        try:
            while True:
                await websocket.receive_text()
        except WebSocketDisconnect:
            pass
        finally:
            sending.cancel()
            queues.discard(queue)

    def publish(record: dict[str, Any]) -> None:
        text = _text(record)
        for queue in queues:
            queue.put_nowait(text)

    # FastAPI looks the annotation up by name, and `WebSocket` is known in this function only.
    endpoint.__annotations__["websocket"] = WebSocket
    app.add_api_websocket_route("/ws", endpoint)
    door = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        app, log_config=None, lifespan="off", ws="websockets-sansio", ws_per_message_deflate=False,
        access_log=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[door.socket]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield Hub(door.port, "/ws", "", publish)
    finally:
        server.should_exit = True
        await serving


def _text(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))
