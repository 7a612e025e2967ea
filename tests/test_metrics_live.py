"""Each count of a running service moves when its thing happens."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from pathlib import Path

from tests.test_service import Service, a_running_service, first_answers, get

ANSWERED = (
    "pictures_read_total", "frames_kept_total", "source_live", "frame_convert_seconds_count",
    "buffer_wait_seconds_count",
    "batch_pictures_count", "batch_limit", "model_seconds_count", "answers_total", "frame_to_answer_seconds_count",
    "records_logged_total", "log_append_seconds_count", "log_bytes", "flush_seconds_count",
    "capture_to_delivery_seconds_count", "messages_sent_total", "messages_received_total", "records_replayed_total",
    "loop_lag_seconds_count", "http_requests_total", "http_request_seconds_count",
)  # fmt: skip


def values(service: Service) -> dict[str, float]:
    """Every sample of ours by its name, summed over its labels."""
    with urllib.request.urlopen(f"{service.http}metrics", timeout=10) as response:
        page = response.read().decode()
    found: dict[str, float] = {}
    for name, value in re.findall(r"^streamqa_(\w+)(?:\{.*\})? (\S+)$", page, re.MULTILINE):
        found[name] = found.get(name, 0) + float(value)
    return found


def test_the_stages_of_an_answer_are_all_counted(tmp_path: Path) -> None:
    with a_running_service(tmp_path) as service:
        assert get(f"{service.http}healthz")[0] == 200
        asyncio.run(asyncio.wait_for(first_answers(service.websocket, 5), 30))
        asyncio.run(asyncio.wait_for(first_answers(service.websocket, 5), 30))
        seen = values(service)
    assert [name for name in ANSWERED if not seen.get(name)] == []
    assert seen["subscribers"] == seen["event_streams"] == seen["log_full"] == 0
    assert seen["single_questions_total" if "single_questions_total" in seen else "log_full"] == 0
    # From capture to the socket: longer than from the frame to its answer, and no minutes.
    delivered = seen["capture_to_delivery_seconds_sum"] / seen["capture_to_delivery_seconds_count"]
    answered = seen["frame_to_answer_seconds_sum"] / seen["frame_to_answer_seconds_count"]
    assert 0 < answered < delivered < 30


def test_an_open_connection_counts_as_a_subscriber_and_the_process_is_measured(tmp_path: Path) -> None:
    with a_running_service(tmp_path) as service:
        request = urllib.request.urlopen(f"{service.http}events", timeout=10)
        with request:
            assert request.readline()
            assert values(service)["event_streams"] == 1
        with urllib.request.urlopen(f"{service.http}metrics", timeout=10) as response:
            page = response.read().decode()
        version = json.loads(urllib.request.urlopen(f"{service.http}api/info", timeout=10).read())["version"]
    assert f'streamqa_build_info{{version="{version}"}} 1.0' in page
    assert re.search(r"^process_resident_memory_bytes \S+$", page, re.MULTILINE)
    assert re.search(r"^python_gc_objects_collected_total", page, re.MULTILINE)
