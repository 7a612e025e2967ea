"""Every way in which a source can fail, with a password in its URL: nobody is told it, whatever they read.

Nor the tokens of the server, the good ones and the bad ones that somebody tries.

One `run`, one `ask` and one `check` meet all failures at once, and what they print, log, serve and send is searched.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError

import pytest
import yaml
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from streamqa.bench.camera_process import CameraProcess
from streamqa.capture.encode import write_video
from tests.capture.conftest import numbered
from tests.cli.process import ENVIRONMENT, SAMPLES
from tests.http_server import HttpCamera

SECRET = "s3cret"
WHO = f"user:{SECRET}"
TOKEN, FILED, WRONG = (f"{SECRET}-{name}-token-0123456789" for name in ("good", "filed", "wrong"))
WITH_TOKEN = ENVIRONMENT | {"STREAMQA_TOKEN": TOKEN}
COMMAND = [sys.executable, "-m", "tests.broken_source"]
QUESTION = ["-q", "Is there a person?", "--kind", "yes_no", "--model", "tiny"]
SLOW = ("black-hole", "no-tls", "no-video")
PATIENCE_S = 40


T = TypeVar("T")


@dataclass
class World:
    """Servers that fail, and the sources that meet them."""

    failing: dict[str, str]  # never give a picture
    losing: dict[str, str]  # give some at first
    dying: CameraProcess

    @property
    def quick(self) -> dict[str, str]:
        """Those that fail at once, where others take the 5 s after which capture gives up."""
        return {name: url for name, url in self.failing.items() if name not in SLOW}

    @property
    def sources(self) -> dict[str, str]:
        return self.failing | self.losing


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    images = [numbered(i, 40) for i in range(60)]
    clip = folder / "clip.mp4"
    write_video(clip, images, 30, options={"bf": "0", "g": "15", "sc_threshold": "0"})
    (folder / "hls").mkdir()
    with ExitStack() as stack:
        camera, other, dying, noisy = (
            CameraProcess(clip, "--user", "user", "--password", password)
            for password in (SECRET, "another", SECRET, SECRET)
        )
        for one in (camera, other, dying, noisy):
            one.start()
            stack.callback(one.kill)
        noisy.command("corrupt 0.9")
        web = HttpCamera(clip, images, folder / "hls")
        stack.callback(web.close)
        hole = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        dead = "127.0.0.1:9"
        yield World(
            failing={
                "wrong-password": other.url(WHO),
                "no-such-path": camera.url(WHO, "/missing"),
                "closed": f"rtsp://{WHO}@{dead}/cam",
                "closed-http": f"http://{WHO}@{dead}/cam",
                "closed-rtmp": f"rtmp://{WHO}@{dead}/live/cam",
                "no-such-host": f"rtsp://{WHO}@nohost.invalid/cam",
                "black-hole": f"rtsp://{WHO}@127.0.0.1:{hole.getsockname()[1]}/cam",
                "no-tls": camera.url(WHO).replace("rtsp:", "rtsps:"),
                "wrong-password-http": web.url("secret/mjpeg", WHO),
                "no-such-path-http": web.url("missing", WHO),
                "in-the-query": web.url(f"missing?user=user&password={SECRET}"),
                "no-video": web.url("live.m3u8", WHO).replace("live.m3u8", "hang"),
                "bug": f"scene://{WHO}@127.0.0.1/cam",
                **files(folder),
            },
            losing={
                "dies": dying.url(WHO),
                "noisy": noisy.url(WHO),
                "cut": web.url("cut", WHO),
                "clip": str(SAMPLES / "gate.mp4"),
            },
            dying=dying,
        )


def files(folder: Path) -> dict[str, str]:
    """Paths that hold no video, by what is there instead."""
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("This is no video.\n" * 100)
    (folder / "directory").mkdir()
    (folder / "directory" / "notes.txt").write_text("no image")
    return {name: str(folder / name) for name in ("empty.mp4", "text.mp4", "directory", "missing.mp4")}


def configured(folder: Path, sources: dict[str, str]) -> Path:
    path = folder / "c.yaml"
    items = {name: {"url": url} for name, url in sources.items()}
    questions = {"person": {"ask": "Is there a person?", "kind": "yes_no"}}
    (folder / "filed").write_text(FILED)
    tokens = [
        {"name": "me", "scope": "admin", "token": "${STREAMQA_TOKEN}"},
        {"name": "dash", "file": str(folder / "filed")},
    ]
    config = {"model": "tiny", "log": {"path": "c.db"}, "serve": {"tokens": tokens}}
    path.write_text(yaml.safe_dump({**config, "sources": items, "questions": questions}))
    return path


def finished(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=120, cwd=folder, env=WITH_TOKEN
    )


class Serving:
    """A `streamqa run`, with all that it says."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.told = folder / "stderr"
        with self.told.open("w") as told:
            command = [*COMMAND, *options, "run", "c.yaml", "--port", "0"]
            self.process = subprocess.Popen(command, stdout=told, stderr=told, env=WITH_TOKEN, cwd=folder)
        found = self.until(lambda: re.search(r"http://127\.0\.0\.1:\d+/", self.told.read_text()))
        self.http = found[0]

    def until(self, look: Callable[[], T | None]) -> T:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := look()):
            assert time.monotonic() < deadline, self.told.read_text()
            assert self.process.poll() is None, self.told.read_text()
            time.sleep(0.05)
        return found

    def get(self, path: str, token: str = TOKEN) -> str:
        request = urllib.request.Request(self.http + path, headers={"authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return str(response.read().decode())
        except HTTPError as error:
            with error:
                return error.read().decode()

    def states(self) -> dict[str, list[tuple[str, str]]]:
        """Every state of each source so far, with its reason."""
        found: dict[str, list[tuple[str, str]]] = {}
        for record in json.loads(self.get("api/records?limit=1000&type=source"))["records"]:
            found.setdefault(record["source"], []).append((record["state"], record["reason"]))
        return found

    def messages(self) -> list[str]:
        """What a subscriber gets, from the first record on."""

        async def listen() -> list[str]:
            url = self.http.replace("http", "ws") + "ws"
            for wrong in (["streamqa", f"bearer.{WRONG}"], [f"bearer.{FILED[:-1]}"]):
                with pytest.raises(InvalidStatus):
                    await connect(url, subprotocols=wrong)
            async with connect(url, subprotocols=["streamqa", f"bearer.{FILED}"]) as ws:
                found = [str(await ws.recv())]
                hello = json.loads(found[0])
                await ws.send(json.dumps({"type": "subscribe", "since": 0, "epoch": hello["epoch"]}))
                while json.loads(found[-1]).get("seq", 0) < hello["last_seq"]:
                    found.append(str(await asyncio.wait_for(ws.recv(), 10)))
                return found

        return asyncio.run(listen())

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def failed(states: dict[str, list[tuple[str, str]]], names: list[str]) -> bool:
    """Whether each of them has told a failure."""
    return all({"reconnecting", "refused"} & {state for state, _ in states.get(name, ())} for name in names)


@pytest.mark.parametrize(
    "options", [["--debug"], pytest.param([], marks=pytest.mark.slow)], ids=["debug", "plain"]
)
def test_run_never_tells_a_password(world: World, tmp_path: Path, options: list[str]) -> None:
    configured(tmp_path, world.sources)
    if world.dying.process is None:
        world.dying.start()
    server = Serving(tmp_path, *options)
    try:
        server.until(lambda: "live" in {state for state, _ in server.states().get("dies", ())})
        world.dying.kill()
        server.until(lambda: failed(server.states(), [*world.failing, "dies", "cut"]))
        states = server.states()
        read = {
            path: server.get(path) for path in ("api/records?limit=1000", "api/info", "metrics", "readyz")
        }
        read |= {
            f"{path} refused": server.get(path, WRONG) for path in ("api/info", f"api/info?token={TOKEN}")
        }
        read["websocket"] = "\n".join(server.messages())
        assert server.end() == 0
    finally:
        server.process.kill()
        server.process.wait(10)
    read["stderr"] = server.told.read_text()
    read |= {
        path.name: path.read_bytes().decode("latin-1") for path in tmp_path.glob("c.db*") if path.is_file()
    }
    assert [name for name, text in read.items() if SECRET in text] == []
    assert all(name in read["websocket"] and name in read["stderr"] for name in world.failing)
    assert ("Traceback" in read["stderr"]) == bool(options)  # of the bug, and only where it is asked for
    reasons = {name: reason for name, told in states.items() for state, reason in told if state != "live"}
    for name, words in (
        ("wrong-password", "401"),
        ("no-such-path", "404"),
        ("wrong-password-http", "401"),
        ("no-such-path-http", "404"),
        ("closed", "refused"),
        ("bug", "unexpected RuntimeError"),
    ):
        assert words in reasons[name], reasons[name]


QUICK_AND_ALL = pytest.mark.parametrize("which", ["quick", pytest.param("failing", marks=pytest.mark.slow)])


@QUICK_AND_ALL
def test_check_never_tells_a_password_and_has_a_line_for_each_failure(
    world: World, tmp_path: Path, which: str
) -> None:
    sources: dict[str, str] = getattr(world, which)
    configured(tmp_path, sources)
    done = finished(tmp_path, "--debug", "check", "c.yaml")
    assert done.returncode == 3, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout
    named = [line.partition(": ")[0] for line in done.stdout.splitlines()[1:]]
    assert sorted(named) == sorted(sources)


@QUICK_AND_ALL
def test_ask_never_tells_a_password_and_has_a_line_for_each_failure(
    world: World, tmp_path: Path, which: str
) -> None:
    sources: dict[str, str] = getattr(world, which)
    done = finished(tmp_path, "--debug", "ask", *sources.values(), *QUESTION)
    assert done.returncode == 3, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert done.stdout == ""
    told = [line for line in done.stderr.splitlines() if line.startswith("streamqa: ")]
    assert len(told) == len(sources) + 2, done.stderr  # what the model is, and the sum


@pytest.mark.parametrize("command", ["check", "ask"])
def test_a_scheme_that_nobody_knows_is_a_wrong_setting(tmp_path: Path, command: str) -> None:
    url = f"ftp://{WHO}@127.0.0.1/cam"
    configured(tmp_path, {"cam": url})
    done = finished(tmp_path, *(["check", "c.yaml"] if command == "check" else ["ask", url, *QUESTION]))
    assert done.returncode == 2
    assert SECRET not in done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert "unknown scheme" in line
