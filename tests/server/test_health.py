"""Health, readiness and metrics, against a real server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2

Get = Callable[..., httpx2.Response]


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
