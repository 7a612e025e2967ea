"""Prints what changes, from a running streamqa: `python samples/subscriber.py [URL]`.

It connects again for ever and goes on where it was, so nothing is missed. STREAMQA_TOKEN holds the token, if any.
"""

import asyncio
import os
import sys

from streamqa.client import Answer, Gap, Source, subscribe


async def main(url: str) -> None:
    """Follow the server at `url` for ever."""
    async for message in subscribe(url, token=os.environ.get("STREAMQA_TOKEN"), changed_only=True):
        if isinstance(message, Answer):
            said = message.value if message.state == "ok" else f"[{message.state}]"  # never a "no"
            print(message.captured_at or message.t_s, message.source, message.question, said, flush=True)
        elif isinstance(message, Source | Gap):
            print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8765"))
