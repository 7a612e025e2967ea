"""Records by HTTP, against a real server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx2

from streamqa.records import Fault
from tests.sinks.records import alert

Get = Callable[..., httpx2.Response]


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


def test_open_alerts(site: Any, get: Get) -> None:
    assert get("/api/alerts").json() == []
    end = alert(3, alert_id="one", phase="end", ended_ns=3 * 10**9)
    logged = site.log.append([alert(1, alert_id="one"), alert(2, alert_id="two"), end])
    assert get("/api/alerts").json() == [logged[1].payload]
    records = get("/api/records", params={"type": "alert", "question": "person"}).json()["records"]
    assert [record["seq"] for record in records] == [1, 2, 3]


def test_info(site: Any, get: Get) -> None:
    body = get("/api/info").json()
    assert body["protocol"] == 1
    assert body["model"]["note"] == "knows nothing"
    assert [question["id"] for question in body["questions"]] == ["person", "cars"]


def test_times_are_written_and_not_counted(get: Any) -> None:
    assert get("/api/records?from=2026-11-22T02:22:34Z").status_code == 200
    for wrong in ("0", "1763778154", "2026-11-22", "2026-11-22T02:22:34"):
        assert get(f"/api/records?from={wrong}").status_code == 422, wrong
