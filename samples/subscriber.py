"""Prints what changes, from a running streamqa: `python samples/subscriber.py [URL]`.

`subscribe` reconnects for ever and resumes where it was, so nothing is missed.
"""

import asyncio
import contextlib
import sys

from streamqa.client import subscribe


async def main(url: str) -> None:
    """Follow the server at `url` for ever."""
    async for message in subscribe(url):
        if message["type"] == "answer" and message["changed"]:
            said = message["value"] if message["state"] == "ok" else f"[{message['state']}]"
            print(
                message["captured_at"] or message["t_s"],
                message["source"],
                message["question"],
                said,
                flush=True,
            )
        elif message["type"] in ("source", "gap"):
            print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765/ws"))
