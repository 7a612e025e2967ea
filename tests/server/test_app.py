"""HTTP as a browser, a script and a monitoring system see it, against a real server."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx2

from streamqa.server.app import SECURITY_HEADERS, STATIC

Get = Callable[..., httpx2.Response]


def test_the_page_is_complete_and_stands_alone(get: Get) -> None:
    response = get("/")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    references = re.findall(r'(?:src|href)="([^"]*)"', response.text)
    assert references
    for reference in references:
        assert not reference.startswith(
            ("/", "http", "//", "data:")
        )  # relative: also works behind a proxy's path
        assert get(f"/{reference}").status_code == 200
    assert "<script>" not in response.text
    assert "style=" not in response.text


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
