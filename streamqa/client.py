"""Subscribe to a streamqa server: every answer once and in order, through lost connections and restarts.

    async for message in subscribe("http://127.0.0.1:8765"):
        match message:
            case Answer(question="person", state="ok"):
                print(message.source, message.value, message.captured_at)

Needs `websockets` and nothing else; imports none of streamqa's heavy parts.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import ssl
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException

from streamqa.client_messages import (
    Alert,
    Answer,
    Change,
    Error,
    Gap,
    Hello,
    Latency,
    Message,
    Reading,
    Source,
    Unknown,
    Window,
    read_message,
)
from streamqa.errors import ConfigError, ProtocolError

__all__ = [
    "Alert",
    "Answer",
    "Change",
    "Error",
    "Gap",
    "Hello",
    "Latency",
    "Message",
    "Reading",
    "Source",
    "Unknown",
    "Window",
    "subscribe",
    "subscribe_sync",
]

Trust: TypeAlias = ssl.SSLContext | str | Path

_PATH = "/ws"
_SILENCE_S = 45.0  # three times the longest promised pause between heartbeats
_OPEN_TIMEOUT_S = 10.0
_BACKOFF_S = (0.25, 15.0)  # the first wait at most, and the longest
_MAX_MESSAGE_BYTES = 4 * 1024 * 1024
_QUEUE = 16  # messages that wait here for a slow consumer; the rest waits in the socket and, bounded, at the server
_REFUSED_FOR_GOOD = (301, 302, 303, 307, 308, 400, 401, 403, 404)
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+={0,2}")  # what an Authorization header can carry

# At level DEBUG `websockets` logs every header that is sent, and with them the token.
_wire_log = logging.getLogger(__name__).getChild("wire")
_wire_log.setLevel(logging.INFO)


def subscribe(  # noqa: PLR0913 - all but the address are keywords with defaults
    url: str,
    *,
    token: str | None = None,
    tls: Trust | None = None,
    sources: Sequence[str] | None = None,
    questions: Sequence[str] | None = None,
    types: Sequence[str] | None = None,
    changed_only: bool = False,
    min_interval_s: float | None = None,
    since: int | None = None,
    epoch: str | None = None,
    on_lost: Callable[[str], None] | None = None,
) -> AsyncGenerator[Message, None]:
    """Messages of a server, for ever: reconnects with growing, random waits and goes on where it was.

    `token` goes into the `Authorization` header, never into the URL. `tls`, of a wss address: an `SSLContext`, or a
    PEM file with the certificate (or that of its authority) to trust in place of the system's.

    Filters of None let everything pass. `changed_only` leaves out answers that say the same as the one before them;
    `min_interval_s` is stream time between two answers of one question and source.

    `since=None` gives what comes from now on; 0 everything retained; a `seq`, with the `epoch` of the `hello` it
    came under, what follows that record.

    Yields `Hello` after each connection; the records `Answer`, `Source`, `Change` and `Error` each once and in order
    of `seq`; `Gap` where some are lost for good; an `Error` that is no record when the server has a trouble with this
    connection; `Unknown` for what a newer server says. Each has the object that came as `.raw`. Heartbeats are used
    and not shown. Records with `seq` None and `durable` false came while the server's log was full: they do not come
    again, and a `Gap` of reason `log_full` tells later how many there were.

    A slow consumer costs no memory: at most 16 messages wait here, and the server's `gap` says what it dropped.

    `on_lost` is told in one line each time that there is no connection, or no longer, before the next try.

    Raises `ConfigError` for a URL, token or certificate that is none, at once; `ProtocolError` while iterating, when
    the server refuses us for good (no such token, for one).
    """
    request: dict[str, Any] = {"type": "subscribe", "since": since, "epoch": epoch}
    filters = {"sources": sources, "questions": questions, "types": types}
    request.update({name: list(words) for name, words in filters.items() if words is not None})
    if changed_only:
        request["changed_only"] = True
    if min_interval_s is not None:
        request["min_interval_s"] = min_interval_s
    return _messages(address(url, token, tls), request, on_lost)


def subscribe_sync(url: str, **options: Any) -> Generator[Message, None, None]:
    """As `subscribe`, without asyncio. Must not be used inside a running event loop.

    While the caller works on a message nothing is read; whoever takes longer than the server's patience is cut off
    and reconnected, and misses nothing for it but what a `Gap` names.
    """
    messages = subscribe(url, **options)
    return _without_asyncio(messages)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, and what opens its door."""

    url: str  # ws or wss
    headers: dict[str, str] = field(repr=False)  # the token
    tls: ssl.SSLContext | None

    @property
    def shown(self) -> str:
        """As it may be told."""
        return without_password(self.url)


def address(url: str, token: str | None = None, tls: Trust | None = None) -> Address:
    """Checks what `subscribe` is given. Raises `ConfigError`."""
    where = websocket_url(url)
    shown = without_password(where)
    if token is not None and not _TOKEN.fullmatch(token):
        raise ConfigError(
            "the token is empty or holds characters that no token has; check where it comes from"
        )
    if token is not None and "@" in urlsplit(where).netloc:
        raise ConfigError(f"{shown}: a password in the address and a token; give one of both")
    if tls is not None and not where.startswith("wss:"):
        raise ConfigError(f"{shown} is not encrypted, so no certificate is of use; write https:// or wss://")
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return Address(where, headers, _trusting(tls) if where.startswith("wss:") else None)


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
    if parts.query or parts.fragment:
        raise ConfigError(
            f"{without_password(url)!r} goes on behind a ? or #, which no streamqa server reads; "
            "a token is given by itself"
        )
    path = parts.path.rstrip("/")
    if not path.endswith(_PATH):
        path += _PATH
    return f"{scheme}://{parts.netloc}{path}"


def without_password(url: str) -> str:
    """`url` as it may be shown: without `user:password@` and whatever follows `?` or `#`."""
    scheme, found, rest = re.split(r"[?#]", url, maxsplit=1)[0].partition("://")
    return f"{scheme}{found}{rest.rpartition('@')[2]}"


def _trusting(path: Trust | None) -> ssl.SSLContext:
    if isinstance(path, ssl.SSLContext):
        return path
    try:
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise ConfigError(
            f"{path} is no certificate in PEM form; name the server's, or its authority's"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: the certificate cannot be read ({error.strerror})") from None


@dataclass(frozen=True, slots=True)
class Place:
    """Where we are in the log; pure."""

    since: int | None  # None: nowhere yet; every wanted record up to here has come
    epoch: str | None  # of the log that it is a number of

    def met(self, epoch: str, last_seq: int) -> Place:
        """Once the server has said hello."""
        if self.since is None:
            # Not "from now on": by the time that arrives, something may have come that this hello had not counted.
            return Place(last_seq, epoch)
        return self if self.epoch is not None else Place(self.since, epoch)

    def after(self, raw: dict[str, Any], epoch: str) -> Place:
        """Behind this message, which came in a connection to a log of `epoch`."""
        if raw["type"] == "gap" and raw.get("reason") == "new_log":
            return Place(0, epoch)
        # What has a number moves us there, of whichever type, those that we do not know included.
        up_to = raw.get({"gap": "to", "heartbeat": "last_seq"}.get(raw["type"], "seq"))
        up_to = raw.get("seq") if up_to is None else up_to
        return self if type(up_to) is not int else replace(self, since=max(self.since or 0, up_to))


class _Connect(connect):
    """Goes where it was sent and nowhere else: the token is for this server."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Never followed."""
        return exc


async def _messages(
    where: Address, request: dict[str, Any], on_lost: Callable[[str], None] | None
) -> AsyncGenerator[Message, None]:
    """`request` is the next `subscribe` to send: its `since` and `epoch` are our place in the log."""
    failures = 0
    while True:
        try:
            async with _Connect(
                where.url,
                additional_headers=where.headers,
                ssl=where.tls,
                open_timeout=_OPEN_TIMEOUT_S,
                close_timeout=1,
                compression=None,
                max_size=_MAX_MESSAGE_BYTES,
                max_queue=_QUEUE,
                logger=_wire_log,
            ) as connection:
                async for message in _conversation(connection, request):
                    failures = 0
                    yield message
        except InvalidURI as error:
            raise ConfigError(f"{where.shown!r} is no websocket address") from error
        except InvalidStatus as error:
            status = error.response.status_code
            if status in _REFUSED_FOR_GOOD:
                why = (error.response.body or b"").decode(errors="replace").strip()[:200]
                raise ProtocolError(
                    "refused", f"{where.shown} answered {status}: {why or 'refused'}"
                ) from error
            lost = f"it answered {status}"
        except ssl.SSLCertVerificationError as error:
            raise ConfigError(
                f"{where.shown}: its certificate is not trusted ({error.verify_message}); "
                "give the one to trust, or its authority's, as a PEM file"
            ) from error
        except (OSError, TimeoutError, InvalidHandshake, WebSocketException) as error:
            lost = f"{type(error).__name__}"
        failures += 1
        if on_lost is not None:
            on_lost(f"no connection to {where.shown} ({lost}); trying again")
        await asyncio.sleep(backoff_s(failures))


async def _conversation(
    connection: ClientConnection, request: dict[str, Any]
) -> AsyncGenerator[Message, None]:
    """One connection: `hello`, our subscription, then messages until it ends."""
    hello = read_message(await _receive(connection))
    if not isinstance(hello, Hello):
        raise ProtocolError("no_hello", "the other side is no streamqa server: it did not say hello")
    place = Place(request["since"], request["epoch"]).met(hello.epoch, hello.last_seq)
    request.update(since=place.since, epoch=place.epoch)
    await connection.send(json.dumps(request))
    yield hello
    while True:
        raw = await _receive(connection)
        message = None if raw["type"] in ("heartbeat", "pong") else read_message(raw)
        if isinstance(message, Error) and not message.is_record and message.code != "internal":
            raise ProtocolError(message.code, f"the server refused the subscription: {message.message}")
        place = place.after(raw, hello.epoch)
        request.update(since=place.since, epoch=place.epoch)
        if message is not None:
            yield message


async def _receive(connection: ClientConnection) -> dict[str, Any]:
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


def _without_asyncio(messages: AsyncGenerator[Message, None]) -> Generator[Message, None, None]:
    with asyncio.Runner() as runner:
        try:
            while True:
                yield runner.run(_next(messages))
        finally:
            runner.run(messages.aclose())


async def _next(messages: AsyncGenerator[Message, None]) -> Message:
    return await anext(messages)
