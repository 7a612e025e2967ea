"""A relay on this machine for one source or webhook, through which it reaches what it may and nothing else.

FFmpeg follows redirections and playlists to anywhere, and resolves a name again after it was checked. With
`http_proxy` set it asks this relay for each connection instead, for http, https (by CONNECT) and the segments of HLS
alike (tried with FFmpeg 8.1); here the name is resolved, its addresses are checked, and one of those is connected to.
"""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import suppress

from streamqa.capture.reach import Reach
from streamqa.capture.resolve import addresses_of
from streamqa.errors import NoAddress, NotAllowed
from streamqa.loops import LeavingLoop

_MOST_HEAD_BYTES = 64 * 1024
_MOST_CONNECTIONS = 32
_CHUNK_BYTES = 64 * 1024
_ENDLESS = 2**63
_LENGTH = re.compile(rb"(?i)^content-length:[ \t]*([0-9]{1,15})[ \t]*\r?$", re.MULTILINE)
_REQUEST = re.compile(
    rb"(?P<method>[A-Z]+) (?:http://)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
    rb"(?P<path>/\S*)? HTTP/1\.[01]"
)


class Relay:
    """Runs in a thread of its own from `start` to `close`.

    Bounded: so many connections at once, more are refused; each holds a chunk in each direction and waits for whoever
    is slower. `refusal` says what it refused last, and `is_final` whether it would refuse the same again.
    """

    def __init__(self, reach: Reach, timeout_s: float) -> None:
        self.refusal, self.is_final = "", False
        self._reach = reach
        self._timeout_s = timeout_s
        self._loop = LeavingLoop()
        self._server: asyncio.Server | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> str:
        """Listen; returns the address of this proxy."""
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_MOST_HEAD_BYTES)
        )
        port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()
        return f"http://127.0.0.1:{port}"

    def close(self) -> None:
        """Cut all connections; may be called twice."""
        if self._thread is not None:
            ending = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
            with suppress(TimeoutError):
                ending.result(self._timeout_s)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(self._timeout_s)
            self._thread = None
        if not self._loop.is_running():
            self._loop.close()

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # what they closed is closed by the loop, one round later

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if len(self._tasks) > _MOST_CONNECTIONS:
                self._refuse(writer, "too many connections at once", is_final=False)
            else:
                async with asyncio.timeout(self._timeout_s):
                    head = await reader.readuntil(b"\r\n\r\n")
                await self._pass_on(head, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # either side is gone, or says nothing sensible; FFmpeg tells what that means to it
        except asyncio.CancelledError:
            # By `close`; a task that ends so would be told as a mistake (Python 3.11). What is unsent would be waited
            # for, by nobody.
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _pass_on(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, _, rest = head.partition(b"\r\n")
        found = _REQUEST.fullmatch(line)
        if found is None:
            self._refuse(writer, "an address that can be read in two ways")
            return
        is_tunnel = found["method"] == b"CONNECT"
        port = int(found["port"] or (443 if is_tunnel else 80))
        try:
            there = await self._connected(found["host"].decode().strip("[]"), port)
        except NotAllowed as error:
            self._refuse(writer, str(error), is_final=not isinstance(error, NoAddress))
            return
        if there is None:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        if is_tunnel:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:  # one request for each connection: the next one may be for another host
            request = b" ".join((found["method"], found["path"] or b"/", b"HTTP/1.1"))
            there[1].write(b"\r\n".join((request, _once(rest))))
        asking = self._loop.create_task(
            self._hand_on(reader, there[1], None if is_tunnel else _body_bytes(rest))
        )
        try:
            await _pump(there[0], writer)
        except asyncio.CancelledError:
            there[1].transport.abort()
            raise
        finally:
            asking.cancel()
            there[1].close()

    async def _hand_on(
        self, reader: asyncio.StreamReader, there: asyncio.StreamWriter, most: int | None
    ) -> None:
        """What the client says. Once it has gone, the other side has a while to come to its end, too.

        Nothing else would notice: a server that hangs would hold its connection here for ever.
        """
        await _pump(reader, there, most)
        with suppress(OSError):
            while await reader.read(_CHUNK_BYTES):
                pass
        await asyncio.sleep(self._timeout_s)
        there.transport.abort()

    async def _connected(
        self, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Connect to an address of `host` that was checked; None: none of them answers."""
        addresses = await asyncio.to_thread(addresses_of, self._reach, host, port)
        async with asyncio.timeout(self._timeout_s):
            for address in addresses:
                with suppress(OSError):
                    return await asyncio.open_connection(str(address), port)
        return None

    def _refuse(self, writer: asyncio.StreamWriter, why: str, *, is_final: bool = True) -> None:
        self.refusal, self.is_final = why, is_final
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def _once(headers: bytes) -> bytes:
    """The headers of a request, changed so that the connection ends with its answer."""
    kept = [
        line
        for line in headers.split(b"\r\n")
        if not line.lower().startswith((b"connection:", b"proxy-")) and line
    ]
    return b"\r\n".join([*kept, b"Connection: close", b"", b""])


def _body_bytes(headers: bytes) -> int:
    """How long the body of a request is; a body of which that is not said is not handed on."""
    found = _LENGTH.search(headers)
    return 0 if found is None else int(found[1])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None = None) -> None:
    """Hand bytes on until there are no more, as fast as whoever takes them; or so many and leave it open."""
    with suppress(OSError):
        left = _ENDLESS if most is None else most
        while left and (chunk := await reader.read(min(left, _CHUNK_BYTES))):
            writer.write(chunk)
            await writer.drain()
            left -= len(chunk)
        if most is None and writer.can_write_eof():
            writer.write_eof()
