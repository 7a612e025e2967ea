"""`streamqa run` as a process, with a subscriber that is cut off and comes back."""

import asyncio
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from streamqa.cli.serve import log_settings
from streamqa.config import parse_config
from streamqa.sinks.log import LogSettings
from streamqa.sinks.retention import Keeping
from tests.cli.process import COMMAND, ENVIRONMENT, SAMPLES, alive, children, streamqa, until

CONFIG = f"""
model: tiny
sources:
  clip: {{url: {SAMPLES / "gate.mp4"}, pace: realtime}}
questions:
  person: {{ask: "Is there a person?", kind: yes_no, every: 200ms}}
  gate: {{ask: "Is the gate open or closed?", kind: choice, choices: [open, closed], every: 200ms}}
"""


class Running:
    """A `streamqa run` and where it serves."""

    def __init__(self, folder: Path, config: str = CONFIG, *, loaded: bool = True) -> None:
        """`loaded`: wait for its model."""
        (folder / "c.yaml").write_text(config)
        self.process = subprocess.Popen(
            [*COMMAND, "run", "c.yaml", "--port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=folder,
        )  # fmt: skip
        assert self.process.stderr is not None
        lines, found = [], None
        while not found and (line := self.process.stderr.readline()):  # what was changed before is told first
            lines.append(line)
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        if not found:
            self.end()
        assert found, lines
        self.http = found[0]
        self.ws = f"ws://127.0.0.1:{found[1]}/ws"
        # its stderr must be read on, or a full pipe would stop it
        self.told: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()
        if loaded:
            until(lambda: self.get("api/info")["model"] is not None)

    def _listen(self) -> None:
        assert self.process.stderr is not None
        self.told += self.process.stderr

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.http + path, timeout=10) as response:
            return json.load(response)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
        return code

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    server = Running(tmp_path)
    yield server
    server.end()


async def records(ws: Any, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while len(found) < count:
        message = json.loads(await asyncio.wait_for(ws.recv(), 20))
        assert message["type"] != "gap", message
        if "seq" in message:
            found.append(message)
    return found


async def cut_off_and_back(server: Running, away_s: float) -> list[dict[str, Any]]:
    async with connect(server.ws) as ws:
        hello = json.loads(await asyncio.wait_for(ws.recv(), 20))
        assert hello["type"] == "hello"
        await ws.send(json.dumps({"type": "subscribe", "since": 0, "epoch": hello["epoch"]}))
        before = await records(ws, 25)
        ws.transport.abort()  # the cable is pulled: no goodbye
    await asyncio.sleep(away_s)
    async with connect(server.ws) as ws:
        again = json.loads(await asyncio.wait_for(ws.recv(), 20))
        assert again["epoch"] == hello["epoch"]
        missed = again["last_seq"] - before[-1]["seq"]
        assert missed > 0
        back = {"type": "subscribe", "since": before[-1]["seq"], "epoch": hello["epoch"]}
        await ws.send(json.dumps(back))
        return before + await records(ws, missed + 20)


def test_a_subscriber_that_is_cut_off_for_5_s_misses_nothing(running: Running) -> None:
    seen = asyncio.run(cut_off_and_back(running, away_s=5.0))
    assert [record["seq"] for record in seen] == list(range(1, len(seen) + 1))
    logged = running.get(f"api/records?after=0&limit={len(seen)}")
    assert logged["records"] == seen
    for question in ("person", "gate"):
        own = [r for r in seen if r["type"] == "answer" and r["question"] == question]
        assert len(own) >= 20
        ticks = [round(r["t_s"] * 5 - 0.4999) if (r["t_s"] * 5) % 1 else round(r["t_s"] * 5) for r in own]
        assert ticks == sorted(set(ticks))  # each tick once, in order
    assert running.get("healthz") == {"ok": True}
    assert running.stop() == 0


def test_sigterm_keeps_every_record_that_was_sent(running: Running, tmp_path: Path) -> None:
    async def some() -> list[dict[str, Any]]:
        async with connect(running.ws) as ws:
            await ws.send(json.dumps({"type": "subscribe", "since": 0}))
            return await records(ws, 30)

    seen = asyncio.run(some())
    assert running.stop() == 0
    from streamqa.sinks.log import AnswerLog

    log = AnswerLog(tmp_path / "answers.db")
    kept = [record.payload for record in log.read(0, 30)]
    log.close()
    assert kept == seen


def test_a_port_in_use_is_told_before_anything_is_loaded(running: Running, tmp_path: Path) -> None:
    port = running.ws.split(":")[2].split("/")[0]
    result = streamqa("run", "c.yaml", "--port", port, cwd=tmp_path)
    assert result.returncode == 2
    assert f"port {port}" in result.stderr


def test_a_configuration_without_questions_is_told(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("sources: {a: 'scene:gate'}")
    result = streamqa("run", "c.yaml", cwd=tmp_path)
    assert result.returncode == 2
    assert "at least one source and one question" in result.stderr


def test_a_signal_while_the_model_loads_ends_all_of_it_orderly(tmp_path: Path) -> None:
    server = Running(tmp_path, loaded=False)
    try:
        until(lambda: bool(children(server.process.pid)))
        (worker,) = children(server.process.pid)
        os.kill(worker, signal.SIGSTOP)  # a model that never gets ready
        assert server.get("healthz") == {"ok": True}
        assert server.get("api/info")["model"] is None
        started_s = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started_s < 5
        until(lambda: worker not in alive())
    finally:
        server.end()


def test_all_that_is_set_about_the_log_reaches_it() -> None:
    day_ms = 86_400_000
    usual = log_settings(parse_config("sources: {a: a.mp4}").log)
    assert usual.sync == "normal"
    assert usual.records == Keeping(30 * day_ms, 10 * 10**9)
    assert usual.evidence == Keeping(7 * day_ms, 10 * 10**9)
    other = "log: {keep: 2h, size: 500 MB, evidence: 1h, evidence_size: 'off', sync: full}"
    assert log_settings(parse_config(other).log) == LogSettings(
        "full", Keeping(7_200_000, 500 * 10**6), Keeping(3_600_000, None)
    )
    nothing = log_settings(parse_config("log: {keep: 'off', size: 'off', evidence: 'off'}").log)
    assert nothing == LogSettings()
