"""`streamqa run` on four cameras: one loses its power, the network swallows one, one freezes, the fourth works.

All of it is read off the records, as a subscriber would see them.
"""

from __future__ import annotations

import json
import signal
import time
import urllib.error
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamqa.bench.camera_process import CameraProcess
from streamqa.capture.encode import write_video
from tests.cli.test_serve import Running

EVERY_S = 0.5
CONFIG = """
model: tiny
sources:
{sources}
questions:
  person: {{ask: "Is there a person?", kind: yes_no, every: 500ms}}
"""
NAMES = ("killed", "swallowed", "frozen", "fine")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds at 10 fps with a keyframe each second; a sensor's noise makes each picture another one."""
    path, chance = tmp_path_factory.mktemp("four") / "clip.mp4", np.random.default_rng(4)
    pictures = (chance.integers(40, 120, (120, 160, 3), dtype=np.uint8) for _ in range(40))
    write_video(path, pictures, 10, options={"bf": "0", "g": "10", "sc_threshold": "0"})
    return path


@pytest.fixture
def cameras(noisy: Path) -> Iterator[dict[str, CameraProcess]]:
    made = {name: CameraProcess(noisy) for name in NAMES}
    for camera in made.values():
        camera.start()
    yield made
    for camera in made.values():
        camera.kill()


class Records:
    """What a run has recorded so far."""

    def __init__(self, server: Running) -> None:
        self._server = server
        self.all: list[dict[str, Any]] = []

    def update(self) -> None:
        after = self.all[-1]["seq"] if self.all else 0
        while new := self._server.get(f"api/records?after={after}&limit=500")["records"]:
            self.all += new
            after = new[-1]["seq"]

    def until(self, found: Callable[[], bool], timeout_s: float, what: str) -> None:
        end_s = time.monotonic() + timeout_s
        while self.update() or not found():
            states = [(r["source"], r["state"], r["reason"]) for r in self.all if r["type"] == "source"]
            assert time.monotonic() < end_s, f"waited for {what}, got {states}"
            time.sleep(0.1)

    def of(self, source: str, type_: str = "source") -> list[dict[str, Any]]:
        return [r for r in self.all if r["type"] == type_ and r["source"] == source]

    def state(self, source: str) -> str:
        told = self.of(source)
        return str(told[-1]["state"]) if told else ""


def reasons(server: Running) -> str:
    """What /readyz complains about."""
    try:
        found: list[str] = server.get("readyz")["reasons"]
    except urllib.error.HTTPError as error:
        with error:
            found = json.load(error)["reasons"]
    return " ".join(found)


def seconds_after(record: dict[str, Any], wall_s: float) -> float:
    return datetime.fromisoformat(record["at"]).timestamp() - wall_s


def fail(records: Records, cameras: dict[str, CameraProcess]) -> dict[str, tuple[float, dict[str, Any]]]:
    """Three cameras fail; for each, how long it took to be told, and the record."""
    began_s = time.time()
    cameras["killed"].kill()
    cameras["swallowed"].signal(signal.SIGSTOP)
    cameras["frozen"].command("freeze")
    wanted = {"killed": ("reconnecting",), "swallowed": ("stalled", "reconnecting"), "frozen": ("frozen",)}
    records.until(
        lambda: all(records.state(n) in states for n, states in wanted.items()), 20, "three reports"
    )
    told = {n: next(r for r in records.of(n) if seconds_after(r, began_s) > 0) for n in wanted}
    return {name: (seconds_after(record, began_s), record) for name, record in told.items()}


def come_back(records: Records, cameras: dict[str, CameraProcess]) -> None:
    cameras["killed"].start()
    cameras["swallowed"].signal(signal.SIGCONT)
    cameras["frozen"].command("resume")
    records.until(lambda: {records.state(name) for name in NAMES} == {"live"}, 30, "all are back")


def more_answers(records: Records, source: str) -> None:
    count = len(records.of(source, "answer"))
    records.until(lambda: len(records.of(source, "answer")) > count + 1, 10, f"answers of {source}")


def test_one_killed_one_swallowed_one_frozen_and_the_fourth_misses_no_tick(
    tmp_path: Path, cameras: dict[str, CameraProcess]
) -> None:
    sources = "\n".join(f"  {name}: {{url: '{c.url()}', frozen_after: 3s}}" for name, c in cameras.items())
    server = Running(tmp_path, CONFIG.format(sources=sources))
    records = Records(server)
    try:
        records.until(lambda: all(records.of(name, "answer") for name in NAMES), 30, "four first answers")
        told = fail(records, cameras)
        more_answers(records, "frozen")  # a warning, no stop
        trouble = reasons(server)
        come_back(records, cameras)
        for name in NAMES:
            more_answers(records, name)
    finally:
        code = server.stop()
        server.end()
    print({name: f"{record['state']} after {seconds:.2f} s" for name, (seconds, record) in told.items()})
    assert code == 0
    assert told["killed"][0] <= 1
    assert told["swallowed"][0] <= 6.5  # 6 s, and what a loaded machine takes
    assert 3 <= told["frozen"][0] <= 6
    assert "identical pictures for 3 s" in told["frozen"][1]["reason"]
    assert "killed is reconnecting" in trouble
    assert "swallowed is" in trouble
    assert "frozen" not in trouble
    check_accounts(records)


def check_accounts(records: Records) -> None:
    assert [record["state"] for record in records.of("fine")] == ["connecting", "live"]
    answers = records.of("fine", "answer")
    ticks = [int(answer["t_s"] / EVERY_S + 1e-6) for answer in answers]
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))
    assert sum(answer["skipped"] for answer in answers[1:]) == 0
    for name in NAMES:
        answers = records.of(name, "answer")
        ticks = [int(answer["t_s"] / EVERY_S + 1e-6) for answer in answers]
        assert ticks == sorted(set(ticks))
        assert len(answers) + sum(answer["skipped"] for answer in answers) == ticks[-1] + 1
