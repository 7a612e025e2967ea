"""Fan-out: every record to every subscriber that wants it, and never a wait for one of them.

A record's frame is built once. Where fan-out would take more than a fiftieth of the loop's time, what is published
within 20 ms shares one write per subscriber (`streamqa bench fanout`); for a few subscribers nothing waits, where a
fixed 20 ms had cost each answer 10 ms. A subscriber whose socket is full gets a bounded backlog, then a `gap`; one
that takes no byte for 5 s is cut off. `websockets` alone does neither: a client that stopped reading grew its buffer
to 64 MB in 14 s, and its keepalive waits for the same full buffer (measured with 17.4).
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from streamqa.errors import ProtocolError
from streamqa.server.audiences import Audiences
from streamqa.server.burst import Burst
from streamqa.server.commands import execute
from streamqa.server.context import Limits, ServerContext
from streamqa.server.messages import Error, Heartbeat, Hello, Pong, about, wall
from streamqa.server.protocol import Command, Ping, Subscribe, parse
from streamqa.server.rate import Buckets
from streamqa.server.replay import Replays
from streamqa.server.session import Place, Session
from streamqa.server.subscriber import Subscriber, frame
from streamqa.sinks.base import Logged
from streamqa.sinks.reading import Page
from streamqa.types import NS_PER_S, utc_now

_log = logging.getLogger(__name__)

_COMMAND_THREADS = 24

Check = Callable[[ServerConnection, Request], Response | None]  # None lets the websocket upgrade through


class Broadcaster:
    """Every subscriber of one log. All methods belong to the event loop that called `start`.

    `connection` makes the protocol that uvicorn hands an upgraded transport to.
    """

    def __init__(self, context: ServerContext, check: Check, limits: Limits) -> None:
        self._context = context
        self._check = check
        self._limits = limits
        self._replays = Replays(context.log, context.metrics, limits)
        self._messages = Buckets(limits.messages_per_s, limits.messages_burst, 2 * limits.connections)
        self._subscribers: set[Subscriber] = set()
        self._live = Audiences()
        self._pending: list[Logged] = []  # published, not yet written
        self._published = context.log.last_seq
        self.is_over = False  # it stops
        self._news: asyncio.Event | None = None  # somebody waits for what is published next
        self._busy_until = float("-inf")  # what is published before shares a write
        self._rest_s = 0.0  # and waits for at most this long
        self._flush_timer: asyncio.TimerHandle | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._websockets: WebSocketServer | None = None
        self._watch: asyncio.Task[None] | None = None
        # Threads of their own: commands may take long, and reading the log back must not wait for any of them. More
        # than single questions may wait for the model, so that one too many is told so at once.
        self._commanding = ThreadPoolExecutor(_COMMAND_THREADS, "command")

    async def start(self) -> None:
        """Be ready to take connections."""
        # The server object that `ServerConnection` needs comes from a listener nobody connects to, on a socket file
        # in a folder of our own (mode 0700). Not `start_serving=False`: every upgrade would be answered 503.
        self._folder = tempfile.TemporaryDirectory(prefix="streamqa-")
        self._websockets = await unix_serve(
            self._serve,
            str(Path(self._folder.name) / "unused"),
            process_request=self._admit,
            open_timeout=self._limits.request_s,
            compression=None,  # measured: 2.9 times the CPU and 3 times the memory
        )
        self._watch = asyncio.create_task(self._watch_subscribers())

    def connection(self, *_: Any, **__: Any) -> Subscriber:
        """What uvicorn calls, with arguments of its own, for each upgrade request."""
        assert self._websockets is not None, "start() comes first"
        return Subscriber(self._websockets, self._limits, self._live.hold, self._on_resume)

    @property
    def has_room(self) -> bool:
        """Whether one more handshake may begin.

        Beyond the limit each is answered by 503 and lives on for some seconds, until its client has gone; of these
        there are not too many either (10,000 that came at once took 150 MB).
        """
        begun = 0 if self._websockets is None else len(self._websockets.all_connections)
        return begun < self._limits.connections + self._limits.refusals

    def publish(self, records: Sequence[Logged]) -> None:
        """Send records in the order of their numbers; those without one are in no log. Never waits, never raises."""
        if not records:
            return
        self._pending.extend(records)
        newest = max((record.seq for record in records if record.seq is not None), default=0)
        if newest > self._published:
            self._published = newest
            self._tell_news()
        if self._flush_timer is None:
            loop = asyncio.get_running_loop()
            if loop.time() >= self._busy_until:
                self._flush()
            else:  # from the first that waits, not from the last write: more of them share the next one
                self._flush_timer = loop.call_later(self._rest_s, self._flush)

    async def wait_published(self, after: int, timeout_s: float) -> int:
        """The newest number that was published, as soon as it is beyond `after`, or when the time is over."""
        if self._published <= after:
            self._news = self._news or asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()
        return self._published

    def _tell_news(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None

    async def stop(self) -> None:
        """Send what is pending, close every connection with 1001; returns within `stop_s` and a second."""
        if self._websockets is None:
            return
        self.is_over = True
        self._flush()
        self._tell_news()
        if self._watch is not None:
            self._watch.cancel()
        for subscriber in self._subscribers:
            if subscriber.paused:  # its close frame would wait behind all that it does not read
                subscriber.transport.abort()
        self._websockets.close(code=1001, reason="the server stops")
        try:
            await asyncio.wait_for(self._websockets.wait_closed(), self._limits.stop_s)
        except TimeoutError:
            for connection in list(self._websockets.all_connections):
                connection.transport.abort()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._websockets.wait_closed(), 1.0)
        self._commanding.shutdown(wait=False, cancel_futures=True)
        self._websockets = None
        if self._folder is not None:
            self._folder.cleanup()

    async def page(self, session: Session) -> Page:
        """The next records that `session` wants, from the log; a few are read at once. Raises sqlite3.Error."""
        return await self._replays.page(session)

    def hello(self) -> Hello:
        """What every conversation begins with."""
        answer_log, context = self._context.log, self._context
        return Hello(
            epoch=answer_log.epoch,
            first_seq=answer_log.first_seq,
            last_seq=self._published,
            at=wall(utc_now()),
            **about(context.sources(), context.questions(), context.model()),
        )

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if len(self._subscribers) >= self._limits.connections:
            return connection.respond(503, "too many subscribers; try again later\n")
        return self._check(connection, request)

    async def _serve(self, connection: ServerConnection) -> None:
        """One connection from `hello` to its end."""
        assert isinstance(connection, Subscriber)
        self._subscribers.add(connection)
        self._context.metrics.subscribers.inc()
        try:
            connection.say(self.hello().json_text())
            async for data in connection:
                await self._pace(connection)
                self._receive(connection, data)
                await connection.drain()  # a client that asks and does not read is not read from
        except (ConnectionClosed, OSError):
            pass
        finally:
            self._subscribers.discard(connection)
            self._live.discard(connection)
            self._context.metrics.subscribers.dec()
            connection.release()

    async def _pace(self, subscriber: Subscriber) -> None:
        """Read no faster than a client may talk: what it says too fast waits in its own socket."""
        self._context.metrics.messages_received.inc()
        loop = asyncio.get_running_loop()
        while wait_s := self._messages.take(str(subscriber.id), loop.time()):
            self._context.metrics.messages_held_back.inc()
            await asyncio.sleep(wait_s)

    def _receive(self, subscriber: Subscriber, data: str | bytes) -> None:
        try:
            message = parse(data)
        except ProtocolError as error:
            subscriber.say(Error(code=error.code, message=str(error)).json_text())
            return
        if isinstance(message, Subscribe):
            self._subscribe(subscriber, message)
        elif isinstance(message, Ping):
            self._flush()  # whoever hears the pong has heard all that was published before it
            subscriber.say(Pong(id=message.id, at=wall(utc_now())).json_text())
        elif subscriber.busy >= self._limits.commands:
            wait = f"{subscriber.busy} commands of yours are being carried out; wait for their replies"
            subscriber.say(Error(id=message.id, code="busy", message=wait).json_text())
        else:
            subscriber.begin(self._carry_out(subscriber, message))

    async def _carry_out(self, subscriber: Subscriber, command: Command) -> None:
        loop = asyncio.get_running_loop()
        visitor, control = subscriber.visitor, self._context.control
        said = await loop.run_in_executor(self._commanding, execute, command, visitor, control)
        subscriber.say(said.json_text())

    def _subscribe(self, subscriber: Subscriber, message: Subscribe) -> None:
        self._flush()  # what was published before this message still goes by the old filter
        self._live.discard(subscriber)
        if subscriber.replay is not None:
            subscriber.replay.cancel()
            subscriber.replay = None
        # Where the client says itself where to begin, nothing is lost; else it is told when it reads again.
        self._count_dropped(subscriber.forget_backlog(announce=message.since is None))
        answer_log = self._context.log
        place = Place(answer_log.epoch, answer_log.first_seq, answer_log.last_seq)
        gap = subscriber.session.subscribe(message, place, self._published)
        if gap is not None:
            subscriber.say(gap.json_text())
        if self._join(subscriber) is not None:
            subscriber.replay = asyncio.create_task(self._replays.run(subscriber, self._join))

    def _join(self, subscriber: Subscriber) -> int | None:
        """Let it go live if it has all that was published: None. Else the newest number that was."""
        self._flush()  # what is pending goes to the others: it has that already, or will read it
        if not subscriber.session.join(self._published):
            return self._published
        if subscriber.is_open:
            self._live.add(subscriber)
        return None

    def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        if not self._pending:
            return
        records, self._pending = self._pending, []
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        sent, dropped = self._live.deliver(Burst(records))
        self._count_dropped(dropped)
        metrics, took_s = self._context.metrics, loop.time() - began_at
        metrics.messages_sent.inc(sent)
        metrics.flush_seconds.observe(took_s)
        now_ns = time.monotonic_ns()
        for record in records:
            if record.captured_ns is not None:
                delay = metrics.capture_to_delivery_seconds.labels(record.payload["source"])
                delay.observe((now_ns - record.captured_ns) / NS_PER_S)
        self._rest_s = self._limits.rest_s(took_s)
        self._busy_until = began_at + took_s + self._rest_s

    def _on_resume(self, subscriber: Subscriber) -> None:
        """Its socket takes data again: the gap, then what was kept."""
        gap, frames = subscriber.backlog.take()
        first = [frame(gap.json_text())] if gap is not None else []
        subscriber.write(b"".join(first + frames))
        self._context.metrics.messages_sent.inc(len(frames))

    def _count_dropped(self, count: int) -> None:
        if count:
            self._context.metrics.messages_dropped.inc(count)

    async def _watch_subscribers(self) -> None:
        """Cut off who is stalled, tell the others that all is well."""
        loop = asyncio.get_running_loop()
        heartbeat_at = loop.time() + self._limits.heartbeat_s
        while True:
            await asyncio.sleep(min(self._limits.stall_s / 5, self._limits.heartbeat_s))
            now = loop.time()
            for subscriber in list(self._subscribers):
                size = subscriber.transport.get_write_buffer_size()
                if subscriber.stalled_s(now) > self._limits.stall_s or size > self._limits.buffer_bytes:
                    self._context.metrics.subscribers_aborted.inc()
                    subscriber.transport.abort()
            if now >= heartbeat_at:
                heartbeat_at = now + self._limits.heartbeat_s
                self._send_heartbeats()

    def _send_heartbeats(self) -> None:
        self._flush()  # the heartbeat says that everything up to here has been sent
        data = frame(Heartbeat(last_seq=self._published, at=wall(utc_now())).json_text())
        for subscriber in self._live:
            # Only where it is true; a client may take it for its place in the log.
            if not subscriber.holds_back:
                subscriber.write(data)
