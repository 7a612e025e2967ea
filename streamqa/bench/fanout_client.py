"""Subscribers that really read, thousands in one process: the other end of `bench fanout`.

    python -m streamqa.bench.fanout_client

Reads orders as JSON lines on stdin and answers each by one on stdout. It speaks just enough of the websocket
protocol, by epoll, since a client library would be the slower end of what is measured.
"""

from __future__ import annotations

import json
import resource
import select
import socket
import sys
import time
from typing import Any

from streamqa.bench.fanout_frames import Reader
from streamqa.bench.stats import percentile

_TIMED = 50  # connections whose every message is timed and checked
_READ_BYTES = 256 * 1024
_QUIET_S = 3.0  # without a byte, then nothing more will come
_OPEN_TIMEOUT_S = 20.0
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class Crowd:
    """Every connection of the process."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._readers: dict[int, Reader] = {}
        self._stalled: list[socket.socket] = []

    def connect(self, port: int, path: str, subscribers: int, stalled: int, say: str) -> dict[str, Any]:
        """Connect all; the first `stalled` of them will never read. `say` is each one's first message."""
        every = max(1, (subscribers - stalled) // _TIMED)
        for number in range(subscribers):
            stalls = number < stalled
            opened, rest = open_connection(port, path, say, small=stalls)
            if stalls:
                self._stalled.append(opened)
                continue
            reader = Reader(timed=number % every == 0)
            reader.feed(rest, time.monotonic_ns())
            self._sockets[opened.fileno()], self._readers[opened.fileno()] = opened, reader
            self._epoll.register(opened.fileno(), select.EPOLLIN)
        return {"connected": subscribers}

    def collect(self, messages: int, timeout_s: float) -> dict[str, Any]:
        """Read until every reader has so many more answers, or nothing comes any more."""
        wanted = {number: reader.answers + messages for number, reader in self._readers.items()}
        for reader in self._readers.values():
            reader.latencies_ns.clear()
        missing = set(wanted)
        until_s = time.monotonic() + timeout_s
        quiet_at_s = time.monotonic() + timeout_s
        while missing and time.monotonic() < min(until_s, quiet_at_s):
            for number, _ in self._epoll.poll(0.1):
                self._read(number)
                quiet_at_s = time.monotonic() + _QUIET_S
                if self._readers[number].answers >= wanted[number]:
                    missing.discard(number)
        timed = [ns / 1e6 for reader in self._readers.values() for ns in reader.latencies_ns]
        return {
            "lost": sum(max(0, wanted[n] - self._readers[n].answers) for n in wanted),
            "in_order": all(reader.in_order for reader in self._readers.values()),
            "p50_ms": percentile(timed, 0.5) if timed else None,
            "p99_ms": percentile(timed, 0.99) if timed else None,
        }

    def close(self) -> None:
        """Close every connection."""
        for opened in (*self._sockets.values(), *self._stalled):
            opened.close()
        self._epoll.close()

    def _read(self, number: int) -> None:
        try:
            data = self._sockets[number].recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._readers[number].feed(data, time.monotonic_ns())
        else:
            self._epoll.unregister(number)


def open_connection(port: int, path: str, say: str, small: bool) -> tuple[socket.socket, bytes]:
    """A connection after its handshake and first message, and what came behind the handshake."""
    opened = socket.socket()
    if small:  # one that stalls: little fits on its side
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.settimeout(_OPEN_TIMEOUT_S)
    opened.connect(("127.0.0.1", port))
    opened.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    data = b""
    while b"\r\n\r\n" not in data:
        piece = opened.recv(4096)
        if not piece:
            raise SystemExit(f"fanout_client: refused: {data[:200]!r}")
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    if b" 101 " not in head.split(b"\r\n")[0]:
        raise SystemExit(f"fanout_client: refused: {head[:200]!r}")
    if say:
        opened.sendall(_masked(say.encode()))
    opened.setblocking(False)
    return opened, rest


def _masked(text: bytes) -> bytes:
    """A text frame of a client, masked with zeros; at most 65,535 bytes."""
    size = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
    return b"\x81" + size + b"\0\0\0\0" + text


def main() -> None:
    """Carry out orders until stdin ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd = Crowd()
    for line in sys.stdin:
        order = json.loads(line)
        what = order.pop("do")
        found = crowd.connect(**order) if what == "connect" else crowd.collect(**order)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
