"""How long a subscriber that comes back waits for what it missed: a real log, a real server, another process.

python -m streamqa.bench.fanout_resume FILE     serves the log, says its port, ends with stdin
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from streamqa.bench.fanout_client import open_connection
from streamqa.bench.fanout_frames import Reader
from streamqa.bench.log_rate import an_answer
from streamqa.errors import StreamQAError
from streamqa.metrics import Metrics
from streamqa.server.context import ServerContext
from streamqa.server.listen import listen
from streamqa.server.server import Server
from streamqa.sinks.log import AnswerLog

_PIECE = 1000
_READ_BYTES = 1024 * 1024
_TIMEOUT_S = 120.0


def resume_s(records: int) -> float:
    """Seconds from `subscribe {since: 0}` to the last of `records`, each of 700 bytes or so, on loopback.

    Raises:
        StreamQAError: they did not come, or not all of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.db"
        with closing(AnswerLog(path)) as log:
            for first in range(0, records, _PIECE):
                log.append([an_answer(n) for n in range(first, min(first + _PIECE, records))])
        command = [sys.executable, "-m", "streamqa.bench.fanout_resume", str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                return _read_all(json.loads(server.stdout.readline())["port"], records)
            finally:
                server.kill()


def _read_all(port: int, records: int) -> float:
    began_s = time.monotonic()
    opened, rest = open_connection(port, "/ws", json.dumps({"type": "subscribe", "since": 0}), small=False)
    with opened:
        opened.settimeout(_TIMEOUT_S)
        reader = Reader(timed=False)
        reader.feed(rest, 0)
        while reader.answers < records:
            data = opened.recv(_READ_BYTES)
            if not data:
                raise StreamQAError(f"bench: the server ended after {reader.answers} of {records} records")
            reader.feed(data, 0)
    return time.monotonic() - began_s


async def serve(path: str) -> None:
    """Serve the log at `path` until stdin ends."""
    with closing(AnswerLog(path)) as log:
        context = ServerContext(log, Metrics(), tuple, tuple, lambda: None, lambda _: None, list)
        server = Server(context, listen("127.0.0.1", 0))
        await server.start()
        print(json.dumps({"port": server.port}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await server.stop()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
