"""`streamqa watch`: follow a running streamqa from the terminal."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamqa.cli.output import Format, alert_words, default_format, printable, writer_for
from streamqa.durations import parse_duration
from streamqa.errors import ConfigError
from streamqa.types import NS_PER_S

if TYPE_CHECKING:
    from streamqa.client import Message

TOKEN_VARIABLE = "STREAMQA_TOKEN"


def command(
    url: Annotated[
        str, typer.Argument(help="The websocket of a running streamqa")
    ] = "ws://127.0.0.1:8765/ws",
    since: Annotated[
        int | None, typer.Option(help="Replay what came after this number first; 0: all")
    ] = None,
    source: Annotated[list[str] | None, typer.Option(help="Only this source; repeatable")] = None,
    question: Annotated[list[str] | None, typer.Option(help="Only this question; repeatable")] = None,
    changed_only: Annotated[bool, typer.Option("--changed-only", help="Only answers that are new")] = False,
    every: Annotated[
        str | None, typer.Option(help="At most one answer of a question in this time, as in 10s")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help=f"A file with the token; else it is read from {TOKEN_VARIABLE}")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="For wss: the certificate to trust, or its authority's, in PEM form")
    ] = None,
    form: Annotated[Format | None, typer.Option("--format", help="How to print")] = None,
) -> None:
    """Print the answers of a running streamqa as they come; reconnects and misses nothing."""
    from streamqa.client import subscribe

    lost = _Once()
    messages = subscribe(
        url,
        token=_token(token_file),
        tls=ca_file,
        sources=source,
        questions=question,
        changed_only=changed_only,
        min_interval_s=_seconds(every),
        since=since,
        on_lost=lost.tell,
    )
    asyncio.run(_follow(messages, writer_for(form or default_format(), sys.stdout), lost))


async def _follow(
    messages: AsyncGenerator[Message, None], write: Callable[[dict[str, Any]], object], lost: _Once
) -> None:
    async for message in messages:
        lost.over()
        if message.type == "answer":
            write(message.raw)
            sys.stdout.flush()
        else:
            line = told(message)
            if line:
                print(printable(line), file=sys.stderr, flush=True)


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


def _seconds(duration: str | None) -> float | None:
    try:
        return None if duration is None else parse_duration(duration) / NS_PER_S
    except ValueError as error:
        raise ConfigError(f"--every: {error}") from None


def _token(path: Path | None) -> str | None:
    """The token, never from the command line: others on the machine can read that."""
    if path is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise ConfigError(f"{path}: the token cannot be read ({reason})") from None


def told(message: Message) -> str | None:
    """A message that is no answer, in one line for people; None: nothing to say."""
    from streamqa.client import Alert, Change, Error, Gap, Source

    match message:
        case Alert():
            return alert_words(message.raw)
        case Source():
            return f"{message.source} is {message.state}: {message.reason or 'no reason given'}"
        case Change():
            return f"{message.what} {message.id} was {message.action} by {message.by}"
        case Gap(reason="new_log"):
            return "the server has another log now; its records follow from the first"
        case Gap(from_=None):
            return f"{message.count} records were not kept: {message.reason}"
        case Gap():
            return f"records {message.from_} to {message.to} are missing: {message.reason}"
        case Error() if message.is_record:
            return f"trouble: {message.message}"
        case Error():
            return f"the server has a trouble with this connection: {message.message}"
    return None
