"""A subscriber in a process of its own: notes when each answer had been parsed, and writes its notes at the end.

    python -m streamqa.bench.subscriber URL > notes.json

The monotonic clock is one for all processes of a machine (Linux), so its times compare with those of the line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from streamqa.client import Message, subscribe
from streamqa.errors import ProtocolError
from streamqa.types import NS_PER_S


class Seen(NamedTuple):
    """One answer as it came to a subscriber."""

    seen_ns: int  # monotonic clock, once it was parsed
    source: str
    question: str
    t_ns: int
    skipped: int
    answered_utc_ns: int  # wall clock, cut to the millisecond on the wire
    total_ms: float  # from the decoded frame to its answer
    state: str


class _Over(Exception):
    """The server is gone."""


def seen(message: Message, now_ns: int) -> Seen:
    """What is kept of an answer that was parsed at `now_ns`."""
    answered = datetime.fromisoformat(message["answered_at"])
    return Seen(
        now_ns,
        message["source"],
        message["question"],
        round(message["t_s"] * NS_PER_S),
        message["skipped"],
        round(answered.timestamp() * 1000) * 1_000_000,
        message["latency_ms"]["total"],
        message["state"],
    )


async def watch(messages: AsyncIterator[Message]) -> dict[str, Any]:
    """Everything until the server goes: the answers, how many records `gap`s named, and when `hello` came."""
    answers: list[Seen] = []
    hello_ns = missed = 0
    with suppress(_Over):
        async for message in messages:
            now_ns = time.monotonic_ns()
            if message["type"] == "answer":
                answers.append(seen(message, now_ns))
            elif message["type"] == "hello":
                hello_ns = hello_ns or now_ns
            elif message["type"] == "gap":
                missed += message["to"] - message["from"] + 1
    return {"hello_ns": hello_ns, "missed": missed, "answers": answers}


def leave(reason: str) -> None:
    """End on the first lost connection: a bench's server does not come back."""
    raise _Over(reason)


def main(arguments: list[str]) -> None:
    """Watch the server at the first argument; notes go to stdout."""
    try:
        notes = asyncio.run(watch(subscribe(arguments[0], since=0, on_lost=leave)))
    except ProtocolError as error:
        raise SystemExit(f"subscriber: {error}") from None
    json.dump(notes, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
