"""Clients that mean harm, against a server in a process of its own: refused, and the service goes on.

In each case a well-behaved subscriber of the same server gets every record meanwhile, in order.
"""

from __future__ import annotations

import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.server.test_exactly_once import Server

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MB = 1_000_000


class Good:
    """A subscriber that reads all the time."""

    def __init__(self, port: int) -> None:
        self.seen: list[int] = []
        self.changed = threading.Condition()
        self._port = port
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def _run(self) -> None:
        with connect(f"ws://127.0.0.1:{self._port}/ws", compression=None, proxy=None) as connection:
            connection.send(json.dumps({"type": "subscribe", "since": 0}))
            self._ready.set()
            while not self._stop.is_set():
                with suppress(TimeoutError):
                    message = json.loads(connection.recv(0.1))
                    if message["type"] == "answer":
                        with self.changed:
                            self.seen.append(message["seq"])
                            self.changed.notify_all()

    def has_all(self, last_seq: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.seen[-1:] == [last_seq], 20), self.seen[-3:]
        assert self.seen == list(range(1, last_seq + 1))

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "answers.db")
    with closing(Good(server.port)) as good:
        server.publish(10)
        good.has_all(10)
        yield server
        server.publish(10)
        good.has_all(server.last_seq)
    server.kill()


def memory_bytes(server: Server) -> int:
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()


def opened(server: Server, said: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port), 10)
    client.sendall(said)
    return client


def upgrade(server: Server) -> bytes:
    return (
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def ends(client: socket.socket, timeout_s: float = 15.0) -> bytes:
    """All that the server says until it ends the connection."""
    client.settimeout(timeout_s)
    said = b""
    with suppress(ConnectionError):
        while data := client.recv(65536):
            said += data
    return said


def pushed(client: socket.socket, data: bytes, times: int) -> int:
    """How often `data` could be sent before the server ended it."""
    client.settimeout(5)
    for count in range(times):
        try:
            client.sendall(data)
        except OSError:
            return count
    return times


def test_a_message_of_100_mb_is_refused_before_it_is_read(server: Server) -> None:
    before = memory_bytes(server)
    for size in (100 * MB, 2**62):
        with opened(server, upgrade(server)) as client:
            client.sendall(b"\x81\xff" + size.to_bytes(8, "big") + b"\0\0\0\0")
            pushed(client, b"x" * MB, 100)
            said = ends(client)
            assert not said or b"\x88" in said  # a close frame (1009), where it came through
    fragment = b"\x01\xfe\xff\xff\0\0\0\0" + b"x" * 65535  # of a message that never ends
    with opened(server, upgrade(server) + fragment) as client:
        assert pushed(client, b"\x00\xfe\xff\xff\0\0\0\0" + b"x" * 65535, 1000) < 1000
    assert memory_bytes(server) - before < 10 * MB


def test_endless_headers_are_refused(server: Server) -> None:
    before = memory_bytes(server)
    start = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    for piece in (b"X-A: " + b"a" * 8000 + b"\r\n", b"a" * 65536, b"a: b\r\n" * 5000):
        with opened(server, start) as client:
            assert pushed(client, piece, 2000) < 2000
    with opened(server, start + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n") as client:
        assert b"200 OK" not in ends(client)[:20]
    assert memory_bytes(server) - before < 10 * MB


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",  # TLS where there is none
        b"\0" * 4096,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ],
)
def test_garbage_is_refused(server: Server, said: bytes) -> None:
    with opened(server, said) as client:
        heard = ends(client)
        assert not heard.startswith((b"HTTP/1.1 101", b"HTTP/1.1 200"))


@pytest.mark.parametrize(
    ("garbage", "why"),
    [
        (b"\xff" * 100, b"invalid opcode"),
        (b"\x83\x80\0\0\0\0", b"invalid opcode"),
        (b"\x81\x05hello", b"incorrect masking"),
        (b"\xc1\x80\0\0\0\0", b"reserved bits must be 0"),
        (b"\x89\xfe\x00\x80" + b"\0" * 132, b"control frame too long"),
    ],
)
def test_garbage_behind_the_handshake_ends_the_connection(server: Server, garbage: bytes, why: bytes) -> None:
    with opened(server, upgrade(server)) as client:
        assert client.recv(12) == b"HTTP/1.1 101"
        client.sendall(garbage)
        assert ends(client).endswith(b"\x03\xea" + why)  # 1002


def test_clients_that_leave_while_they_are_written_to_never_end_the_publisher(server: Server) -> None:
    subscribe = b"\x81\xa0\0\0\0\0" + b'{"type": "subscribe", "since":0}'
    assert len(subscribe) == 6 + 32
    stop = threading.Event()

    def leaving(how: Callable[[socket.socket], None]) -> None:
        while not stop.is_set():
            with suppress(OSError), opened(server, upgrade(server) + subscribe) as client:
                client.recv(200)
                how(client)

    def reset(client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    ways: list[Callable[[socket.socket], None]] = [
        lambda client: client.sendall(b"\x88\x80\0\0\0\0"),  # a close frame, and gone
        lambda client: client.shutdown(socket.SHUT_WR),
        reset,
    ]
    threads = [threading.Thread(target=leaving, args=[how], daemon=True) for how in ways]
    for thread in threads:
        thread.start()
    for _ in range(20):
        server.publish(25)
    stop.set()
    for thread in threads:
        thread.join(10)


def test_pings_as_fast_as_they_go_starve_nobody(server: Server) -> None:
    stop = threading.Event()

    def flood() -> None:
        with suppress(OSError), opened(server, upgrade(server)) as client:
            client.settimeout(0.2)
            pings = b"\x89\x80\0\0\0\0" * 500
            while not stop.is_set():
                with suppress(TimeoutError):
                    client.sendall(pings)
                with suppress(TimeoutError):
                    client.recv(65536)

    def talk() -> None:
        with suppress(OSError), opened(server, upgrade(server)) as client:
            client.settimeout(0.2)
            said = b"\x81\x90\0\0\0\0" + b'{"type": "ping"}'
            while not stop.is_set():
                with suppress(TimeoutError):
                    client.sendall(said * 100)  # and never reads

    threads = [threading.Thread(target=one, daemon=True) for one in (flood, talk)]
    for thread in threads:
        thread.start()
    before = memory_bytes(server)
    until_s = time.monotonic() + 2
    while time.monotonic() < until_s:
        server.publish(5)
    stop.set()
    for thread in threads:
        thread.join(10)
    assert memory_bytes(server) - before < 20 * MB


@pytest.mark.parametrize("count", [1500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_more_connections_than_there_is_room_for(server: Server, count: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < count + 200:
        pytest.skip(f"needs {count + 200} file descriptors, this machine gives {most}")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 200), most))
    storm(server, count)
    before = memory_bytes(server)  # what so many at once take (10,000: 110 MB) is kept for the next time
    storm(server, count)
    assert memory_bytes(server) - before < 30 * MB


def storm(server: Server, count: int) -> None:
    """So many connections at once, none of which reads; then they are gone."""
    said = upgrade(server)
    with ExitStack() as held:
        accepted = 0
        for number in range(count):
            try:
                client = held.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
                client.sendall(said)
                if number % 25 == 0:
                    accepted += client.recv(12) == b"HTTP/1.1 101"
            except ConnectionError:  # cut off: there is no more room
                continue
        assert accepted * 25 <= 1025  # of 1,000 that are allowed
        server.publish(5)
