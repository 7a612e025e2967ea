"""Sinks and webhooks by HTTP, against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from streamqa.records import Change
from streamqa.server.auth import Keyring
from streamqa.server.locks import Locks
from streamqa.service_settings import TokenConfig
from streamqa.sinks.outlet import SinkState
from tests.receiver import free_port
from tests.sinks.outlets import Ways

TOKENS = {scope: f"{scope}-token-of-sixteen-characters" for scope in ("read", "ask", "admin")}
SECRET = "a secret of 16 or more"
# A public address that nobody has to be at: nothing is sent in these tests.
FAR = {"webhook": "https://1.1.1.1/hunter2?key=s3cret", "secret": SECRET, "types": ["alert", "source"]}
SHOWN = {"webhook": "https://1.1.1.1/…", "secret": "***", "types": ["alert", "source"]}


@pytest.fixture
def ways(tmp_path: Path) -> Iterator[Ways]:
    made = Ways(tmp_path)
    yield made
    made.outlets.close()


@pytest.fixture
def http(site: Any, ways: Ways, serving: Any) -> Iterator[httpx2.Client]:
    site.sinks, site.webhooks = ways.outlets.states, ways.hooks
    with serving(site), httpx2.Client(base_url=site.http, trust_env=False, timeout=10) as client:
        yield client


def test_how_the_sinks_are_doing(http: httpx2.Client, site: Any, tmp_path: Path) -> None:
    (one,) = http.get("/api/sinks").json()["sinks"]
    assert one.pop("since").endswith("Z")
    assert one == {
        "id": "jsonl", "kind": "jsonl", "target": str(tmp_path / "all.jsonl"), "up": None, "reason": None,
        "queued": 0, "delivered": 0, "dropped": 0,
    }  # fmt: skip


def test_ready_although_a_sink_is_down(site: Any, serving: Any) -> None:
    at = datetime(2026, 11, 22, 2, 22, 34, tzinfo=UTC)
    site.sinks = lambda: [SinkState("far", "webhook", "https://x/…", False, "410 Gone", at, 7, 5, 3)]
    with serving(site), httpx2.Client(base_url=site.http, trust_env=False, timeout=10) as client:
        assert client.get("/readyz").status_code == 200
        assert client.get("/api/sinks").json()["sinks"] == [
            {
                "id": "far", "kind": "webhook", "target": "https://x/…", "up": False, "reason": "410 Gone",
                "since": "2026-11-22T02:22:34.000Z", "queued": 7, "delivered": 5, "dropped": 3,
            }
        ]  # fmt: skip
        assert client.get("/api/webhooks").status_code == 503
        assert client.put("/api/webhooks/far", json=FAR).status_code == 503


def test_a_webhook_from_its_beginning_to_its_end(http: httpx2.Client, ways: Ways) -> None:
    added = http.put("/api/webhooks/far", json=FAR)
    assert (added.status_code, added.json()) == (201, {"id": "far", "settings": SHOWN})
    again = http.put("/api/webhooks/far", json={**FAR, "types": ["alert"]})
    assert (again.status_code, again.json()["settings"]["types"]) == (200, ["alert"])
    assert http.get("/api/webhooks").json() == {"webhooks": [again.json()]}
    assert [one["id"] for one in http.get("/api/sinks").json()["sinks"]] == ["jsonl", "far"]
    gone = http.delete("/api/webhooks/far")
    assert (gone.status_code, gone.content) == (204, b"")
    assert http.delete("/api/webhooks/far").status_code == 404
    assert [(c.what, c.id, c.action, c.by) for c in ways.records if isinstance(c, Change)] == [
        ("webhook", "far", action, "local") for action in ("added", "changed", "removed")
    ]
    assert ways.records[0].settings == SHOWN


def test_a_private_address_is_refused_with_the_reason(http: httpx2.Client, ways: Ways) -> None:
    port = free_port()
    for host in ("127.0.0.1", "10.0.0.7", "localhost", "[::1]", "169.254.169.254"):
        refused = http.put("/api/webhooks/far", json={"webhook": f"http://{host}:{port}/hunter2"})
        assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
        assert "its address is not a public one; serve.add.hosts can allow it" in refused.json()["detail"]
        assert "hunter2" not in refused.text
    assert ways.records == []
    assert http.get("/api/webhooks").json() == {"webhooks": []}


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("jsonl", FAR, 409),
        ("far", {"webhook": "ftp://1.1.1.1/hunter2"}, 422),
        ("far", {**FAR, "secret": "***"}, 422),
        ("far", {**FAR, "colour": "red"}, 422),
        ("far", {**FAR, "types": []}, 422),
        ("far", SHOWN, 422),
        ("far", {**FAR, "id": "other"}, 422),
        ("-", FAR, 422),
    ],
)
def test_what_is_wrong_is_refused(http: httpx2.Client, ways: Ways, name: str, body: Any, status: int) -> None:
    refused = http.put(f"/api/webhooks/{name}", json=body)
    assert refused.status_code == status, refused.text
    assert "hunter2" not in refused.text
    assert ways.records == []


def test_who_may(site: Any, ways: Ways, serving: Any) -> None:
    tokens = [TokenConfig(name=scope, scope=scope, token=token) for scope, token in TOKENS.items()]  # type: ignore[arg-type]
    site.locks, site.sinks, site.webhooks = Locks(Keyring(tokens)), ways.outlets.states, ways.hooks
    with serving(site), httpx2.Client(base_url=site.http, trust_env=False, timeout=10) as client:
        for scope, token in TOKENS.items():
            client.headers["authorization"] = f"Bearer {token}"
            assert client.get("/api/sinks").status_code == 200
            assert client.get("/api/webhooks").status_code == 200
            may = scope == "admin"
            assert client.put("/api/webhooks/far", json=FAR).status_code == (201 if may else 403)
            assert client.delete("/api/webhooks/far").status_code == (204 if may else 403)
        del client.headers["authorization"]
        assert client.get("/api/sinks").status_code == 401
    assert [change.by for change in ways.records] == ["admin", "admin"]
