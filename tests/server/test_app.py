"""HTTP as a browser, a script and a monitoring system see it, against a real server."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx2
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from streamqa.metrics import Metrics
from streamqa.server.app import make_app
from streamqa.server.broadcast import Broadcaster
from streamqa.server.context import Limits
from streamqa.server.guard import Guard
from streamqa.server.locks import Locks
from streamqa.server.login import STATIC
from streamqa.server.middleware import SECURITY_HEADERS
from streamqa.server.visitor import need
from streamqa.sinks.log import AnswerLog

Get = Callable[..., httpx2.Response]


def test_the_page_is_complete_and_stands_alone(get: Get) -> None:
    response = get("/")
    assert response.status_code == 200
    for page in STATIC.glob("*.html"):
        assert "<script>" not in page.read_text()
        assert not re.search(r"style=|\son\w+=|javascript:", page.read_text())
    assert response.headers["content-type"].startswith("text/html")
    references = re.findall(r'(?:src|href)="([^"]*)"', response.text)
    assert references
    for reference in references:
        assert not reference.startswith(
            ("/", "http", "//", "data:")
        )  # relative: also works behind a proxy's path
        assert get(f"/{reference}").status_code == 200


def test_pages_work_at_a_path_of_a_proxy() -> None:
    """Nothing in them begins at the root of a server."""
    for file in (*STATIC.glob("*.html"), *STATIC.glob("*.js"), *STATIC.glob("*.css")):
        found = re.findall(
            r"""(?:href|src|action)="/|fetch\([`"']/|URL\([`"']/|url\(/|from "/""", file.read_text()
        )
        assert not found, file


def test_scripts_never_make_html_of_what_they_are_sent() -> None:
    scripts = list(STATIC.glob("*.js"))
    assert scripts
    for script in scripts:
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script.read_text()
        )


def test_security_headers_are_everywhere(get: Get) -> None:
    for path in ("/", "/static/app.js", "/api/info", "/nowhere", "/api/records?after=x", "/metrics"):
        headers = get(path).headers
        for name, value in SECURITY_HEADERS.items():
            assert headers[name] == value, path
        assert "server" not in headers
        assert headers["cache-control"] == ("no-cache" if path in ("/", "/static/app.js") else "no-store")


def test_no_documentation_pages_that_load_from_elsewhere(get: Get) -> None:
    assert get("/docs").status_code == 404
    assert get("/redoc").status_code == 404
    assert "/api/records" in get("/openapi.json").json()["paths"]


def test_foreign_names_are_refused(get: Get) -> None:
    response = get("/api/info", headers={"host": "evil.example"})
    assert response.status_code == 403
    assert "content-security-policy" in response.headers
    assert get("/api/info", headers={"host": "localhost:1234"}).status_code == 200


def test_nothing_outside_the_static_folder_is_served(get: Get) -> None:
    for path in ("/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/%2e%2e/types.py"):
        assert get(path).status_code == 404, path


# What strangers may have. Whoever adds a route gives it a `need`; whoever adds one here has thought about it twice.
OPEN_TO_ALL = {"/", "/login", "/logout", "/healthz", "/readyz"}
WITHOUT_ROUTES_OF_FASTAPI = {
    "/openapi.json",
    "/static",
}  # the guard wants a token for them, but for the login page's


def needs(dependant: Dependant) -> list[str]:
    """The scopes that a route asks for."""
    own = [dependant.call.scope] if isinstance(dependant.call, need) else []
    return own + [scope for inner in dependant.dependencies for scope in needs(inner)]


def test_every_route_needs_a_scope_but_for_those_that_are_open(site: Any) -> None:
    with closing(AnswerLog(site.path)) as site.log:
        guard = Guard("127.0.0.1", 1, Locks(), Metrics(), (1, 1))
        feed = Broadcaster(site.context(), lambda *_: None, Limits())
        routes = make_app(site.context(), guard, feed, Limits()).routes
    found = {route.path: route for route in routes}
    assert len(found) > 8
    assert {
        path for path, route in found.items() if not isinstance(route, APIRoute)
    } == WITHOUT_ROUTES_OF_FASTAPI
    for route in routes:
        if not isinstance(route, APIRoute) or route.path in OPEN_TO_ALL:
            continue
        scopes = needs(route.dependant)
        assert scopes, f"{route.path} has no need(…) among its dependencies"
        if route.methods - {"GET", "HEAD"}:
            assert set(scopes) & {"ask", "admin"}, (
                f"{route.methods} {route.path} changes something for readers"
            )
