"""Fan-out: every record to every subscriber that wants it, and never a wait for one of them.

A record's frame is built once. Where fan-out would take more than a fifth of the loop's time, what is published
within 20 ms shares one write per subscriber (measured: 744 k deliveries per core-second with eight in a write, 94 k
with one, 68 k with `websockets.broadcast`); for a few subscribers nothing waits, where a fixed 20 ms had cost each
answer 10 ms. A subscriber whose socket is full gets a bounded backlog, then a `gap`; one that takes no byte for 5 s
is cut off. `websockets` alone does neither: a client that stopped reading grew its buffer to 64 MB in 14 s, and its
keepalive waits for the same full buffer (measured with 17.4).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from streamqa.errors import ProtocolError
from streamqa.server.context import Limits, ServerContext
from streamqa.server.guard import SUBPROTOCOL
from streamqa.server.messages import Error, Heartbeat, Hello, Pong, about, wall
from streamqa.server.protocol import Ping, Subscribe, parse
from streamqa.server.session import Backlog, Filter, Place, Session
from streamqa.server.visitor import LOCAL, Visitor
from streamqa.sinks.base import Logged
from streamqa.sinks.log import to_json
from streamqa.sinks.query import Query
from streamqa.types import utc_now

log = logging.getLogger(__name__)

# At level DEBUG `websockets` logs every header that comes, and with them the tokens.
_wire_log = log.getChild("wire")
_wire_log.setLevel(logging.INFO)
_SUBPROTOCOL = Subprotocol(SUBPROTOCOL)
_SEND_BUFFER_BYTES = 64 * 1024
_READERS = 4  # pages being read from the log at once: after a restart every subscriber comes back together

Check = Callable[[ServerConnection, Request], Response | None]  # None lets the websocket upgrade through


def frame(text: str) -> bytes:
    """A text message as it goes over the socket, the same bytes for every subscriber."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


class Subscriber(ServerConnection):
    """A websocket connection with its place in the log and what waits for it."""

    def __init__(
        self, server: WebSocketServer, limits: Limits, on_resume: Callable[[Subscriber], None]
    ) -> None:
        super().__init__(
            ServerProtocol(
                max_size=limits.message_bytes,
                # Not `subprotocols=[…]`: that would refuse all who offer none. What else is offered is a token.
                select_subprotocol=lambda _, offered: _SUBPROTOCOL if _SUBPROTOCOL in offered else None,
                logger=_wire_log,
            ),
            server,
            ping_interval=limits.ping_s,
            ping_timeout=limits.ping_s,
            close_timeout=limits.stop_s,
        )
        self.visitor: Visitor = LOCAL  # set by the check, before anything is said
        self.session = Session()
        self.backlog: Backlog[bytes] = Backlog(limits.backlog)
        self.replay: asyncio.Task[None] | None = None
        self._on_resume = on_resume
        self._written = 0  # bytes given to the transport by `write`
        self._drained = 0  # the most of them that were ever seen to have left it
        self._progress_at = self.loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A transport is ours now (called by uvicorn's protocol)."""
        # Measured: the kernel took 4 MB for a client that did not read before its transport paused.
        with suppress(OSError, AttributeError):
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES
            )
        super().connection_made(transport)

    @property
    def is_open(self) -> bool:
        """Whether a frame may be written; after our close frame, a write would raise and harm the publisher."""
        return self.protocol.state is State.OPEN and not self.transport.is_closing()

    def write(self, data: bytes) -> None:
        """Hand frames to the transport, without waiting."""
        if data and self.is_open:
            self._written += len(data)
            self.transport.write(data)

    def resume_writing(self) -> None:
        """The socket takes data again (called by the transport)."""
        super().resume_writing()
        self._on_resume(self)

    def stalled_s(self, now: float) -> float:
        """Seconds since a byte last left a buffer that is not empty; 0 when it is empty."""
        waiting = self.transport.get_write_buffer_size()
        drained = self._written - waiting
        if waiting == 0 or drained > self._drained:
            self._drained = max(drained, self._drained)
            self._progress_at = now
        return now - self._progress_at


class Broadcaster:
    """Every subscriber of one log. All methods belong to the event loop that called `start`.

    `connection` makes the protocol that uvicorn hands an upgraded transport to.
    """

    def __init__(self, context: ServerContext, check: Check, limits: Limits) -> None:
        self._context = context
        self._check = check
        self._limits = limits
        self._subscribers: set[Subscriber] = set()
        self._pending: list[Logged] = []  # published, not yet written
        self._published = context.log.last_seq
        self._flush_again_at = float("-inf")
        self._flush_timer: asyncio.TimerHandle | None = None
        self._readers = asyncio.Semaphore(_READERS)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._websockets: WebSocketServer | None = None
        self._watch: asyncio.Task[None] | None = None

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
        return Subscriber(self._websockets, self._limits, self._on_resume)

    def publish(self, records: Sequence[Logged]) -> None:
        """Send records that are durable, in the order of their numbers. Never waits, never raises."""
        if not records:
            return
        self._pending.extend(records)
        self._published = max(self._published, *(record.seq or 0 for record in records))
        if self._flush_timer is None:
            loop = asyncio.get_running_loop()
            wait_s = self._flush_again_at - loop.time()
            if wait_s <= 0:
                self._flush()
            else:
                self._flush_timer = loop.call_later(wait_s, self._flush)

    async def stop(self) -> None:
        """Send what is pending, close every connection with 1001; returns within `stop_s` and a second."""
        if self._websockets is None:
            return
        self._flush()
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
        self._websockets = None
        if self._folder is not None:
            self._folder.cleanup()

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
            connection.write(frame(self._hello().json_text()))
            async for data in connection:
                self._receive(connection, data)
                await connection.drain()  # a client that asks and does not read is not read from
        except (ConnectionClosed, OSError):
            pass
        finally:
            self._subscribers.discard(connection)
            self._context.metrics.subscribers.dec()
            if connection.replay is not None:
                connection.replay.cancel()

    def _hello(self) -> Hello:
        answer_log, context = self._context.log, self._context
        return Hello(
            epoch=answer_log.epoch,
            first_seq=answer_log.first_seq,
            last_seq=self._published,
            at=wall(utc_now()),
            **about(context.sources(), context.questions(), context.model()),
        )

    def _receive(self, subscriber: Subscriber, data: str | bytes) -> None:
        try:
            message = parse(data)
        except ProtocolError as error:
            subscriber.write(frame(Error(code=error.code, message=str(error)).json_text()))
            return
        if isinstance(message, Subscribe):
            self._subscribe(subscriber, message)
        elif isinstance(message, Ping):
            subscriber.write(frame(Pong(id=message.id, at=wall(utc_now())).json_text()))
        else:
            said = Error(id=message.id, code="unknown_type", message=f"{message.type} is not there yet")
            subscriber.write(frame(said.json_text()))

    def _subscribe(self, subscriber: Subscriber, message: Subscribe) -> None:
        self._flush()  # what was published before this message still goes by the old filter
        if subscriber.replay is not None:
            subscriber.replay.cancel()
            subscriber.replay = None
        if message.since is None:
            self._count_dropped(subscriber.backlog.drop())  # announced when the client reads again
        else:
            subscriber.backlog.clear()  # the client says itself where to begin
        answer_log = self._context.log
        place = Place(answer_log.epoch, answer_log.first_seq, answer_log.last_seq)
        gap = subscriber.session.subscribe(message, place, self._published)
        if gap is not None:
            subscriber.write(frame(gap.json_text()))
        if subscriber.session.phase == "replay":
            subscriber.replay = asyncio.create_task(self._replay(subscriber))

    async def _replay(self, subscriber: Subscriber) -> None:
        """Pages from the log until nothing published is missing; waits for the client, with the log's own pages."""
        session, limit = subscriber.session, self._limits.replay_batch
        try:
            while subscriber.is_open:
                await subscriber.drain()
                if session.join(self._published):
                    return
                published = self._published  # before reading: the log has all of this
                wanted = session.filter
                async with self._readers:
                    page = await asyncio.to_thread(
                        self._context.log.page,
                        session.cursor,
                        limit,
                        Query(wanted.sources, wanted.questions, wanted.types),
                    )
                gap = session.replayed(page.first_seq, [seq for seq, _ in page.rows], limit, published)
                texts = [gap.json_text()] if gap is not None else []
                texts += [text for _, text in page.rows]
                subscriber.write(b"".join(map(frame, texts)))
                self._context.metrics.messages_sent.inc(len(texts))
        except (ConnectionClosed, OSError):
            return
        except sqlite3.Error as error:
            log.error("replay failed: %s", error)
            subscriber.write(frame(Error(code="internal", message="the log cannot be read").json_text()))
            with suppress(ConnectionClosed):
                await subscriber.close(1011, "the log cannot be read")

    def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        if not self._pending:
            return
        records, self._pending = self._pending, []
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        burst = _Burst(records)
        sent = 0
        for subscriber in self._subscribers:
            if subscriber.session.phase == "live":
                sent += self._deliver(subscriber, burst)
        self._context.metrics.messages_sent.inc(sent)
        now = loop.time()
        self._flush_again_at = now + self._limits.rest_s(now - began_at)

    def _deliver(self, subscriber: Subscriber, burst: _Burst) -> int:
        """Give one live subscriber what it wants of a burst; returns how many messages were written."""
        session = subscriber.session
        wanted, data = burst.wanted(session.filter)
        if session.cursor >= burst.first_seq:  # it joined in the middle of this burst
            wanted = [(seq, text) for seq, text in wanted if seq > session.cursor]
            data = b"".join(text for _, text in wanted)
        session.handed_over(burst.last_seq)
        if not wanted:
            return 0
        if subscriber.paused or subscriber.backlog:
            dropped = sum(subscriber.backlog.push(seq, text) for seq, text in wanted)
            self._count_dropped(dropped)
            return 0
        try:
            subscriber.write(data)
        except (
            RuntimeError,
            OSError,
        ) as error:  # one broken connection must not keep the others from their answers
            log.warning("cutting off a subscriber: %s", error)
            subscriber.transport.abort()
            return 0
        return len(wanted)

    def _on_resume(self, subscriber: Subscriber) -> None:
        """Its socket takes data again: the gap, then what was kept."""
        if not subscriber.backlog:
            return
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
        for subscriber in self._subscribers:
            # Only where it is true; a client may take it for its place in the log.
            if subscriber.session.phase == "live" and not subscriber.paused:
                subscriber.write(data)


class _Burst:
    """Records that are written together; per filter, their frames are joined once."""

    def __init__(self, records: Sequence[Logged]) -> None:
        numbers = [record.seq for record in records if record.seq is not None]
        self.first_seq, self.last_seq = min(numbers, default=0), max(numbers, default=0)
        self._frames = [(record, frame(to_json(record.payload))) for record in records]
        self._by_filter: dict[Filter, tuple[list[tuple[int, bytes]], bytes]] = {}

    def wanted(self, chosen: Filter) -> tuple[list[tuple[int, bytes]], bytes]:
        """The matching frames by number, and all of them as one piece."""
        if chosen not in self._by_filter:
            frames = [
                (record.seq or 0, data) for record, data in self._frames if chosen.matches(record.payload)
            ]
            self._by_filter[chosen] = frames, b"".join(data for _, data in frames)
        return self._by_filter[chosen]
