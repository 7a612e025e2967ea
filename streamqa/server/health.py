"""Whether it serves, whether answers come, and every count: for those who watch the watcher."""

from __future__ import annotations

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from streamqa.server.context import ServerContext
from streamqa.server.visitor import guest_of, need


class Readiness(BaseModel):
    """Whether answers are coming."""

    ready: bool
    reasons: list[str] = Field([], description="why not, one line each; strangers are not told")


def add_health(app: FastAPI, context: ServerContext) -> None:
    """`/healthz`, `/readyz` and `/metrics`."""

    @app.get("/healthz")
    def healthz() -> dict[str, bool]:
        """The process serves."""
        return {"ok": True}

    @app.get(
        "/readyz",
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "It is not."}},
    )
    def readyz(request: Request) -> JSONResponse:
        """Whether answers are coming, and if not, why: 503. Strangers are not told why."""
        reasons = context.ready()
        if guest_of(request) is None:
            return JSONResponse({"ready": not reasons}, 503 if reasons else 200)
        return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        dependencies=[Depends(need("read"))],
    )
    def metrics() -> Response:
        """Prometheus' text format."""
        return Response(generate_latest(context.metrics.registry), media_type=CONTENT_TYPE_LATEST)
