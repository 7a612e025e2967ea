"""What was answered, by HTTP: pages of the log."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi import Query as Parameter

from streamqa.server.context import ServerContext
from streamqa.server.messages import about, wall
from streamqa.server.protocol import MAX_SEQ, PROTOCOL_VERSION, RecordType
from streamqa.server.visitor import need
from streamqa.sinks.query import Query
from streamqa.types import utc_now
from streamqa.version import __version__

_Names = Annotated[list[str] | None, Parameter(max_length=1000)]


def add_records(app: FastAPI, context: ServerContext) -> None:
    """`/api/records` and `/api/info`."""
    answer_log = context.log

    @app.get("/api/records", dependencies=[Depends(need("read"))])
    def records(
        after: Annotated[int, Parameter(ge=0, le=MAX_SEQ)] = 0,
        limit: Annotated[int, Parameter(ge=1, le=1000)] = 100,
        source: _Names = None,
        question: _Names = None,
        kinds: Annotated[list[RecordType] | None, Parameter(alias="type", max_length=10)] = None,
    ) -> dict[str, Any]:
        """Retained records with `seq > after`, oldest first, filtered as a subscription is."""
        page = answer_log.read(after, limit, Query(source, question, kinds))
        return {
            "epoch": answer_log.epoch,
            "first_seq": answer_log.first_seq,
            "last_seq": answer_log.last_seq,
            "records": [record.payload for record in page],
        }

    @app.get("/api/info", dependencies=[Depends(need("read"))])
    def info() -> dict[str, Any]:
        """What this server watches, asks, and answers with."""
        return {
            "version": __version__,
            "protocol": PROTOCOL_VERSION,
            "epoch": answer_log.epoch,
            "first_seq": answer_log.first_seq,
            "last_seq": answer_log.last_seq,
            "at": wall(utc_now()),
            **about(context.sources(), context.questions(), context.model()),
        }
