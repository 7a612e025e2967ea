"""What stands around every HTTP request, against a real server with a token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from streamqa.server.auth import Keyring
from streamqa.server.context import Limits
from streamqa.server.locks import Locks
from streamqa.server.middleware import SECURITY_HEADERS
from streamqa.service_settings import TokenConfig

TOKEN = "read-token-0123456789"
WITH = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def client(site: Any, background: Any) -> Iterator[httpx2.Client]:
    site.locks = Locks(Keyring((TokenConfig(name="dash", scope="read", token=TOKEN),)))
    site.limits = Limits(body_bytes=1000, requests_per_s=1, requests_burst=3)
    site.reasons = ["gate is stale"]
    with background(site), httpx2.Client(base_url=site.http, trust_env=False, timeout=10) as client:
        yield client


def test_strangers_get_one_line_and_how_to_come_in(client: httpx2.Client) -> None:
    for path in (
        "/api/info",
        "/metrics",
        "/openapi.json",
        "/sources/gate/latest.jpg",
        "/static/app.js",
        "/x",
    ):
        response = client.get(path)
        assert response.status_code == 401, path
        assert response.headers["www-authenticate"] == "Bearer"
        assert list(response.json()) == ["detail"]
        for name, value in SECURITY_HEADERS.items():
            assert response.headers[name] == value
        assert "access-control-allow-origin" not in response.headers
    assert client.get("/api/info", headers=WITH).status_code == 200


def test_strangers_learn_whether_it_lives_and_is_ready_but_not_why(client: httpx2.Client) -> None:
    assert client.get("/healthz").json() == {"ok": True}
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"ready": False}
    assert "gate is stale" in client.get("/readyz", headers=WITH).text


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_that_is_too_large_is_refused(client: httpx2.Client, declared: bool) -> None:
    def body(size: int) -> Any:
        return b"x" * size if declared else iter([b"x" * 400] * (size // 400))

    assert client.post("/login", content=body(800)).status_code == 400
    for size in (1200, 4_000_000):
        try:
            response = client.post("/login", content=body(size))
        except httpx2.WriteError:  # it hung up before all was sent
            continue
        assert response.status_code == 413
        assert "1000 bytes" in response.json()["detail"]
    assert client.get("/healthz").status_code == 200


def test_too_many_requests_of_one_address_behind_a_proxy_on_this_machine(client: httpx2.Client) -> None:
    def statuses(address: str) -> list[int]:
        headers = {**WITH, "x-forwarded-for": f"6.6.6.6, {address}"}
        return [client.get("/api/info", headers=headers).status_code for _ in range(5)]

    assert statuses("203.0.113.7") == [200] * 3 + [429] * 2
    assert statuses("203.0.113.8")[:3] == [200] * 3
    refused = client.get("/api/info", headers={**WITH, "x-forwarded-for": "203.0.113.7"})
    assert int(refused.headers["retry-after"]) >= 1
    assert [client.get("/api/info", headers=WITH).status_code for _ in range(10)] == [200] * 10
