"""A server in a process of its own, which is told on stdin what to publish, and may be killed at any moment.

    python -m tests.server.publisher LOG PORT

Says its port, then the newest number after each line. A line is a number of answers, of sources `a` and `b` in turn.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import closing
from dataclasses import replace

from streamqa.metrics import Metrics
from streamqa.server.context import Limits, ServerContext
from streamqa.server.listen import listen
from streamqa.server.server import Server
from streamqa.service import LoopSink
from streamqa.sinks.log import AnswerLog
from streamqa.sinks.writer import RecordWriter
from tests.sinks.records import answer


async def main(path: str, port: int) -> None:
    loop, metrics = asyncio.get_running_loop(), Metrics()
    with closing(AnswerLog(path)) as log:
        sink = LoopSink(loop)
        context = ServerContext(log, metrics, tuple, tuple, lambda: None, lambda _: None, list)
        # Small bounds, so that backlogs, pages and gaps happen in seconds.
        limits = Limits(backlog=8, replay_batch=20, replay_bytes=8_000, stall_s=1.0)
        server = Server(context, listen("127.0.0.1", port), limits)
        sink.attach(server.broadcaster.publish)
        await server.start()
        writer = RecordWriter(log, [sink], metrics)
        writer.start()
        print(server.port, flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            for _ in range(int(line)):
                seq = log.last_seq + 1
                writer.put([replace(answer(seq, text="x" * 300), source="ab"[seq % 2])])
                await loop.run_in_executor(None, writer.drained, 10)
            print(log.last_seq, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
