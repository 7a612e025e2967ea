"""A server of one kind with nothing but its fan-out, told by JSON lines on stdin what to publish.

    python -m streamqa.bench.fanout_server streamqa

What is measured is from a record that has its number to the sockets: for streamqa the way that the product takes
after its log, for the others the plainest code that their documentation leads to.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

from streamqa.bench.fanout_rivals import Hub, opened_hub
from streamqa.bench.log_rate import an_answer
from streamqa.payload import record_payload

_BYTES = 400


def template() -> dict[str, Any]:
    """A record of 400 bytes as JSON; its number and its text, the time of publishing, are to be set."""
    full = record_payload(an_answer(1, "yes"))
    names = (
        "source",
        "question",
        "kind",
        "value",
        "confidence",
        "state",
        "frame",
        "t_s",
        "captured_at",
        "changed",
    )
    kept = {name: full[name] for name in names}
    record = {"type": "answer", "seq": 100, **kept, "text": str(time.monotonic_ns()), "model": full["model"]}
    missing = _BYTES - len(json.dumps(record, separators=(",", ":"))) - len(',"reason":""')
    return {**record, "reason": "-" * max(0, missing)}


def memory_bytes() -> int:
    """What the process has in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


class Publisher:
    """Publishes so many messages at a rate."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._number = 0
        self._template = template()

    async def publish(self, messages: int, per_s: float) -> dict[str, Any]:
        """Returns once the last was published; what the process had used is counted from before the first."""
        began_s = time.monotonic()
        for n in range(messages):
            wait_s = began_s + n / per_s - time.monotonic()
            await asyncio.sleep(max(0.0, wait_s))
            self._number += 1
            now = {"seq": self._number, "text": str(time.monotonic_ns())}
            self._hub.publish({**self._template, **now})
        return {"took_s": time.monotonic() - began_s}


async def serve(kind: str) -> None:
    """Carry out orders until stdin ends."""
    loop = asyncio.get_running_loop()
    async with opened_hub(kind) as hub:
        publisher = Publisher(hub)
        _say({"port": hub.port, "path": hub.path, "say": hub.say})
        lines: Iterator[str] = iter(sys.stdin)
        while line := await loop.run_in_executor(None, lambda: next(lines, "")):
            order = json.loads(line)
            if order["do"] == "publish":
                _say(await publisher.publish(order["messages"], order["per_s"]))
            else:
                _say({"cpu_s": time.process_time(), "memory_bytes": memory_bytes()})


def _say(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


def main(arguments: list[str]) -> None:
    """The kind of server is the only argument."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(serve(arguments[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
