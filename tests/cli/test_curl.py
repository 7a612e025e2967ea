"""Every `curl` of the README, run as it is written against the demo; only the port is another one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.cli.process import COMMAND, ENVIRONMENT, ROOT, until

WRITTEN = "127.0.0.1:8765"  # what the README says
# Read by curl itself, so that the commands stay as they are: an HTTP error is an error, and nothing lasts for ever.
CURLRC = "silent\nshow-error\nfail-with-body\nmax-time = 20\nnoproxy = *\n"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def fenced(text: str) -> list[str]:
    """The commands of blocks marked `sh` that begin with `curl`, continued lines joined."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("curl ")]


def inline(text: str) -> list[str]:
    """Those in the middle of a sentence."""
    without_blocks = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`(curl [^`]+)`", without_blocks)


README = (ROOT / "README.md").read_text()
FENCED, INLINE = fenced(README), inline(README)
# What needs more than the demo (a token, a certificate) is tried where that is tested.
FOR_THE_DEMO = [line for line in FENCED if f"http://{WRITTEN}" in line and "$" not in line]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address and the port of a running `streamqa demo`, once it answers."""
    folder = tmp_path_factory.mktemp("demo")
    with (folder / "told").open("w+") as told:
        process = subprocess.Popen(
            [*COMMAND, "demo", "--port", "0", "--no-browser"],
            stdout=subprocess.DEVNULL, stderr=told, env=ENVIRONMENT, cwd=folder,
        )  # fmt: skip
    try:
        until(lambda: "http://" in (folder / "told").read_text())
        (address,) = re.findall(r"http://(127\.0\.0\.1:\d+)/", (folder / "told").read_text())
        with httpx2.Client(base_url=f"http://{address}", trust_env=False, timeout=20) as client:
            until(lambda: client.get("/readyz").status_code == 200)
            until(lambda: _newest_t_s(client) >= 2)  # there is a past to be asked about
        yield address
    finally:
        process.terminate()
        process.wait(20)


def _newest_t_s(client: httpx2.Client) -> float:
    found = client.get("/api/records?type=answer&order=newest&limit=1").json()["records"]
    return float(found[0]["t_s"]) if found else 0.0


def run(command: str, address: str, home: Path, curlrc: str = CURLRC) -> subprocess.CompletedProcess[str]:
    """As a shell runs it."""
    (home / ".curlrc").write_text(curlrc)
    return subprocess.run(
        ["bash", "-c", command.replace(WRITTEN, address)],
        capture_output=True, text=True, timeout=60, cwd=home, env=os.environ | {"CURL_HOME": str(home)},
    )  # fmt: skip


def answer(command: str, address: str, home: Path) -> Any:
    done = run(command, address, home)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    if "-X DELETE" in command:  # 204: there is nothing left to say
        return done.stdout or "nothing"
    return json.loads(done.stdout)


def test_there_are_examples_and_all_are_of_the_one_port() -> None:
    assert len(FOR_THE_DEMO) >= 5
    addresses = {found for line in FENCED + INLINE for found in re.findall(r"127\.0\.0\.1:\d+", line)}
    assert addresses <= {WRITTEN}


def test_each_works_as_written_one_after_the_other(demo: str, tmp_path: Path) -> None:
    for command in FOR_THE_DEMO:
        said = answer(command, demo, tmp_path)
        assert said, command
        if "/api/records" in command:
            assert said["records"], command
        if "/api/ask" in command:
            assert said["state"] in ("ok", "unsure"), command


def test_events_follow_until_they_are_ended(demo: str, tmp_path: Path) -> None:
    commands = [line for line in INLINE if "/events" in line and f"http://{WRITTEN}" in line]
    assert commands
    for command in commands:
        done = run(command, demo, tmp_path, CURLRC.replace("max-time = 20", "max-time = 2"))
        assert done.returncode == 28, done.stderr  # the time is over, and nothing else
        events = re.findall(r"^data: ?(.*)$", done.stdout, re.MULTILINE)
        assert json.loads(events[0])["type"] == "hello"


def test_the_extractor() -> None:
    text = "a\n```sh\ncurl a \\\n  b\nls\n```\n```yaml\ncurl c\n```\nsee `curl -N d`\n"
    assert fenced(text) == ["curl a    b"]
    assert inline(text) == ["curl -N d"]
