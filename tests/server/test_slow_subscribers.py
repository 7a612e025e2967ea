"""Subscribers that read slowly, stop reading, or never read again, on raw sockets."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import time
from typing import Any


class Deaf:
    """A websocket client on a raw socket that reads only when told to."""

    def __init__(self, port: int, **subscription: Any) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", port))
        key = base64.b64encode(b"0123456789abcdef").decode()
        self.socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self.socket.recv(4096)
        self.buffer = self.buffer.partition(b"\r\n\r\n")[2]
        self.send(type="subscribe", **subscription)

    def send(self, **message: Any) -> None:
        data = json.dumps(message).encode()
        assert len(data) < 126
        self.socket.sendall(bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data)  # masked with zeros

    def read(self) -> dict[str, Any] | None:
        """The next message; None at the end, a reset included."""
        try:
            head = self._take(2)
            size = head[1]
            if size == 126:
                size = int.from_bytes(self._take(2))
            body = self._take(size)
        except (ConnectionError, EOFError):
            return None
        return json.loads(body) if head[0] == 0x81 else self.read()

    def _take(self, count: int) -> bytes:
        while len(self.buffer) < count:
            chunk = self.socket.recv(65536)
            if not chunk:
                raise EOFError
            self.buffer += chunk
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken


def test_a_client_that_stops_reading_gets_a_gap_that_equals_what_it_missed(
    make_site: Any, join: Any, answer: Any, seqs: Any
) -> None:
    site = make_site(backlog=10, coalesce_s=0.001, stall_s=30)

    async def scenario() -> None:
        async with site.running():
            deaf = await asyncio.to_thread(Deaf, site.server.port)
            async with join(site) as other:
                await other.synced()
                late = []
                for n in range(400):
                    site.publish(answer(n, text="x" * 2000))
                    start = time.monotonic()
                    await other.hear_until(n + 1)
                    late.append(time.monotonic() - start)
                assert sorted(late)[int(len(late) * 0.99)] < 0.5
                slow = next(s for s in site.server.broadcaster._subscribers if s.paused)
                assert len(slow.backlog) == 10
                assert slow.transport.get_write_buffer_size() < 256 * 1024

                heard = await asyncio.to_thread(read_until, deaf, 400)
                (gap,) = [message for message in heard if message["type"] == "gap"]
                assert gap["reason"] == "slow"
                got = seqs(heard)
                missed = list(range(gap["from"], gap["to"] + 1))
                assert got == [n for n in range(1, 401) if n not in set(missed)]
                assert len(missed) == site.count("messages_dropped_total")
                place = heard.index(gap)
                assert heard[place - 1]["seq"] == gap["from"] - 1  # it stands where the hole is
                assert heard[place + 1]["seq"] == gap["to"] + 1
                site.publish(answer(0))
                assert (await asyncio.to_thread(read_until, deaf, 401))[-1]["seq"] == 401
            deaf.socket.close()

    def read_until(deaf: Deaf, seq: int) -> list[dict[str, Any]]:
        heard: list[dict[str, Any]] = []
        while not heard or heard[-1].get("seq") != seq:
            message = deaf.read()
            assert message is not None
            heard.append(message)
        return [message for message in heard if message["type"] not in ("hello", "heartbeat")]

    asyncio.run(scenario())


def test_a_client_that_never_reads_again_is_cut_off(make_site: Any, join: Any, answer: Any) -> None:
    site = make_site(stall_s=0.4, coalesce_s=0.001)

    async def scenario() -> None:
        async with site.running():
            deaf = await asyncio.to_thread(Deaf, site.server.port)
            async with join(site) as other:
                await other.synced()
                async with asyncio.timeout(20):
                    n = 0
                    while not site.count("subscribers_aborted_total"):
                        n += 1
                        site.publish(answer(n, text="x" * 2000))
                        await other.hear_until(n)
                assert site.count("subscribers_aborted_total") == 1
                await asyncio.sleep(0)
                assert (await other.synced()) == []
                assert site.count("subscribers") == 1
            deaf.socket.close()

    asyncio.run(scenario())


def test_a_replay_to_a_client_that_does_not_read_is_cut_off_too(make_site: Any, answer: Any) -> None:
    site = make_site(stall_s=0.3)

    async def scenario() -> None:
        async with site.running():
            site.publish(*[answer(n, text="x" * 2000) for n in range(2000)])
            deaf = await asyncio.to_thread(Deaf, site.server.port, since=0)
            async with asyncio.timeout(20):
                while not site.count("subscribers_aborted_total"):  # noqa: ASYNC110 - a counter
                    await asyncio.sleep(0.02)
            deaf.socket.close()

    asyncio.run(scenario())


def test_a_slow_reader_is_not_a_stalled_one(make_site: Any, answer: Any) -> None:
    site = make_site(stall_s=0.8, replay_batch=16)

    def read_slowly(deaf: Deaf) -> int:
        for count in range(1, 301):
            message = deaf.read()
            assert message is not None, "cut off although it reads"
            if message.get("seq") == 250:
                return count
            time.sleep(0.005)
        raise AssertionError

    async def scenario() -> None:
        async with site.running():
            site.publish(*[answer(n, text="x" * 2000) for n in range(250)])
            deaf = await asyncio.to_thread(Deaf, site.server.port, since=0)
            assert await asyncio.to_thread(read_slowly, deaf) == 251  # hello and every record
            deaf.socket.close()

    asyncio.run(scenario())


def test_stopping_does_not_wait_for_a_client_that_does_not_read(make_site: Any, answer: Any) -> None:
    site = make_site(stall_s=60, coalesce_s=0.001)

    async def scenario() -> None:
        async with site.running():
            deaf = await asyncio.to_thread(Deaf, site.server.port)
            idle = await asyncio.to_thread(
                Deaf, site.server.port, sources=["none"]
            )  # never answers a close frame
            async with asyncio.timeout(20):
                n = 0
                while not any(s.paused for s in site.server.broadcaster._subscribers):
                    n += 1
                    site.publish(answer(n, text="x" * 20_000))
                    await asyncio.sleep(0.002)
            start = time.monotonic()
            await site.server.stop()
            assert time.monotonic() - start < 5
            for client in (deaf, idle):
                client.socket.close()

    asyncio.run(scenario())
