"""HTTP: all routes put together. Websockets never come here (see `broadcast`)."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from streamqa.server.chat import CHAT_PATH, add_chat
from streamqa.server.context import Limits, ServerContext
from streamqa.server.control_api import add_control
from streamqa.server.events import Feed, add_events
from streamqa.server.guard import Guard
from streamqa.server.health import add_health
from streamqa.server.http_errors import refusals
from streamqa.server.login import STATIC, add_login
from streamqa.server.middleware import Doors
from streamqa.server.pictures import add_pictures
from streamqa.server.records_api import add_records
from streamqa.server.schemas import add_schemas
from streamqa.server.sinks_api import add_sinks
from streamqa.server.traffic import Traffic
from streamqa.version import __version__


def make_app(
    context: ServerContext, guard: Guard, feed: Feed, limits: Limits, is_tls: bool = False
) -> FastAPI:
    """The HTTP side of a server. Every route has a `need`, but for those that the guard leaves open."""
    # No documentation pages: they would load their scripts from a CDN. The schema itself is at /openapi.json.
    app = FastAPI(
        title="streamqa",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        responses=refusals(400, 401, 403, 413, 429),
    )
    app.add_middleware(
        Doors,
        guard=guard,
        body_bytes=limits.body_bytes,
        larger={CHAT_PATH: limits.picture_body_bytes},  # there pictures come inside of messages
    )
    app.add_middleware(Traffic, metrics=context.metrics)  # the last one is the outermost
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    add_login(app, guard, is_tls)
    add_records(app, context)
    add_health(app, context)
    add_pictures(app, context)
    add_control(app, context)
    add_sinks(app, context)
    add_chat(app, context)
    add_schemas(app)
    add_events(app, context, feed, limits)
    return app
