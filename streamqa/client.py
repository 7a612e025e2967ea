"""Subscribe to a streamqa server: every answer once and in order, through lost connections and restarts.

    async for message in subscribe("http://127.0.0.1:8765"):
        if message["type"] == "answer":
            print(message["source"], message["question"], message["value"])

Needs `websockets` and nothing else; imports none of streamqa's heavy parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException

from streamqa.errors import ConfigError, ProtocolError

Message = dict[str, Any]

_PATH = "/ws"
_SILENCE_S = 45.0  # three times the longest promised pause between heartbeats
_OPEN_TIMEOUT_S = 10.0
_BACKOFF_S = (0.25, 15.0)  # the first wait at most, and the longest
_MAX_MESSAGE_BYTES = 4 * 1024 * 1024
_REFUSED_FOR_GOOD = (400, 401, 403, 404)


def subscribe(  # noqa: PLR0913 - all but the address are keywords with defaults
    url: str,
    *,
    sources: Sequence[str] | None = None,
    questions: Sequence[str] | None = None,
    types: Sequence[str] | None = None,
    since: int | None = None,
    epoch: str | None = None,
    on_lost: Callable[[str], None] | None = None,
) -> AsyncIterator[Message]:
    """Messages of a server, for ever: reconnects with growing, random waits and goes on where it was.

    `since=None` gives what comes from now on; 0 everything retained; a `seq`, with the `epoch` of the `hello` it
    came under, what follows that record. Filters of None let everything pass.

    Yields dicts: `hello` after each connection; `answer`, `source` and `error` (a part of the line failed, such as
    the model's process) each once and in order of `seq`; `gap` where some are lost for good; and `error` without
    `seq` when the server has a trouble with this connection. Heartbeats are used and not shown.

    `on_lost` is told in one line each time that there is no connection, or no longer, before the next try.

    Raises `ConfigError` for a URL that is none, `ProtocolError` when the server refuses us for good.
    """
    request: Message = {"type": "subscribe", "since": since, "epoch": epoch}
    filters = {"sources": sources, "questions": questions, "types": types}
    request.update({name: list(words) for name, words in filters.items() if words is not None})
    return _messages(websocket_url(url), request, on_lost)


def subscribe_sync(url: str, **options: Any) -> Iterator[Message]:
    """As `subscribe`, without asyncio. Must not be used inside a running event loop.

    While the caller works on a message nothing is read; whoever takes longer than the server's patience is cut off
    and reconnected, and misses nothing for it but what a `gap` names.
    """
    messages = subscribe(url, **options)
    with asyncio.Runner() as runner:
        try:
            while True:
                yield runner.run(_next(messages))
        finally:
            runner.run(_close(messages))


def websocket_url(url: str) -> str:
    """Where the websocket is, of a server given as `http://host:port/`, `ws://host:port/ws` or `host:port`.

    Raises `ConfigError`.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    try:
        _ = parts.port  # raises ValueError when it is not a number
    except ValueError:
        scheme = None
    if scheme is None or not parts.hostname:
        raise ConfigError(
            f"{without_password(url)!r} is no address of a streamqa server; give one like http://127.0.0.1:8765"
        )
    path = parts.path.rstrip("/")
    if not path.endswith(_PATH):
        path += _PATH
    return f"{scheme}://{parts.netloc}{path}"


def without_password(url: str) -> str:
    """`url` as it may be shown: without `user:password@`."""
    scheme, found, rest = url.partition("://")
    return f"{scheme}{found}{rest.rpartition('@')[2]}"


async def _messages(
    url: str, request: Message, on_lost: Callable[[str], None] | None
) -> AsyncIterator[Message]:
    """`request` is the next `subscribe` to send: its `since` and `epoch` are our place in the log."""
    failures = 0
    while True:
        try:
            async with connect(
                url,
                open_timeout=_OPEN_TIMEOUT_S,
                close_timeout=1,
                compression=None,
                max_size=_MAX_MESSAGE_BYTES,
            ) as connection:
                async for message in _conversation(connection, request):
                    failures = 0
                    yield message
        except InvalidURI as error:
            raise ConfigError(f"{without_password(url)!r} is no websocket address") from error
        except InvalidStatus as error:
            status = error.response.status_code
            if status in _REFUSED_FOR_GOOD:
                why = (error.response.body or b"").decode(errors="replace").strip()[:200]
                raise ProtocolError(
                    "refused", f"{without_password(url)} answered {status}: {why or 'refused'}"
                ) from error
            lost = f"it answered {status}"
        except (OSError, TimeoutError, InvalidHandshake, WebSocketException) as error:
            lost = f"{type(error).__name__}"
        failures += 1
        if on_lost is not None:
            on_lost(f"no connection to {without_password(url)} ({lost}); trying again")
        await asyncio.sleep(backoff_s(failures))


async def _conversation(connection: ClientConnection, request: Message) -> AsyncIterator[Message]:
    """One connection: `hello`, our subscription, then messages until it ends."""
    hello = await _receive(connection)
    if hello.get("type") != "hello":
        raise ProtocolError("no_hello", "the other side is no streamqa server: it did not say hello")
    if request["since"] is None:
        # Not "from now on": by the time that arrives, something may have come that this hello had not counted.
        request.update(since=hello["last_seq"], epoch=hello["epoch"])
    if request["epoch"] is None:
        request["epoch"] = hello["epoch"]
    await connection.send(json.dumps(request))
    yield hello
    while True:
        message = await _receive(connection)
        _keep_place(request, message, hello["epoch"])
        if message["type"] == "error" and "seq" not in message and message["code"] != "internal":
            raise ProtocolError(message["code"], f"the server refused the subscription: {message['message']}")
        if message["type"] not in ("heartbeat", "pong"):
            yield message


def _keep_place(request: Message, message: Message, epoch: str) -> None:
    """Move our place in the log behind this message."""
    kind = message["type"]
    if kind == "gap" and message["reason"] == "new_log":
        request.update(since=0, epoch=epoch)
    elif kind == "gap":
        request["since"] = max(request["since"], message["to"])
    elif kind == "heartbeat":
        request["since"] = max(request["since"], message["last_seq"])
    elif message.get("seq") is not None:
        request["since"] = message["seq"]


async def _receive(connection: ClientConnection) -> Message:
    """The next message. Raises `TimeoutError` when the server has been silent for too long."""
    async with asyncio.timeout(_SILENCE_S):
        data = await connection.recv()
    try:
        message = json.loads(data)
    except ValueError:
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ProtocolError(
            "bad_message", "the other side is no streamqa server: its message is no JSON object"
        )
    return message


def backoff_s(failures: int) -> float:
    """How long to wait after this many failures in a row: random, so that a thousand clients do not come at once."""
    first, longest = _BACKOFF_S
    return random.uniform(0.5, 1.0) * min(longest, first * 2.0 ** min(failures - 1, 10))


async def _next(messages: AsyncIterator[Message]) -> Message:
    return await anext(messages)


async def _close(messages: AsyncIterator[Message]) -> None:
    with contextlib.suppress(AttributeError):
        await messages.aclose()  # type: ignore[attr-defined] # an async generator, declared by what it is for
