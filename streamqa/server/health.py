"""Whether it serves, whether answers come, and every count: for those who watch the watcher."""

from __future__ import annotations

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streamqa.server.context import ServerContext


def add_health(app: FastAPI, context: ServerContext) -> None:
    """`/healthz`, `/readyz` and `/metrics`."""

    @app.get("/healthz")
    def healthz() -> dict[str, bool]:
        """The process serves."""
        return {"ok": True}

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        """Whether answers are coming, and if not, why: 503."""
        reasons = context.ready()
        return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    @app.get("/metrics")
    def metrics() -> Response:
        """Prometheus' text format."""
        return Response(generate_latest(context.metrics.registry), media_type=CONTENT_TYPE_LATEST)
