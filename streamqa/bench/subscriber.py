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
from typing import Any, NamedTuple

from streamqa.client import Answer, Gap, Hello, Message, subscribe
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


def seen(answer: Answer, now_ns: int) -> Seen:
    """What is kept of an answer that was parsed at `now_ns`."""
    return Seen(
        now_ns,
        answer.source,
        answer.question,
        round(answer.t_s * NS_PER_S),
        answer.skipped,
        round(answer.answered_at.timestamp() * 1000) * 1_000_000,
        answer.latency_ms.total,
        answer.state,
    )


async def watch(messages: AsyncIterator[Message]) -> dict[str, Any]:
    """Everything until the server goes: the answers, how many records `gap`s named, and when `hello` came."""
    answers: list[Seen] = []
    hello_ns = missed = 0
    with suppress(_Over):
        async for message in messages:
            now_ns = time.monotonic_ns()
            if isinstance(message, Answer):
                answers.append(seen(message, now_ns))
            elif isinstance(message, Hello):
                hello_ns = hello_ns or now_ns
            elif isinstance(message, Gap) and message.from_ is not None and message.to is not None:
                missed += message.to - message.from_ + 1
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
