"""Server-sent events: the same records as on the websocket, over plain HTTP, for whoever can read lines.

Each stream pulls: when something was published it reads the next page from the log, behind its place, and then waits
for its own socket to take it. So there is no queue, and who reads slowly is behind and nothing else. Records that the
log could not keep do not come here; the gap that it logs afterwards says how many these were.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi import Query as Parameter
from fastapi.responses import StreamingResponse

from streamqa.server.context import Limits, ServerContext
from streamqa.server.http_errors import Detail
from streamqa.server.messages import Gap, Hello
from streamqa.server.protocol import MAX_SEQ, RecordType, Subscribe
from streamqa.server.session import Place, Session
from streamqa.server.visitor import need
from streamqa.sinks.reading import Page

_RETRY_MS = 1000
_ID = re.compile(r"([0-9A-Za-z]{1,64}):(\d{1,19})")
_Names = Annotated[list[str] | None, Parameter(max_length=1000)]


class Feed(Protocol):
    """What a stream needs of the broadcaster."""

    @property
    def is_over(self) -> bool:
        """Whether the server stops."""
        ...

    def hello(self) -> Hello:
        """What every conversation begins with."""
        ...

    async def wait_published(self, after: int, timeout_s: float) -> int:
        """The newest number that was published, as soon as it is beyond `after`, or when the time is over."""
        ...

    async def page(self, session: Session) -> Page:
        """The next records that `session` wants."""
        ...


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a stream is asked for; as in `subscribe`."""

    source: _Names = None
    question: _Names = None
    kinds: Annotated[list[RecordType] | None, Parameter(alias="type", max_length=10)] = None
    changed_only: bool = False
    min_interval_s: Annotated[float | None, Parameter(gt=0, le=86_400)] = None
    since: Annotated[int | None, Parameter(ge=0, le=MAX_SEQ)] = None
    epoch: Annotated[str | None, Parameter(max_length=64)] = None

    def subscription(self, last_event_id: str | None) -> Subscribe:
        """The same as on the websocket; where the client comes back, from where it was. Raises ValueError."""
        since, epoch = self.since, self.epoch
        if last_event_id:
            found = _ID.fullmatch(last_event_id)
            if found is None or int(found[2]) > MAX_SEQ:
                raise ValueError("Last-Event-ID is none of this server's: it is epoch:seq, or left out")
            epoch, since = found[1], int(found[2])
        return Subscribe.model_validate(
            {
                "sources": self.source,
                "questions": self.question,
                "types": self.kinds,
                "changed_only": self.changed_only,
                "min_interval_s": self.min_interval_s,
                "since": since,
                "epoch": epoch,
            }
        )


def add_events(app: FastAPI, context: ServerContext, feed: Feed, limits: Limits) -> None:
    """`/events`."""
    streams = Streams(context, feed, limits)

    @app.get(
        "/events",
        dependencies=[Depends(need("read"))],
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {}}, "description": "Events, for ever"},
            400: {"model": Detail, "description": "No such place in the log"},
            503: {"model": Detail, "description": "Too many streams"},
        },
    )
    async def events(
        wanted: Annotated[_Wanted, Depends()],
        last_event_id: Annotated[str | None, Header(max_length=100)] = None,
    ) -> StreamingResponse:
        """Records as server-sent events: `hello` first, then from `Last-Event-ID`, from `since`, or from now on."""
        try:
            message = wanted.subscription(last_event_id)
        except ValueError as error:
            raise HTTPException(400, str(error).splitlines()[0]) from None
        if streams.open >= limits.event_streams:
            raise HTTPException(503, "too many event streams; try again later")
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}  # a proxy shall hand it on at once
        return StreamingResponse(streams.run(message), media_type="text/event-stream", headers=headers)


class Streams:
    """All streams of a server."""

    def __init__(self, context: ServerContext, feed: Feed, limits: Limits) -> None:
        self._context, self._feed, self._limits = context, feed, limits
        self.open = 0

    async def run(self, message: Subscribe) -> AsyncGenerator[bytes, None]:
        """One stream, from `hello` until the server stops or the client is gone."""
        self.open += 1
        self._context.metrics.event_streams.inc()
        try:
            async for chunk in self._chunks(message):
                yield chunk
        finally:
            self.open -= 1
            self._context.metrics.event_streams.dec()

    async def _chunks(self, message: Subscribe) -> AsyncGenerator[bytes, None]:
        feed, answer_log, session = self._feed, self._context.log, Session()
        hello = feed.hello()
        yield f"retry: {_RETRY_MS}\n".encode() + event(None, "hello", hello.json_text())
        published = hello.last_seq
        gap = session.subscribe(message, Place(hello.epoch, hello.first_seq, answer_log.last_seq), published)
        if gap is not None:
            yield _gap(hello.epoch, gap)
        while not feed.is_over:
            if session.cursor >= published:
                published = await feed.wait_published(session.cursor, self._limits.heartbeat_s)
                if session.cursor >= published:
                    yield heartbeat(hello.epoch, session.cursor)
                continue
            page = await feed.page(session)
            gap = session.replayed(page, published)
            if gap is not None:
                yield _gap(hello.epoch, gap)
            if chunk := _records(hello.epoch, page, session):
                self._context.metrics.messages_sent.inc(chunk.count(b"\n\n"))
                yield chunk


def _records(epoch: str, page: Page, session: Session) -> bytes:
    wanted = session.thinner
    return b"".join(
        event(f"{epoch}:{seq}", _type_of(text), text)
        for seq, text in page.rows
        if wanted is None or wanted.wants(json.loads(text))
    )


def _gap(epoch: str, gap: Gap) -> bytes:
    """Whoever comes back after it goes on behind it."""
    return event(None if gap.last is None else f"{epoch}:{gap.last}", "gap", gap.json_text())


def event(place: str | None, kind: str, text: str) -> bytes:
    """One event; `text` is JSON, which has no line breaks."""
    name = "" if place is None else f"id: {place}\n"
    return f"{name}event: {kind}\ndata: {text}\n\n".encode()


def heartbeat(epoch: str, cursor: int) -> bytes:
    """Nothing happened; and who filters need not be read again what was not for it."""
    return f": still here\nid: {epoch}:{cursor}\n\n".encode()


def _type_of(text: str) -> str:
    """The type of a record, which stands first in its JSON."""
    begin = len('{"type":"')
    return text[begin : text.index('"', begin)]
