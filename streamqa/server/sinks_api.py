"""Where records go beside subscribers: how every sink is doing, and webhooks that are added over the network."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, FastAPI, Response
from pydantic import BaseModel, Field

from streamqa.errors import NotThere
from streamqa.server.commands import Refused, refusing
from streamqa.server.context import ServerContext, Webhooks
from streamqa.server.control_api import Admin, IdInPath, ProblemRoute, Reader, problems_of
from streamqa.server.messages import wall
from streamqa.server.record_messages import Wall
from streamqa.sink_settings import WebhookConfig
from streamqa.sinks.outlet import SinkState

_EXAMPLES: Any = {
    "alerts": {"value": {"webhook": "https://hooks.example/alerts", "secret": "at least 16 characters"}},
    "all that changes": {
        "value": {
            "webhook": "https://hooks.example/all",
            "types": ["answer", "source"],
            "questions": ["person"],
        }
    },
}


class SinkStatus(BaseModel):
    """How a sink is doing."""

    id: str
    kind: str = Field(description="mqtt, webhook, notify or jsonl")
    target: str = Field(description="where it leads, without what may be secret")
    up: bool | None = Field(description="null: nothing was delivered yet, and nothing failed")
    reason: str | None = Field(description="why it is down")
    since: Wall = Field(description="of `up`")
    queued: int = Field(ge=0, description="records that wait")
    delivered: int = Field(ge=0, description="since the start")
    dropped: int = Field(
        ge=0, description="records that it missed since the start; webhooks keep them as letters"
    )


class Sinks(BaseModel):
    """All sinks."""

    sinks: list[SinkStatus]


class WebhookState(BaseModel):
    """A webhook that was added over the network."""

    id: str
    settings: dict[str, Any] = Field(description="as they were given, without secrets")


class WebhookStates(BaseModel):
    """All webhooks that were added over the network."""

    webhooks: list[WebhookState]


def add_sinks(app: FastAPI, context: ServerContext) -> None:
    """`/api/sinks` and `/api/webhooks`."""
    router = APIRouter(route_class=ProblemRoute, tags=["sinks"])

    def webhooks() -> Webhooks:
        if context.webhooks is None:
            raise Refused("unavailable", "this server shows what was recorded; no webhook can be added here")
        return context.webhooks

    @router.get("/api/sinks", response_model=Sinks, responses=problems_of(403))
    def list_sinks(visitor: Reader) -> dict[str, Any]:
        """All sinks, those of the configuration and the webhooks that were added. Needs scope `read`."""
        return {"sinks": [_status(state) for state in context.sinks()]}

    @router.get("/api/webhooks", response_model=WebhookStates, responses=problems_of(403, 503))
    def list_webhooks(visitor: Reader) -> dict[str, Any]:
        """The webhooks that were added over the network. Needs scope `read`."""
        return {"webhooks": webhooks().describe()}

    @router.put(
        "/api/webhooks/{id}",
        response_model=WebhookState,
        responses={
            201: {"model": WebhookState, "description": "It is new."},
            **problems_of(403, 404, 409, 422, 503),
        },
    )
    def put_webhook(
        id: IdInPath,
        body: Annotated[WebhookConfig, Body(openapi_examples=_EXAMPLES)],
        visitor: Admin,
        response: Response,
    ) -> dict[str, Any]:
        """Send records there from now on, if `serve.add.hosts` allows its address. Needs scope `admin`.

        It takes the place of the one with this id, and is opened again at each start. Each change leaves a record.
        """

        def put() -> dict[str, Any]:
            if webhooks().put(id, body, visitor.name):
                response.status_code = 201
            return _described(webhooks(), id)

        return refusing(put)

    @router.delete("/api/webhooks/{id}", status_code=204, responses=problems_of(403, 404, 422, 503))
    def remove_webhook(id: IdInPath, visitor: Admin) -> None:
        """Send nothing there any more. What was given up for it can still be listed and sent again."""

        def remove() -> dict[str, Any]:
            webhooks().remove(id, visitor.name)
            return {}

        refusing(remove)

    app.router.routes.extend(router.routes)


def _status(state: SinkState) -> dict[str, Any]:
    return {
        "id": state.id,
        "kind": state.kind,
        "target": state.target,
        "up": state.is_up,
        "reason": state.reason or None,
        "since": wall(state.since),
        "queued": state.queued,
        "delivered": state.delivered,
        "dropped": state.dropped,
    }


def _described(webhooks: Webhooks, id: str) -> dict[str, Any]:
    for one in webhooks.describe():
        if one["id"] == id:
            return one
    raise NotThere(f"webhook {id!r} was removed at the same moment")
