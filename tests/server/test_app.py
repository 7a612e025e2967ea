"""HTTP as a browser, a script and a monitoring system see it, against a real server."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from streamqa.server.app import SECURITY_HEADERS, STATIC
from streamqa.types import Fault

Get = Callable[..., httpx2.Response]


@contextmanager
def in_background(site: Any) -> Iterator[None]:
    """The server in a loop of its own, so that a plain HTTP client can talk to it."""
    ready, stop = Event(), Event()

    async def main() -> None:
        async with site.running():
            ready.set()
            await asyncio.to_thread(stop.wait, 60)

    thread = Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert ready.wait(10)
        yield
    finally:
        stop.set()
        thread.join(10)


@pytest.fixture
def get(site: Any) -> Iterator[Get]:
    with in_background(site), httpx2.Client(base_url=site.http, trust_env=False, timeout=10) as client:
        yield client.get


def test_records(site: Any, get: Get, answer: Any, status: Any) -> None:
    logged = site.log.append([answer(0), status("desk"), answer(1, source="desk", question="cars")])
    body = get("/api/records").json()
    assert body["records"] == [item.payload for item in logged]
    assert (body["epoch"], body["first_seq"], body["last_seq"]) == (site.log.epoch, 1, 3)

    def seqs(**query: Any) -> list[int]:
        return [record["seq"] for record in get("/api/records", params=query).json()["records"]]

    assert seqs(after=1, limit=1) == [2]
    assert seqs(source="desk") == [2, 3]
    assert seqs(source=["desk", "gate"], question="person") == [1, 2]
    assert seqs(question="person", type="answer") == [1]
    assert seqs(after=3) == []
    site.log.append([Fault("model_worker", "it died", datetime.now(UTC))])
    assert seqs(source="desk", type=["error", "source"]) == [2, 4]


def test_a_bad_query_is_the_clients_fault(get: Get) -> None:
    for query in ("after=-1", "after=x", "limit=0", "limit=1001", "type=x", f"after={2**63}"):
        assert get(f"/api/records?{query}").status_code == 422, query


def test_info(site: Any, get: Get) -> None:
    body = get("/api/info").json()
    assert body["protocol"] == 1
    assert body["model"]["note"] == "knows nothing"
    assert [question["id"] for question in body["questions"]] == ["person", "cars"]


def test_health_readiness_and_metrics(site: Any, get: Get) -> None:
    assert get("/healthz").json() == {"ok": True}
    assert get("/readyz").json() == {"ready": True, "reasons": []}
    site.reasons.append("gate: no frame for 12 s")
    response = get("/readyz")
    assert response.status_code == 503
    assert response.json()["reasons"] == ["gate: no frame for 12 s"]
    metrics = get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "streamqa_subscribers 0.0" in metrics.text


def test_latest_pictures(site: Any, get: Get) -> None:
    assert get("/sources/gate/latest.jpg").status_code == 404  # none yet
    assert get("/sources/elsewhere/latest.jpg").status_code == 404
    assert get("/sources/..%2f..%2fetc%2fpasswd/latest.jpg").status_code == 404
    site.images["gate"] = np.full((90, 160, 3), (200, 30, 30), np.uint8)
    response = get("/sources/gate/latest.jpg")
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["cache-control"] == "no-store"
    picture = Image.open(io.BytesIO(response.content))
    assert picture.size == (160, 90)
    red, green, blue = picture.getpixel((80, 45))
    assert red > 180
    assert max(green, blue) < 60
    assert get("/sources/gate/latest.jpg").content == response.content
    site.images["gate"] = np.zeros((1080, 1920, 3), np.uint8)
    assert Image.open(io.BytesIO(get("/sources/gate/latest.jpg").content)).size == (1280, 720)


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
