"""The connection to an MQTT broker: a thread with an event loop of its own, which is never done trying."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamqa.errors import ConfigError
from streamqa.loops import LeavingLoop
from streamqa.sinks.broker import Broker
from streamqa.sinks.outbox import Message, Outbox
from streamqa.sinks.outlet import Ledger

try:
    import aiomqtt
except ImportError as error:
    raise ConfigError("sinks: mqtt needs aiomqtt; pip install 'streamqa[mqtt]'") from error

_logger = logging.getLogger(__name__)
_library = logging.getLogger(f"{__name__}.library")
_library.setLevel(logging.CRITICAL)  # what breaks is told by the ledger, once

LARGEST_BYTES = 4_000_000  # of a picture
_QOS = 1
_PATIENCE_S = 5.0  # for one answer of the broker
_CONNECT_S = 3.0
_KEEPALIVE_S = 15  # a broker tells our last will after one and a half of it
_AT_ONCE = 16  # messages under way that the broker has not confirmed
_HEARD = 4096  # messages of the broker that wait for us
_STEADY_S = 10.0  # a connection that held for so long was a good one
_FIRST_S, _MOST_S, _REFUSED_S = 0.25, 1.0, 30.0
_FLUSH_S, _CLOSE_S = 1.0, 2.0  # what is due when it is closed; all of closing
_STRIKES = 3  # then a picture is too large
_SUBSCRIBE_FAILED = 128  # SUBACK: this, and what is above
_REFUSALS = (4, 5, 134, 135)  # CONNACK: bad user name or password, not authorized; of MQTT 3.1.1 and 5


@dataclass(frozen=True, slots=True)
class Party:
    """Who is at our end. All is called in the link's own thread."""

    client_id: str
    will: tuple[str, str]  # topic and payload: what the broker says when we are gone, and we when we go
    subscriptions: tuple[str, ...]
    greet: Callable[[], None]  # a connection stands: puts all there is to say into the outbox
    refresh: Callable[[], None]  # something is due: adds what else is
    heard: Callable[[str, bytes, bool], None]  # topic, payload, and whether the broker had retained it


def pause_s(failures: int, refused: bool, chance: float) -> float:
    """Seconds until the next try after `failures` (1, 2…) in a row; `chance` is from [0, 1).

    A broker that is back is found within 1 s; one that refuses us is asked twice a minute.
    """
    if refused:
        return _REFUSED_S * (0.75 + chance / 2)
    return min(_MOST_S, _FIRST_S * 2.0 ** min(failures, 10)) * (1 + chance) / 2


class Link:
    """Sends what is in an outbox, and hears what is subscribed to."""

    def __init__(
        self, broker: Broker, tls: ssl.SSLContext | None, party: Party, outbox: Outbox, ledger: Ledger
    ) -> None:
        """Starts at once."""
        self._broker, self._tls, self._party = broker, tls, party
        self._outbox, self._ledger = outbox, ledger
        self._closing = threading.Event()
        self._closed_s = 0.0  # when, on the monotonic clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due: asyncio.Event | None = None
        self._room_bytes = LARGEST_BYTES  # of a picture
        self._strikes = 0  # connections in a row that broke while a picture was under way
        self._broke_bytes: int | None = None  # the smallest picture that was under way when this one broke
        self._thread = threading.Thread(target=self._run, name=f"sink {ledger.id}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something is due. Any thread; returns at once."""
        loop, due = self._loop, self._due
        if loop is not None and due is not None and not due.is_set():
            with suppress(RuntimeError):  # closed just now
                loop.call_soon_threadsafe(due.set)

    def later(self, delay_s: float, do: Callable[[], None]) -> None:
        """Call `do` after a while, unless the connection breaks before. Called by the link's own thread."""
        asyncio.get_running_loop().call_later(delay_s, do)

    def close(self) -> None:
        """Send what is due and say good-bye, within some 2 s."""
        self._closed_s = time.monotonic()
        self._closing.set()
        self.wake()
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        failures = 0
        while not self._closing.is_set():
            began_s = time.monotonic()
            refused = False
            try:
                with asyncio.Runner(loop_factory=LeavingLoop) as runner:
                    runner.run(self._connected())
                continue
            except (aiomqtt.MqttError, OSError) as error:
                code = getattr(error, "rc", None)
                refused = getattr(code, "value", code) in _REFUSALS
                reason = " ".join(str(error).split()) or type(error).__name__
                if refused:
                    reason = f"the broker refuses us: {reason}; check user and password in its URL"
            # The thread's own supervisor: a mistake of ours, or of the library, costs a connection and not the sink.
            except Exception as error:
                _logger.debug("sink %s failed", self._ledger.id, exc_info=True)
                reason = f"unexpected {type(error).__name__}"
            self._judge()
            failures = 1 if time.monotonic() - began_s > _STEADY_S else failures + 1
            self._ledger.down(reason)
            self._closing.wait(pause_s(failures, refused, random.random()))

    async def _connected(self) -> None:
        """One connection, until it breaks or is not wanted any more."""
        async with self._client() as client:
            await self._subscribe(client)
            self._due = asyncio.Event()
            self._loop = asyncio.get_running_loop()
            try:
                self._party.greet()
                self._ledger.up()
                self._due.set()
                await _first_of(self._send(client, self._due), self._listen(client))
            finally:
                self._loop = self._due = None

    def _client(self) -> aiomqtt.Client:
        broker, (topic, payload) = self._broker, self._party.will
        client = aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.user,
            password=broker.password,
            identifier=self._party.client_id,
            logger=_library,
            will=aiomqtt.Will(topic, payload, _QOS, retain=True),
            timeout=_PATIENCE_S,
            keepalive=_KEEPALIVE_S,
            max_queued_incoming_messages=_HEARD,
            tls_context=self._tls,
        )
        client.pending_calls_threshold = _AT_ONCE
        # The next try waits for the thread behind it, and no other way leads to this.
        client._client.connect_timeout = _CONNECT_S
        return client

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        for topic in self._party.subscriptions:
            codes = await client.subscribe(topic, _QOS)
            if any(getattr(code, "value", code) >= _SUBSCRIBE_FAILED for code in codes):
                _logger.warning("sink %s: the broker does not let us subscribe to %s", self._ledger.id, topic)

    async def _send(self, client: aiomqtt.Client, due: asyncio.Event) -> None:
        while not self._closing.is_set():
            await due.wait()
            due.clear()
            self._party.refresh()
            await self._send_all(client)
        await client.publish(*self._party.will, _QOS, retain=True)

    async def _send_all(self, client: aiomqtt.Client) -> None:
        messages = self._outbox.take()
        self._ledger.queued(len(messages))
        sent = 0
        try:
            while sent < len(messages) and not self._is_late():
                some = messages[sent : sent + _AT_ONCE]
                await asyncio.gather(*(self._publish(client, message) for message in some))
                sent += len(some)
                self._ledger.delivered(len(some))
                self._ledger.queued(len(messages) - sent + self._outbox.counts().due)
        finally:  # some of these may have arrived, and come once more
            self._outbox.give_back(messages[sent:])

    def _is_late(self) -> bool:
        """Whether it is closed, and what is due has had its time."""
        return self._closing.is_set() and time.monotonic() > self._closed_s + _FLUSH_S

    async def _publish(self, client: aiomqtt.Client, message: Message) -> None:
        if isinstance(message.payload, Path):
            await self._publish_picture(client, message.topic, message.payload)
        else:
            await client.publish(message.topic, _bytes(message.payload), _QOS, retain=message.is_retained)

    async def _publish_picture(self, client: aiomqtt.Client, topic: str, path: Path) -> None:
        data = _picture(path, self._room_bytes)
        if data is None:
            return
        try:
            await client.publish(topic, data, _QOS, retain=True)
        except (aiomqtt.MqttError, asyncio.CancelledError):
            self._broke_bytes = min(self._broke_bytes or len(data), len(data))
            raise
        self._strikes = 0

    def _judge(self) -> None:
        """After a connection broke: a picture that is larger than the broker takes would break each one."""
        if self._broke_bytes is None:
            return
        self._strikes += 1
        if self._strikes == _STRIKES:
            self._strikes, self._room_bytes = 0, self._broke_bytes - 1
            _logger.warning(
                "sink %s: the broker takes no pictures of %d bytes; they are left out",
                self._ledger.id,
                self._broke_bytes,
            )
        self._broke_bytes = None

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            self._party.heard(message.topic.value, payload, bool(message.retain))


def tls_context(broker: Broker, verify: bool) -> ssl.SSLContext | None:
    """How to encrypt; None: not at all. `verify`: only to a server whose certificate somebody vouches for."""
    if not broker.is_encrypted:
        return None
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _first_of(*parts: Coroutine[Any, Any, None]) -> None:
    """Until one of them ends; the others are cancelled."""
    tasks = [asyncio.create_task(part) for part in parts]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _bytes(payload: str | dict[str, Any]) -> bytes:
    if isinstance(payload, str):
        return payload.encode("utf-8", "replace")
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _picture(path: Path, most_bytes: int) -> bytes | None:
    """None: it is kept no longer, or is too large."""
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except OSError:
        return None
    return data if len(data) <= most_bytes else None
