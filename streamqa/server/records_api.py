"""What was answered, by HTTP: pages of the log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI
from fastapi import Query as Parameter
from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field

from streamqa.server.context import ServerContext
from streamqa.server.messages import AboutModel, AboutQuestion, AboutSource, about, wall
from streamqa.server.protocol import MAX_SEQ, PROTOCOL_VERSION, RecordType
from streamqa.server.record_messages import AlertRecord, Record, Wall
from streamqa.server.visitor import need
from streamqa.sinks.query import Query
from streamqa.types import utc_now
from streamqa.version import __version__


def _no_number(text: object) -> object:
    """Left to itself, pydantic takes numbers for seconds or milliseconds since 1970, whichever looks likelier."""
    if isinstance(text, str) and not text[4:5] == "-":
        raise ValueError("write ISO 8601 with a time zone, as in 2026-11-22T02:22:34Z")
    return text


_Written = Annotated[AwareDatetime, BeforeValidator(_no_number)]
_Names = Annotated[list[str] | None, Parameter(max_length=1000)]


@dataclass(frozen=True, slots=True)
class _Search:
    """What else can be asked of records."""

    q: Annotated[str | None, Parameter(max_length=200)] = None
    since: Annotated[_Written | None, Parameter(alias="from", description="ISO 8601 with a time zone")] = None
    until: Annotated[_Written | None, Parameter(alias="to", description="ISO 8601 with a time zone")] = None
    changed_only: bool = False
    order: Literal["oldest", "newest"] = "oldest"


_NOTHING = _Search()


class RecordsPage(BaseModel):
    """Some records, and the log that they are of."""

    epoch: str
    first_seq: int = Field(description="oldest retained record")
    last_seq: int = Field(description="newest record")
    records: list[Record]


class Info(BaseModel):
    """What this server watches, asks, and answers with."""

    version: str
    protocol: int
    epoch: str
    first_seq: int
    last_seq: int
    at: Wall
    sources: list[AboutSource]
    questions: list[AboutQuestion]
    model: AboutModel | None = Field(description="null: it is being loaded")


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)


def add_records(app: FastAPI, context: ServerContext) -> None:
    """`/api/records`, `/api/alerts` and `/api/info`."""
    answer_log = context.log

    # Records go out as the log keeps them: checking a thousand again would only take time.
    @app.get(
        "/api/records",
        response_model=None,
        responses={200: {"model": RecordsPage}},
        dependencies=[Depends(need("read"))],
    )
    def records(
        after: Annotated[int, Parameter(ge=0, le=MAX_SEQ)] = 0,
        limit: Annotated[int, Parameter(ge=1, le=1000)] = 100,
        source: _Names = None,
        question: _Names = None,
        kinds: Annotated[list[RecordType] | None, Parameter(alias="type", max_length=10)] = None,
        wanted: Annotated[_Search, Depends()] = _NOTHING,
    ) -> dict[str, Any]:
        """Retained records with `seq > after`, oldest first, filtered as a subscription is.

        `q`: answers in which all these words stand, in the question or in what was said. `from` and `to`: by the wall
        clock, of capture where it is known. `order=newest`: the newest `limit` of all, newest first.
        """
        query = Query(
            source, question, kinds, wanted.changed_only, wanted.q, _ms(wanted.since), _ms(wanted.until)
        )
        page = (
            answer_log.newest_first(limit, query)
            if wanted.order == "newest"
            else answer_log.read(after, limit, query)
        )
        return {
            "epoch": answer_log.epoch,
            "first_seq": answer_log.first_seq,
            "last_seq": answer_log.last_seq,
            "records": [record.payload for record in page],
        }

    @app.get(
        "/api/alerts",
        response_model=None,
        responses={200: {"model": list[AlertRecord]}},
        dependencies=[Depends(need("read"))],
    )
    def alerts() -> list[dict[str, Any]]:
        """The newest record of each alert that is open, the newest first; those that are over are in the records."""
        return answer_log.open_alerts()

    @app.get("/api/info", response_model=Info, dependencies=[Depends(need("read"))])
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
