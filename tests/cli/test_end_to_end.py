"""`streamqa run` from outside: killed and started again, changed, asked about the past, its camera lost and back."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from websockets.sync.client import connect

from streamqa.bench.camera_process import CameraProcess
from streamqa.capture.encode import write_video
from tests.cli.process import until
from tests.cli.test_serve import Running

SCENE = """
model: tiny
sources:
  gate: scene:gate
questions:
  person: {ask: "Is there a person?", kind: yes_no, every: 200ms}
"""
CAMERA = """
model: tiny
sources:
  cam: {{url: '{url}'}}
questions:
  person: {{ask: "Is there a person?", kind: yes_no, every: 500ms}}
"""
LIGHT = {"id": "light", "settings": {"ask": "Is the light on?", "kind": "yes_no", "every": "200ms"}}


def client(server: Running) -> httpx2.Client:
    return httpx2.Client(base_url=server.http, trust_env=False, timeout=20)


def by_websocket(server: Running, since: int, epoch: str, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with connect(server.ws, proxy=None) as ws:
        ws.send(json.dumps({"type": "subscribe", "since": since, "epoch": epoch}))
        while len(found) < count:
            message = json.loads(ws.recv(20))
            assert message["type"] != "gap" or "seq" in message, message
            found += [message] if "seq" in message else []
    return found


def by_events(server: Running, since: int, epoch: str, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    request = urllib.request.Request(f"{server.http}events", headers={"Last-Event-ID": f"{epoch}:{since}"})
    with urllib.request.urlopen(request, timeout=20) as stream:
        place = ""
        while len(found) < count:
            name, _, value = stream.readline().decode().rstrip("\n").partition(": ")
            if name == "id":
                place = value
            elif name == "data" and "seq" in (message := json.loads(value)):
                assert place == f"{epoch}:{message['seq']}"
                found.append(message)
    return found


def by_rest(server: Running, since: int, epoch: str, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def enough() -> bool:
        page = server.get(f"api/records?after={found[-1]['seq'] if found else since}&limit=7")
        assert page["epoch"] == epoch
        found.extend(page["records"])
        return len(found) >= count

    until(enough)
    return found[:count]


def test_killed_and_started_again_three_ways_back_miss_nothing(tmp_path: Path) -> None:
    ways = (by_websocket, by_events, by_rest)
    config = SCENE.replace("200ms", "100ms")
    first = Running(tmp_path, config)
    try:
        epoch = first.get("api/info")["epoch"]
        before = [way(first, 0, epoch, count) for way, count in zip(ways, (14, 11, 17), strict=True)]
        first.process.kill()
    finally:
        first.end()
    second = Running(tmp_path, config)
    try:
        info = second.get("api/info")
        assert info["epoch"] == epoch
        until(lambda: second.get("api/info")["last_seq"] > info["last_seq"] + 5)
        goal = second.get("api/info")["last_seq"]
        for way, seen in zip(ways, before, strict=True):
            last = seen[-1]["seq"]
            whole = seen + way(second, last, epoch, goal - last)
            assert [record["seq"] for record in whole] == list(range(1, goal + 1))
            assert whole == by_rest(second, 0, epoch, goal)
        assert second.stop() == 0
    finally:
        second.end()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    server = Running(tmp_path, SCENE)
    yield server
    server.end()


def samples(http: httpx2.Client) -> dict[str, float]:
    page = http.get("metrics").text
    return {name: float(value) for name, value in re.findall(r"^(streamqa_\S+) (\S+)$", page, re.MULTILINE)}


def answers(http: httpx2.Client, question: str, least: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def enough() -> bool:
        found[:] = http.get(f"api/records?type=answer&question={question}&limit=1000").json()["records"]
        return len(found) >= least

    until(enough)
    return found


def test_a_question_is_added_answered_and_still_there_after_a_restart(
    tmp_path: Path, running: Running
) -> None:
    with client(running) as http:
        assert http.post("api/questions", json=LIGHT).status_code == 201
        assert answers(http, "light", 3)[0]["kind"] == "yes_no"
        (change,) = http.get("api/records?type=change").json()["records"]
        assert (change["what"], change["id"], change["action"], change["by"]) == (
            "question", "light", "added", "local",
        )  # fmt: skip
    assert running.stop() == 0
    running.end()
    again = Running(tmp_path, SCENE)
    try:
        with client(again) as http:
            before = len(http.get("api/records?question=light&type=answer&limit=1000").json()["records"])
            answers(http, "light", before + 3)
            assert [one["id"] for one in http.get("api/questions").json()["questions"]] == ["person", "light"]
    finally:
        again.end()


def test_asked_about_the_past_shown_what_was_seen_and_counted(running: Running) -> None:
    with client(running) as http:
        until(lambda: http.get("readyz").status_code == 200)
        seen = answers(http, "person", 27)  # five seconds
        once = {"source": "gate", "ask": "Is it day or night?", "kind": "choice", "choices": ["day", "night"]}
        now = http.post("api/ask", json=once).json()
        then = http.post("api/ask", json={**once, "ago_s": 5}).json()
        assert 3 <= now["t_s"] - then["t_s"] <= 9
        assert {now["value"], then["value"]} <= {"day", "night"}
        (first, *_) = [answer for answer in seen if answer["evidence"]]
        picture = http.get(first["evidence"].lstrip("/"))
        assert picture.headers["content-type"] == "image/jpeg"
        assert picture.content[:3] == b"\xff\xd8\xff"
        counted = samples(http)
    assert counted['streamqa_single_questions_total{outcome="answered"}'] == 2
    assert counted['streamqa_capture_to_delivery_seconds_count{source="gate"}'] >= 27
    assert counted["streamqa_evidence_kept_total"] >= 1
    assert counted["streamqa_log_append_seconds_count"] >= 27
    assert counted['streamqa_http_requests_total{method="GET",route="/frames/{seq}.jpg",status="200"}'] == 1
    assert counted['streamqa_http_requests_total{method="POST",route="/api/ask",status="200"}'] == 2


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[CameraProcess]:
    chance = np.random.default_rng(4)
    pictures = (chance.integers(40, 120, (120, 160, 3), dtype=np.uint8) for _ in range(40))
    write_video(tmp_path / "clip.mp4", pictures, 10, options={"bf": "0", "g": "10", "sc_threshold": "0"})
    made = CameraProcess(tmp_path / "clip.mp4")
    made.start()
    yield made
    made.kill()


def test_a_camera_that_dies_makes_it_not_ready_until_it_is_back(
    tmp_path: Path, camera: CameraProcess
) -> None:
    server = Running(tmp_path, CAMERA.format(url=camera.url()))
    try:
        with client(server) as http:
            until(lambda: http.get("readyz").status_code == 200)
            camera.kill()
            until(lambda: http.get("readyz").status_code == 503)
            (reason,) = http.get("readyz").json()["reasons"]
            assert re.match(r"cam is (reconnecting|refused|stalled), for \d+ s: \S", reason)
            assert http.get("healthz").json() == {"ok": True}  # the process lives, and serves
            camera.start()
            until(lambda: http.get("readyz").status_code == 200, 30)
            assert http.get("readyz").json() == {"ready": True, "reasons": []}
    finally:
        server.end()
