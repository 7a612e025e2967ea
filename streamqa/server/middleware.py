"""Around every HTTP request: the guard, a limit to the body, and headers that keep browsers careful."""

from __future__ import annotations

import time
from collections.abc import Mapping

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamqa.server.guard import Guard, Knock, Refusal

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}


class Doors:
    """Lets in whom the guard lets in, as `request.state.visitor` (None: a stranger, on a path open to all)."""

    def __init__(self, app: ASGIApp, guard: Guard, body_bytes: int, larger: Mapping[str, int]) -> None:
        """`body_bytes`: of a request's body, but for the paths in `larger`."""
        self._app = app
        self._guard = guard
        self._body_bytes = body_bytes
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        knock = _knock(scope)
        send = _with_headers(send, knock.path)
        found = self._guard.admit(knock, time.monotonic())
        limit = self._larger.get(knock.path, self._body_bytes)
        if not isinstance(found, Refusal) and int(knock.one("content-length") or 0) > limit:
            found = _too_large(limit)
        if isinstance(found, Refusal):
            refusal = JSONResponse({"detail": found.text}, found.status, found.headers)
            await refusal(scope, receive, send)
            return
        scope.setdefault("state", {}).update(visitor=found, knock=knock)
        await self._app(scope, _bounded(receive, limit), send)


def _knock(scope: Scope) -> Knock:
    headers = Headers(scope=scope)
    client = scope.get("client")
    return Knock(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        peer=client[0] if client else None,
        all_of=headers.getlist,
    )


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"more than {limit} bytes; send less at once")


def _bounded(receive: Receive, limit: int) -> Receive:
    """`receive`, until more than `limit` bytes have come: a chunked body does not say how long it is."""
    left = limit

    async def bounded() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413, _too_large(limit).text)
        return message

    return bounded


def _with_headers(send: Send, path: str) -> Send:
    is_static = path == "/" or path.startswith("/static/")

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-cache" if is_static else "no-store")
        await send(message)

    return send_with_headers
