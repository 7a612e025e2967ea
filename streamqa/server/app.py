"""HTTP: the page, records, health, metrics, latest pictures. Websockets never come here (see `broadcast`)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Query, Response
from fastapi.responses import FileResponse, JSONResponse
from PIL import Image as Pictures
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.datastructures import Headers, MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamqa.server.context import ServerContext
from streamqa.server.doors import host_allowed
from streamqa.server.protocol import MAX_SEQ, PROTOCOL_VERSION, about, wall
from streamqa.types import utc_now
from streamqa.version import __version__

if TYPE_CHECKING:
    from streamqa.types import Image

STATIC = Path(__file__).parent / "static"

_MAX_SIDE_PX = 1280  # of a latest picture
_JPEG_QUALITY = 80

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}

_Type = Literal["answer", "source", "error"]
_Names = Annotated[list[str] | None, Query(max_length=1000)]


def make_app(context: ServerContext, host: str) -> FastAPI:
    """The HTTP side of a server that is bound to `host`."""
    # No documentation pages: they would load their scripts from a CDN. The schema itself is at /openapi.json.
    app = FastAPI(title="streamqa", version=__version__, docs_url=None, redoc_url=None)
    app.add_middleware(_Doors, host=host)
    _add_page(app)
    _add_api(app, context)
    _add_health(app, context)
    _add_pictures(app, context)
    return app


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    app.mount("/static", StaticFiles(directory=STATIC), name="static")


def _add_api(app: FastAPI, context: ServerContext) -> None:
    answer_log = context.log

    @app.get("/api/records")
    def records(
        after: Annotated[int, Query(ge=0, le=MAX_SEQ)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        source: _Names = None,
        question: _Names = None,
        kinds: Annotated[list[_Type] | None, Query(alias="type", max_length=10)] = None,
    ) -> dict[str, Any]:
        """Retained records with `seq > after`, oldest first, filtered as a subscription is."""
        page = answer_log.read(after, limit, sources=source, questions=question, types=kinds)
        return {
            "epoch": answer_log.epoch,
            "first_seq": answer_log.first_seq,
            "last_seq": answer_log.last_seq,
            "records": [record.payload for record in page],
        }

    @app.get("/api/info")
    def info() -> dict[str, Any]:
        """What this server watches, asks, and answers with."""
        return {
            "version": __version__,
            "protocol": PROTOCOL_VERSION,
            "epoch": answer_log.epoch,
            "first_seq": answer_log.first_seq,
            "last_seq": answer_log.last_seq,
            "at": wall(utc_now()),
            **about(context.sources(), context.questions, context.model),
        }


def _add_health(app: FastAPI, context: ServerContext) -> None:
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


def _add_pictures(app: FastAPI, context: ServerContext) -> None:
    encoded: dict[str, tuple[Image, bytes]] = {}  # the last picture of each source, for many viewers

    @app.get("/sources/{source}/latest.jpg", response_class=Response)
    def latest(source: str) -> Response:
        """The newest picture of a source, at most 1280 pixels a side."""
        if source not in context.sources():
            raise HTTPException(404, "no such source")
        image = context.latest(source)
        if image is None:
            raise HTTPException(404, "no picture yet")
        known = encoded.get(source)
        if known is None or known[0] is not image:
            known = encoded[source] = image, _jpeg(image)
        return Response(known[1], media_type="image/jpeg")


def _jpeg(image: Image) -> bytes:
    picture = Pictures.fromarray(image)
    picture.thumbnail((_MAX_SIDE_PX, _MAX_SIDE_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


class _Doors:
    """Around everything: refuses foreign `Host` names, adds the security headers to each response."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        static = scope["path"] == "/" or scope["path"].startswith("/static/")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-cache" if static else "no-store")
            await send(message)

        if host_allowed(Headers(scope=scope).get("host"), self._host):
            await self._app(scope, receive, send_with_headers)
            return
        refusal = JSONResponse(
            {"detail": f"open this server as http://{self._host}, not by another name"}, 403
        )
        await refusal(scope, receive, send_with_headers)
