"""`streamqa watch`: follow a running streamqa from the terminal."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any

import typer

from streamqa.cli.output import Format, default_format, printable, writer_for


def command(
    url: Annotated[
        str, typer.Argument(help="The websocket of a running streamqa")
    ] = "ws://127.0.0.1:8765/ws",
    since: Annotated[
        int | None, typer.Option(help="Replay what came after this number first; 0: all")
    ] = None,
    source: Annotated[list[str] | None, typer.Option(help="Only this source; repeatable")] = None,
    question: Annotated[list[str] | None, typer.Option(help="Only this question; repeatable")] = None,
    form: Annotated[Format | None, typer.Option("--format", help="How to print")] = None,
) -> None:
    """Print the answers of a running streamqa as they come; reconnects and misses nothing."""
    write = writer_for(form or default_format(), sys.stdout)
    asyncio.run(_follow(url, since, source, question, write))


async def _follow(
    url: str, since: int | None, sources: list[str] | None, questions: list[str] | None, write: Any
) -> None:
    from streamqa.client import subscribe

    lost = _Once()
    messages = subscribe(url, sources=sources, questions=questions, since=since, on_lost=lost.tell)
    async for message in messages:
        lost.over()
        if message["type"] == "answer":
            write(message)
            sys.stdout.flush()
        elif message["type"] in ("source", "gap", "error"):
            print(printable(_told(message)), file=sys.stderr, flush=True)


class _Once:
    """Tells of a lost connection once, and not at each try."""

    def __init__(self) -> None:
        self._told = False

    def tell(self, line: str) -> None:
        if not self._told:
            print(printable(f"streamqa: {line}"), file=sys.stderr, flush=True)
        self._told = True

    def over(self) -> None:
        self._told = False


def _told(message: dict[str, Any]) -> str:
    if message["type"] == "source":
        return f"{message['source']} is {message['state']}: {message['reason'] or 'no reason given'}"
    if message["type"] == "gap" and message["reason"] == "new_log":
        return "the server has another log now; its records follow from the first"
    if message["type"] == "gap":
        return f"records {message['from']} to {message['to']} are missing: {message['reason']}"
    if "seq" in message:
        return f"trouble: {message['message']}"
    return f"the server refused: {message['message']}"
