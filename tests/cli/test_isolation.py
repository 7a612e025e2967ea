"""`streamqa run` whose model is killed: what a subscriber sees of it, and what is left when the command ends."""

import asyncio
import json
import os
import re
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from streamqa.errors import ModelError
from streamqa.model.base import open_model
from tests.cli.process import SAMPLES, alive, children, streamqa, until
from tests.cli.test_serve import Running

CONFIG = """
model: tiny
sources: {gate: "scene:gate"}
questions:
  person: {ask: "Is there a person?", kind: yes_no, every: 200ms}
  gate: {ask: "Is the gate open or closed?", kind: choice, choices: [open, closed], every: 200ms}
"""
TICK_S = 0.2


@pytest.fixture
def running(tmp_path: Path) -> Any:
    server = Running(tmp_path, CONFIG)
    yield server
    server.end()


def metric(server: Running, name: str) -> float:
    with urllib.request.urlopen(server.http + "metrics", timeout=10) as response:
        found = re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", response.read().decode(), re.MULTILINE)
    assert found, name
    return float(found[1])


def kill_in_a_batch(server: Running) -> None:
    """Stop the worker, wait until a batch must be in it, and kill it."""
    (worker,) = children(server.process.pid)
    os.kill(worker, signal.SIGSTOP)
    kept = metric(server, "streamqa_frames_kept_total")
    until(lambda: metric(server, "streamqa_frames_kept_total") >= kept + 3)
    os.kill(worker, signal.SIGKILL)


def reasons(server: Running) -> list[str]:
    try:
        found: list[str] = server.get("readyz")["reasons"]
    except urllib.error.HTTPError as error:
        with error:
            found = json.load(error)["reasons"]
    return found


async def watch_a_kill(server: Running) -> tuple[list[dict[str, Any]], float]:
    """Records of one connection until answers are well again, and the seconds without a good one."""
    seen: list[dict[str, Any]] = []
    async with connect(server.ws) as ws:

        async def hear() -> dict[str, Any]:
            message: dict[str, Any] = json.loads(await asyncio.wait_for(ws.recv(), 30))
            assert message["type"] != "gap", message
            if "seq" in message:
                seen.append(message)
            return message

        await ws.send(json.dumps({"type": "subscribe", "since": 0}))
        while len(seen) < 20:
            await hear()
        await asyncio.to_thread(kill_in_a_batch, server)
        killed_s = time.monotonic()
        await asyncio.to_thread(until, lambda: any("SIGKILL" in line for line in reasons(server)))
        while (await hear())["type"] != "error":
            pass
        while (await hear()).get("state") != "ok":
            pass
        gap_s = time.monotonic() - killed_s
        enough = len(seen) + 20
        while len(seen) < enough:
            await hear()
    return seen, gap_s


def test_a_killed_worker_is_one_error_and_a_short_gap(running: Running) -> None:
    (worker,) = children(running.process.pid)
    mapped = Path(f"/proc/{running.process.pid}/maps").read_text()
    assert "libtorch" not in mapped  # only the worker needs it
    assert "libtorch" in Path(f"/proc/{worker}/maps").read_text()
    seen, gap_s = asyncio.run(watch_a_kill(running))
    print(f"the gap from the kill to the next good answer: {gap_s:.2f} s")  # pytest -s
    assert [record["seq"] for record in seen] == list(range(1, len(seen) + 1))
    (fault,) = [record for record in seen if record["type"] == "error"]
    assert fault["code"] == "model_worker"
    assert "SIGKILL" in fault["message"]
    answers = [record for record in seen if record["type"] == "answer"]
    errors = [answer for answer in answers if answer["state"] == "error"]
    assert errors
    assert all(record["seq"] > fault["seq"] and "SIGKILL" in record["reason"] for record in errors)
    assert {record["state"] for record in answers[-10:]} == {"ok"}
    for question in ("person", "gate"):
        own = [a for a in answers if a["question"] == question]
        ticks = [int((a["t_s"] + 1e-6) / TICK_S) for a in own]
        assert ticks == sorted(set(ticks))  # none twice
        assert (
            len(own) + sum(a["skipped"] for a in own) == ticks[-1] + 1
        )  # each answered, reported or counted
    assert metric(running, "streamqa_model_restarts_total") == 1
    assert not any("model" in line for line in reasons(running))
    (again,) = children(running.process.pid)
    assert again != worker
    assert running.stop() == 0
    assert again not in alive()
    assert len([line for line in running.told if "SIGKILL" in line]) == 1  # for who looks at the terminal


def test_stopping_while_the_model_is_away_takes_seconds(running: Running) -> None:
    (worker,) = children(running.process.pid)
    os.kill(worker, signal.SIGKILL)
    until(lambda: bool(reasons(running)))
    started_s = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - started_s < 10


def test_a_killed_run_leaves_no_worker_behind(running: Running) -> None:
    (worker,) = children(running.process.pid)
    running.process.kill()
    until(lambda: worker not in alive())


def test_a_model_that_cannot_be_loaded_ends_the_command_in_the_words_of_open_model(tmp_path: Path) -> None:
    model = f"model: {{name: moondream2, path: {tmp_path}}}"
    (tmp_path / "c.yaml").write_text(CONFIG.replace("model: tiny", model))
    result = streamqa("run", "c.yaml", "--port", "0", cwd=tmp_path)
    with pytest.raises(ModelError) as caught:
        open_model("moondream2", tmp_path)
    assert result.returncode == 4
    serving, *why = result.stderr.splitlines(keepends=True)
    assert "serving" in serving
    assert why == [f"streamqa: {caught.value}\n"]


def test_ask_can_have_a_process_of_its_own_too() -> None:
    asked = ["ask", str(SAMPLES / "gate.mp4"), "--model", "tiny", "-q", "Is there a person?", "--every", "2s"]
    result = streamqa(*asked, "--isolate", "--every-answer")
    assert result.returncode == 0
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert answers
    assert {answer["state"] for answer in answers} == {"ok"}
