"""Requests are counted by route, whatever clients make up, against a real server."""

from __future__ import annotations

import re
from typing import Any

from tests.server.test_health import Get


def requests(page: str) -> dict[tuple[str, str, str], float]:
    found = re.findall(r'http_requests_total\{method="(.*)",route="(.*)",status="(.*)"\} (\S+)', page)
    return {(method, route, status): float(value) for method, route, status, value in found}


def test_requests_are_counted_by_route(site: Any, get: Get) -> None:
    for path in (
        "/healthz",
        "/healthz",
        "/frames/1.jpg",
        "/frames/2.jpg",
        "/static/style.css",
        "/a",
        "/b",
        "/",
    ):
        get(path)
    page = get("/metrics").text
    assert requests(page) == {
        ("GET", "/healthz", "200"): 2,
        ("GET", "/frames/{seq}.jpg", "404"): 2,
        ("GET", "/static", "200"): 1,
        ("GET", "other", "404"): 2,
        ("GET", "/", "200"): 1,
    }
    assert 'streamqa_http_request_seconds_count{route="/healthz"} 2.0' in page


def test_what_clients_make_up_is_no_label(site: Any, get: Get) -> None:
    client = get.__self__  # type: ignore[attr-defined]
    for n in range(5):
        client.request(f"BREW{n}", f"/teapot/{n}", headers={"host": f"evil{n}.example"})
    client.request("PROPFIND", "/healthz")
    seen = requests(get("/metrics").text)
    assert {(method, route) for method, route, _ in seen} <= {("other", "other"), ("other", "/healthz")}
    assert sum(seen.values()) == 6
