"""HTTP: the page, and all else put together. Websockets never come here (see `broadcast`)."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamqa.server.context import ServerContext
from streamqa.server.doors import host_allowed
from streamqa.server.health import add_health
from streamqa.server.pictures import add_pictures
from streamqa.server.records_api import add_records
from streamqa.server.visitor import LOCAL
from streamqa.version import __version__

STATIC = Path(__file__).parent / "static"

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


def make_app(context: ServerContext, host: str) -> FastAPI:
    """The HTTP side of a server that is bound to `host`."""
    # No documentation pages: they would load their scripts from a CDN. The schema itself is at /openapi.json.
    app = FastAPI(title="streamqa", version=__version__, docs_url=None, redoc_url=None)
    app.add_middleware(_Doors, host=host)
    _add_page(app)
    add_records(app, context)
    add_health(app, context)
    add_pictures(app, context)
    return app


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    app.mount("/static", StaticFiles(directory=STATIC), name="static")


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

        scope.setdefault("state", {})["visitor"] = LOCAL
        if host_allowed(Headers(scope=scope).get("host"), self._host):
            await self._app(scope, receive, send_with_headers)
            return
        refusal = JSONResponse(
            {"detail": f"open this server as http://{self._host}, not by another name"}, 403
        )
        await refusal(scope, receive, send_with_headers)
