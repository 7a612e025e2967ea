"""Every record once and in order, or named as missing: random lives of servers and subscribers, with `kill -9`.

A schedule is a list of steps drawn from a seed: publish, disconnect, come back with `since` or `Last-Event-ID`, read
slowly or not at all, kill the server and start it anew on the same log. Whatever happened, what a subscriber has read
or been told is missing is, in the end, what the log holds.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.cli.process import ENVIRONMENT

SCHEDULES = 100
STEPS = 25
TIMEOUT_S = 20.0
ROOT = Path(__file__).resolve().parents[2]


class Server:
    """The server process of a schedule, as often as it is killed."""

    def __init__(self, path: Path) -> None:
        self.path, self.port, self.last_seq = path, 0, 0
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.server.publisher", str(self.path), str(self.port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def publish(self, count: int, wait: bool = True) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        if wait:
            self.last_seq = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


class Subscriber:
    """What one subscriber has read, and has been told that it will never get."""

    def __init__(self, sources: list[str] | None) -> None:
        self.sources = sources
        self.seen: list[int] = []
        self.missing: set[int] = set()
        self.place = 0
        self.epoch: str | None = None

    def wants(self, seq: int) -> bool:
        return self.sources is None or "ab"[seq % 2] in self.sources

    def take(self, message: dict[str, object]) -> None:
        if message["type"] == "hello":
            self.epoch = str(message["epoch"])
        elif message["type"] == "gap":
            assert message["reason"] == "slow", message  # nothing is deleted here, and there is one log
            first, last = int(str(message["from"])), int(str(message["to"]))
            assert first > self.place
            self.missing |= set(range(first, last + 1))
            self.place = last
        elif message["type"] == "answer":
            seq = int(str(message["seq"]))
            assert seq > self.place, f"{seq} after {self.place}: twice, or out of order"
            assert self.wants(seq)
            self.seen.append(seq)
            self.place = seq

    def check(self, last_seq: int) -> None:
        wanted = [seq for seq in range(1, last_seq + 1) if self.wants(seq) and seq not in self.missing]
        assert self.seen == wanted


class ByWebsocket(Subscriber):
    def __init__(self, sources: list[str] | None) -> None:
        super().__init__(sources)
        self.connection: ClientConnection | None = None

    def connect(self, port: int) -> None:
        if self.connection is None:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", port))
            self.connection = connect(
                f"ws://127.0.0.1:{port}/ws", sock=sock, compression=None, proxy=None, max_queue=2, legacy=True
            )
            request = {"type": "subscribe", "since": self.place, "epoch": self.epoch, "sources": self.sources}
            self.connection.send(json.dumps(request))

    def read(self, count: int) -> None:
        for _ in range(count if self.connection else 0):
            assert self.connection is not None
            try:
                self.take(json.loads(self.connection.recv(0.02)))
            except TimeoutError:
                return
            except ConnectionClosed:
                self.disconnect()
                return

    def disconnect(self) -> None:
        if self.connection is not None:
            self.connection.socket.close()  # as a cable that is pulled
            self.connection.close()
        self.connection = None


class ByEvents(Subscriber):
    def __init__(self, sources: list[str] | None) -> None:
        super().__init__(sources)
        self.sock: socket.socket | None = None
        self.rest = b""
        self.last_id = ""

    def connect(self, port: int) -> None:
        if self.sock is not None:
            return
        self.sock, self.rest = socket.create_connection(("127.0.0.1", port), TIMEOUT_S), b""
        query = "&".join(f"source={name}" for name in self.sources or [])
        place = f"Last-Event-ID: {self.last_id}\r\n" if self.last_id else ""
        since = "" if self.last_id else "since=0&"
        head = f"GET /events?{since}{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n{place}\r\n"
        self.sock.sendall(head.encode())

    def read(self, count: int) -> None:
        for _ in range(count if self.sock else 0):
            assert self.sock is not None
            self.sock.settimeout(0.02)
            try:
                data = self.sock.recv(4096)
            except TimeoutError:
                return
            except OSError:
                data = b""
            if not data:
                self.disconnect()
                return
            self.rest += data
            while b"\n\n" in self.rest:
                block, _, self.rest = self.rest.partition(b"\n\n")
                self._block(block.decode())

    def _block(self, block: str) -> None:
        for line in block.splitlines():
            field, _, value = line.partition(": ")
            if field == "data":
                self.take(json.loads(value))
            elif field == "id":
                self.last_id = value

    def disconnect(self) -> None:
        if self.sock is not None:
            self.sock.close()
        self.sock = None


class Life:
    """One schedule."""

    def __init__(self, seed: int, path: Path) -> None:
        self.chance = random.Random(seed)
        self.server = Server(path)
        self.subscribers: list[ByWebsocket | ByEvents] = [
            ByWebsocket(None), ByWebsocket(["a"]), ByEvents(None), ByEvents(["b"]),
        ]  # fmt: skip

    def step(self) -> None:
        one = self.chance.choice(self.subscribers)
        what = self.chance.choices(
            ("publish", "burst", "connect", "read", "disconnect", "kill"), (8, 3, 8, 10, 4, 2)
        )[0]
        if what == "publish":
            self.server.publish(self.chance.randint(1, 5))
        elif what == "burst":
            self.server.publish(self.chance.randint(50, 150))
        elif what == "connect":
            one.connect(self.server.port)
        elif what == "read":
            one.read(self.chance.randint(1, 200))
        elif what == "disconnect":
            one.disconnect()
        else:
            self.server.publish(self.chance.randint(1, 100), wait=False)  # killed in the middle of it
            self.server.kill()
            self.server.start()

    def end(self) -> None:
        """Everybody gets the chance to read all there is."""
        self.server.publish(2)  # one of each source
        for one in self.subscribers:
            for _ in range(4000):
                one.connect(self.server.port)
                one.read(50)
                last = self.server.last_seq
                if one.place >= (last if one.wants(last) else last - 1):
                    break
            one.check(self.server.last_seq)

    def close(self) -> None:
        for one in self.subscribers:
            one.disconnect()
        self.server.kill()


@pytest.mark.parametrize(
    "seed", [pytest.param(n, marks=[] if n % 10 == 0 else [pytest.mark.slow]) for n in range(SCHEDULES)]
)
def test_each_record_comes_once_and_in_order_or_is_named(seed: int, tmp_path: Path) -> None:
    life = Life(seed, tmp_path / "answers.db")
    try:
        for _ in range(STEPS):
            life.step()
        life.end()
    finally:
        life.close()
