"""One port for HTTP and websockets: uvicorn accepts, and hands upgraded transports to the broadcaster.

Facts of uvicorn 0.54 that this file answers: it installs signal handlers (the pipeline owns signals); it waits for
ever for a request that was begun and not finished; it forgets handed-over connections, so ending them, and counting
them, is ours. Left to itself with one stalled client, shutting down took 19.5 s.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from streamqa.server.app import make_app
from streamqa.server.broadcast import Broadcaster
from streamqa.server.context import Limits, ServerContext
from streamqa.server.guard import Guard, Knock, Refusal
from streamqa.server.listen import Door
from streamqa.server.rate import client_key
from streamqa.server.subscriber import Subscriber

WEBSOCKET_PATH = "/ws"

_MAX_REQUEST_BYTES = 32 * 1024  # request line and headers
_NO_ROOM = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_CUT_S = 0.6  # after which those who do not take their responses are cut off when the server stops
_GRACE_S = 1.0  # for HTTP responses under way when the server stops


class Server:
    """HTTP and websockets on one port, in the running event loop."""

    def __init__(self, context: ServerContext, door: Door, limits: Limits | None = None) -> None:
        """`door` is bound already: a port in use is reported before anything heavy is loaded. Closed by `stop`."""
        self._limits = limits or Limits()
        self._host, self._socket, self.port = door.host, door.socket, door.port
        self._tls = door.locks.tls
        self._metrics = context.metrics
        rate = self._limits.requests_per_s, self._limits.requests_burst
        self._guard = Guard(self._host, self.port, door.locks, context.metrics, rate)
        self.broadcaster = Broadcaster(context, self._check, self._limits)
        self._http = _Http(self._config(context), self._tls, self._limits)
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where the page is, as a person on this machine would open it."""
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{f'[{shown}]' if ':' in shown else shown}:{self.port}/"

    async def start(self) -> None:
        """Serve. Returns once connections are taken."""
        await self.broadcaster.start()
        self._task = asyncio.create_task(self._http.serve(sockets=[self._socket]))
        ready = asyncio.create_task(self._http.ready.wait())
        await asyncio.wait({self._task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            await self._task  # raises what kept it from starting

    async def stop(self) -> None:
        """Close every connection, then the port; returns within 2 s. Does no harm without `start`, or twice."""
        for listener in self._http.listeners:
            listener.close()  # first, or a client that we send away is back before we are gone
        self._http.should_exit = True  # HTTP comes to its end beside the websockets
        # Before uvicorn gives up and cancels what is under way, with a traceback for each.
        cut = asyncio.get_running_loop().call_later(_CUT_S, self._http.abort_rest)
        await self.broadcaster.stop()
        if self._task is not None:
            await self._task
            self._http.abort_rest()
            await asyncio.sleep(0)  # what was cut off is closed by the loop, one round later
            self._task = None
        cut.cancel()
        self._socket.close()

    def _config(self, context: ServerContext) -> uvicorn.Config:
        return uvicorn.Config(
            make_app(context, self._guard, self.broadcaster, self._limits, is_tls=self._tls is not None),
            # Both may be any callable that makes a protocol, though they are annotated as classes.
            http=cast(Any, self._http_protocol),
            ws=cast(Any, self.broadcaster.connection),
            lifespan="off",
            log_config=None,
            log_level="warning",  # at debug, it writes whole URLs, in which somebody may have sent a token
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=_MAX_REQUEST_BYTES,
            limit_concurrency=self._limits.connections,
            timeout_graceful_shutdown=int(_GRACE_S),
        )

    def _http_protocol(self, **arguments: Any) -> H11Protocol:
        return _HttpConnection(self, self._limits, **arguments)

    @property
    def has_room(self) -> bool:
        """Whether one more websocket may begin."""
        return self.broadcaster.has_room

    def count_stalled(self) -> None:
        """A client took no byte of a response, and was cut off."""
        self._metrics.http_aborted.inc()

    def _check(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse websocket upgrades that do not belong here."""
        if request.path.partition("?")[0] != WEBSOCKET_PATH:
            return connection.respond(404, f"websockets are at {WEBSOCKET_PATH}\n")
        knock = _knock(connection, request)
        found = self._guard.admit(knock, time.monotonic())
        if isinstance(found, Refusal):
            response = connection.respond(found.status, f"{found.text}\n")
            for name, value in found.headers.items():
                response.headers[name] = value
            return response
        assert isinstance(connection, Subscriber)
        assert found is not None, "no websocket is open to strangers"
        connection.visitor = found
        self._guard.hold(knock, connection.transport)  # who logs out hears nothing more
        return None


def _knock(connection: ServerConnection, request: Request) -> Knock:
    path, _, query = request.path.partition("?")
    peer = connection.transport.get_extra_info("peername")
    return Knock("GET", path, query, peer[0] if peer else None, request.headers.get_all, is_websocket=True)


class _Http(uvicorn.Server):
    """uvicorn's server, without its signal handlers, and telling when it has started."""

    def __init__(self, config: uvicorn.Config, tls: ssl.SSLContext | None, limits: Limits) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.servers: list[asyncio.base_events.Server] = []
        self._tls = tls
        self._limits = limits

    @property
    def listeners(self) -> list[asyncio.base_events.Server]:
        """What accepts connections."""
        return self.servers

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening.

        Not uvicorn's own: it gives a TLS handshake that is never finished 60 s, and a client that does not answer
        the end of one 30 s.
        """
        config = self.config
        await self.lifespan.startup()

        def protocol() -> asyncio.Protocol:
            make = cast(Any, config.http_protocol_class)
            made: asyncio.Protocol = make(
                config=config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return made

        loop = asyncio.get_running_loop()
        is_plain = self._tls is None
        for listening in sockets or ():
            listener = await loop.create_server(
                protocol,
                sock=listening,
                backlog=config.backlog,
                ssl=self._tls,
                ssl_handshake_timeout=None if is_plain else self._limits.request_s,
                ssl_shutdown_timeout=None if is_plain else _GRACE_S,
            )
            self.servers.append(listener)
        self.started = True
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    def abort_rest(self) -> None:
        """Cut off HTTP clients that are still there after the grace."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class _HttpConnection(H11Protocol):
    """An HTTP connection whose requests must arrive in full within a time, and of which there are not too many."""

    def __init__(self, owner: Server, limits: Limits, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._owner = owner
        self._unsent, self._progress_at = 0, 0.0  # bytes, and when they became fewer
        self._stall_watch: asyncio.TimerHandle | None = None
        self.access_log = (
            False  # where its logger is listened to, uvicorn writes each URL, whatever its settings say
        )
        self._limits = limits
        self.key = ""  # whom it is counted for; "": this machine
        self._overdue: asyncio.TimerHandle | None = None
        self._handed_over = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """A client is there."""
        super().connection_made(transport)
        self._wait_for_rest()
        self.key = client_key(self.client[0] if self.client else None, None)
        of_mine = sum(getattr(other, "key", "") == self.key for other in self.connections) if self.key else 0
        # Up to the first number uvicorn answers 503; and no address takes all the room from the others.
        if len(self.connections) > 2 * self._limits.connections or 2 * of_mine > self._limits.connections:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Some bytes of a request came."""
        super().data_received(data)
        if self._handed_over:  # h11 still believes that a body is to come
            return
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._stop_waiting()
        elif self._overdue is None and not self.transport.is_closing():
            self._wait_for_rest()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """The transport goes over to the broadcaster."""
        self._stop_waiting()
        self._handed_over = True
        if self._owner.has_room:
            super().handle_websocket_upgrade(event)
            return
        self.transport.write(_NO_ROOM)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The socket is full (called by the transport): whoever takes no byte for a while is cut off."""
        super().pause_writing()
        self._unsent, self._progress_at = self.transport.get_write_buffer_size(), self.loop.time()
        self._stall_watch = self.loop.call_later(self._limits.stall_s / 5, self._look_for_progress)

    def resume_writing(self) -> None:
        """It takes data again (called by the transport)."""
        self._stop_watching()
        super().resume_writing()

    def _look_for_progress(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent < self._unsent:
            self._progress_at = self.loop.time()
        self._unsent = unsent
        if self.loop.time() - self._progress_at > self._limits.stall_s:
            self._owner.count_stalled()
            self.transport.abort()
            return
        self._stall_watch = self.loop.call_later(self._limits.stall_s / 5, self._look_for_progress)

    def _stop_watching(self) -> None:
        if self._stall_watch is not None:
            self._stall_watch.cancel()
            self._stall_watch = None

    def _wait_for_rest(self) -> None:
        self._overdue = self.loop.call_later(self._limits.request_s, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
