"""One websocket connection: its place in the log, what waits for it, and whether it reads."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from streamqa.server.context import Limits
from streamqa.server.guard import SUBPROTOCOL
from streamqa.server.session import Backlog, Session
from streamqa.server.visitor import LOCAL, Visitor

# At level DEBUG `websockets` logs every header that comes, and with them the tokens.
_wire_log = logging.getLogger(__name__).getChild("wire")
_wire_log.setLevel(logging.INFO)
_SUBPROTOCOL = Subprotocol(SUBPROTOCOL)
_SEND_BUFFER_BYTES = 64 * 1024


def frame(text: str) -> bytes:
    """A text message as it goes over the socket, the same bytes for every subscriber."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


class Flow:
    """Bytes that were written to each of some connections alike, counted once for all of them."""

    __slots__ = ("written",)

    def __init__(self) -> None:
        self.written = 0


class Subscriber(ServerConnection):
    """A websocket connection with its place in the log and what waits for it."""

    def __init__(
        self,
        server: WebSocketServer,
        limits: Limits,
        on_pause: Callable[[Subscriber], None],
        on_resume: Callable[[Subscriber], None],
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
        self.replay: asyncio.Task[None] | None = None
        self._backlog: Backlog[bytes] | None = None  # most never need one
        self._backlog_size = limits.backlog
        self._tasks: set[asyncio.Task[None]] | None = None  # commands that are being carried out
        self._on_pause, self._on_resume = on_pause, on_resume
        self._written = 0  # bytes given to the transport, but for those of the present flow
        self._flow: Flow | None = None
        self._flow_base = 0
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

    @property
    def holds_back(self) -> bool:
        """Whether what comes has to wait: its socket is full, or something waits already."""
        return self.paused or bool(self._backlog)

    def enter(self, flow: Flow) -> None:
        """What is written to all of `flow` is written to it."""
        self._flow, self._flow_base = flow, flow.written

    def leave(self) -> None:
        """What is written to it is written to it alone."""
        self._written, self._flow = self._total(), None

    @property
    def backlog(self) -> Backlog[bytes]:
        """What waits for it."""
        if self._backlog is None:
            self._backlog = Backlog(self._backlog_size)
        return self._backlog

    def forget_backlog(self, announce: bool) -> int:
        """Drop what waits for it; how many records that were, if it is to be told of them."""
        if not self._backlog:
            return 0
        if announce:
            return self._backlog.drop()
        self._backlog = None
        return 0

    def write(self, data: bytes) -> None:
        """Hand frames to the transport, without waiting."""
        if data and self.is_open:
            self._written += len(data)
            self.transport.write(data)

    def say(self, text: str) -> None:
        """Write one message."""
        self.write(frame(text))

    def pause_writing(self) -> None:
        """The socket is full (called by the transport)."""
        super().pause_writing()
        self._on_pause(self)

    def resume_writing(self) -> None:
        """The socket takes data again (called by the transport)."""
        super().resume_writing()
        if self._backlog:
            self._on_resume(self)

    def stalled_s(self, now: float) -> float:
        """Seconds since a byte last left a buffer that is not empty; 0 when it is empty."""
        waiting = self.transport.get_write_buffer_size()
        drained = self._total() - waiting
        if waiting == 0 or drained > self._drained:
            self._drained = max(drained, self._drained)
            self._progress_at = now
        return now - self._progress_at

    def _total(self) -> int:
        """Bytes given to the transport."""
        return self._written + (self._flow.written - self._flow_base if self._flow else 0)

    @property
    def busy(self) -> int:
        """How many of its commands are being carried out."""
        return len(self._tasks) if self._tasks else 0

    def begin(self, command: Coroutine[Any, Any, None]) -> None:
        """Carry out a command beside what else it says."""
        task = asyncio.create_task(command)
        self._tasks = self._tasks or set()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def release(self) -> None:
        """It is gone: nothing is read or replayed for it any more. What it has begun is carried out, unheard."""
        if self.replay is not None:
            self.replay.cancel()
        self._backlog = None
