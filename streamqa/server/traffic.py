"""Around all of HTTP: every request is counted, by the route that answered it."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamqa.metrics import Metrics

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Traffic:
    """Counts responses and the time to their first byte.

    What clients choose makes no label: a route stands for all of its paths, unknown methods and paths for each other.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = time.perf_counter()

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(scope, message["status"], time.perf_counter() - began_s)
            await send(message)

        await self._app(scope, receive, send_counted)

    def _count(self, scope: Scope, status: int, took_s: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = _route(scope)
        self._metrics.http_requests.labels(method, route, str(status)).inc()
        self._metrics.http_request_seconds.labels(route).observe(took_s)


def _route(scope: Scope) -> str:
    """The template of the route that was found; what was refused before, or is not there, is `other`."""
    template = getattr(scope.get("route"), "path", None)
    if template is None:
        return "/static" if scope.get("root_path") == "/static" else "other"
    return str(template)
