"""The crowd against a plain server of `websockets`, which checks what it is told."""

import asyncio
import threading
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast, serve

from streamqa.bench.fanout_client import Crowd


def test_it_counts_what_is_lost() -> None:
    said: list[Any] = []
    ready, connected = threading.Event(), list[ServerConnection]()
    port: list[int] = []
    over = threading.Event()

    async def handler(connection: ServerConnection) -> None:
        connected.append(connection)
        said.append(await connection.recv())
        await connection.wait_closed()

    async def main() -> None:
        async with serve(handler, "127.0.0.1", 0, compression=None) as server:
            port.append(next(iter(server.sockets)).getsockname()[1])
            ready.set()
            while len(said) < 3:  # noqa: ASYNC110 - the other side is a thread
                await asyncio.sleep(0.01)
            broadcast(connected, '{"type":"answer","seq":1,"text":"5"}')
            broadcast(connected[:2], '{"type":"answer","seq":2,"text":"6"}')
            await asyncio.to_thread(over.wait, 20)

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(10)
    crowd = Crowd()
    assert crowd.connect(port[0], "/", 3, 0, "hello") == {"connected": 3}
    found = crowd.collect(messages=2, timeout_s=1.0)
    assert found["lost"] == 1
    assert found["in_order"]
    assert found["p50_ms"] > 0
    assert said == ["hello"] * 3
    crowd.close()
    over.set()
    thread.join(10)
