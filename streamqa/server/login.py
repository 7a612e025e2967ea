"""Logging in with a browser: a token becomes a session, whose id is all that the browser keeps."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from streamqa.server.guard import Guard, Knock, Refusal
from streamqa.server.http_errors import refusals
from streamqa.server.visitor import Visitor, guest_of, need

STATIC = Path(__file__).parent / "static"

_PAGE_CACHE = {"cache-control": "no-cache"}  # asked again each time: what stands there depends on the cookie


def add_login(app: FastAPI, guard: Guard, is_tls: bool) -> None:
    """`/`, `/login`, `/logout` and `/api/visitor`. Coroutines where the guard is asked, which belongs to the loop."""

    @app.get("/", include_in_schema=False)
    def page(request: Request) -> FileResponse:
        if guest_of(request) is None:
            return FileResponse(STATIC / "login.html", 401, headers=_PAGE_CACHE)
        return FileResponse(STATIC / "index.html", headers=_PAGE_CACHE)

    @app.post("/login", status_code=204, responses=refusals(400, 401, 429))
    async def login(request: Request) -> Response:
        """Take `{"token": …}`, as JSON or as a form, for a session: 204 and a cookie."""
        token = _token_in(await request.body(), request.headers.get("content-type", ""))
        if not guard.is_locked:
            return _said(400, "this server has no tokens; everything is open on this machine")
        if not token:
            return _said(400, 'send {"token": "…"}')
        session = guard.log_in(request.state.knock, token, time.monotonic())
        if isinstance(session, Refusal):
            return _said(session.status, session.text, session.headers)
        guard.log_out(request.state.knock)  # of the session that this one takes the place of
        response = Response(status_code=204)
        response.set_cookie(
            guard.cookie,
            session,
            max_age=int(guard.sessions.lifetime_s),
            path="/",
            httponly=True,
            samesite="strict",
            secure=is_tls or _is_proxied_tls(request),
        )
        return response

    @app.post("/logout", status_code=204)
    async def logout(request: Request) -> Response:
        """End the session."""
        guard.log_out(request.state.knock)
        response = Response(status_code=204)
        response.delete_cookie(guard.cookie, path="/", httponly=True, samesite="strict")
        return response

    @app.get("/api/visitor")
    async def visitor(request: Request, who: Annotated[Visitor, Depends(need("read"))]) -> dict[str, Any]:
        """Who is asking: the name of its token, what that may do, and whether it has logged in with a browser."""
        knock: Knock = request.state.knock
        return {"name": who.name, "scope": who.scope, "session": guard.has_session(knock, time.monotonic())}


def _is_proxied_tls(request: Request) -> bool:
    """Whether a proxy says that its client came by TLS. Whoever lies harms itself: the cookie is not sent back."""
    return request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower() == "https"


def _token_in(body: bytes, content_type: str) -> str | None:
    """The token in a request's body; None: there is none."""
    try:
        if content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
            found: Any = parse_qs(body.decode("ascii"), max_num_fields=10).get("token", [None])[0]
        else:
            message = json.loads(body)
            found = message.get("token") if isinstance(message, dict) else None
    except (ValueError, RecursionError):
        return None
    return found.strip() if isinstance(found, str) else None


def _said(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": text}, status, headers)
