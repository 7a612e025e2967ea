"""Changes over the network to `streamqa run` as a process: kept beside the log or written into the file."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.cli.process import COMMAND, ENVIRONMENT, streamqa, until

CONFIG = """\
# the gate and what we ask of it
model: tiny
sources:
  gate: scene:gate   # made up
questions:
  person: {ask: "Is there a person?", kind: yes_no, every: 500ms}   # often
"""
LIGHT = {"id": "light", "settings": {"ask": "Is the light on?", "kind": "yes_no", "every": "500ms"}}


class Run:
    """A `streamqa run`, what it says, and a client of it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "run", "c.yaml", "--port", "0", *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=folder,
        )  # fmt: skip
        self.told: list[str] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.told.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                break
        else:
            self.process.wait(10)
            self.process.stderr.close()
            raise AssertionError("".join(self.told))
        self.http = httpx2.Client(base_url=found[0], trust_env=False, timeout=20)
        # its stderr must be read on, or a full pipe would stop it
        self._reader = threading.Thread(target=self.process.stderr.read, daemon=True)
        self._reader.start()
        until(lambda: self.http.get("/api/info").json()["model"] is not None)

    def end(self) -> None:
        """Killed: what was said to be done must be there all the same."""
        self.http.close()
        self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def names(self) -> list[str]:
        return [question["id"] for question in self.http.get("/api/questions").json()["questions"]]


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Run]:
    process = Run(folder, *options)
    try:
        yield process
    finally:
        process.end()


def test_a_change_outlives_a_killed_process_and_the_next_one_says_so(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    with running(tmp_path) as first:
        assert first.told[0].startswith("streamqa: serving")
        assert first.http.post("/api/questions", json=LIGHT).status_code == 201
        assert first.http.post("/api/questions/person/pause").status_code == 200
    assert (tmp_path / "c.yaml").read_text() == CONFIG
    with running(tmp_path) as second:
        (note,) = [line for line in second.told if "changes made while it ran" in line]
        assert "question light added, question person paused" in note
        assert "delete answers.db.changes.json" in note
        assert second.names() == ["person", "light"]
        assert second.http.get("/api/questions/person").json()["paused"] is True
    (tmp_path / "answers.db.changes.json").unlink()
    with running(tmp_path) as third:
        assert third.names() == ["person"]


def test_with_save_the_file_itself_says_it_and_keeps_its_comments(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    with running(tmp_path, "--save") as first:
        assert first.http.post("/api/questions", json=LIGHT).status_code == 201
        assert (
            first.http.put("/api/sources/gate", json={"url": "scene:gate", "priority": 2}).status_code == 200
        )
    text = (tmp_path / "c.yaml").read_text()
    assert text.splitlines()[:3] == CONFIG.splitlines()[:3]
    assert re.search(r'person: \{ask: "Is there a person\?", kind: yes_no, every: 500ms\} +# often', text)
    assert re.search(r"gate: \{url: scene:gate, priority: 2\} +# made up", text)
    assert 'light: {ask: "Is the light on?", kind: yes_no, every: 500ms}' in text
    assert not (tmp_path / "answers.db.changes.json").exists()
    with running(tmp_path) as second:
        assert second.names() == ["person", "light"]
        assert not any("changes" in line for line in second.told)


def test_saved_changes_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "answers.db.changes.json").write_text("{")
    result = streamqa("run", "c.yaml", "--port", "0", cwd=tmp_path)
    assert result.returncode == 2
    assert "move it away" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_save_needs_a_log_that_stays(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG + "log: {path: ':memory:'}\n")
    result = streamqa("run", "c.yaml", "--port", "0", "--save", cwd=tmp_path)
    assert result.returncode == 2
    assert "--save" in result.stderr


def test_sections_that_are_empty_on_purpose_are_taken(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("model: tiny\nsources: {}\nquestions: {}\n")
    with running(tmp_path, "--save") as first:
        source = {"id": "gate", "settings": {"url": "scene:gate"}}
        assert first.http.post("/api/sources", json=source).status_code == 201
        assert first.http.post("/api/questions", json=LIGHT).status_code == 201
    with running(tmp_path) as second:
        assert second.names() == ["light"]
