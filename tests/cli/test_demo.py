import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

from streamqa.cli.demo import demo_config
from streamqa.config import load_config
from tests.cli.process import COMMAND, ENVIRONMENT, ROOT, streamqa


def test_the_demo_answers_live_names_its_page_and_says_what_its_model_is(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    started_s = time.monotonic()
    with (tmp_path / "stderr").open("w+") as told:
        demo = subprocess.Popen(
            [*COMMAND, "demo", "--for", "6s", "--port", "0", "--no-browser"],
            stdout=subprocess.PIPE, stderr=told, text=True, env=ENVIRONMENT, cwd=empty,
        )  # fmt: skip
        assert demo.stdout is not None
        lines = [demo.stdout.readline() for _ in range(2)]
        first_answer_s = time.monotonic() - started_s
        lines += demo.stdout.readlines()
        demo.stdout.close()
        demo.wait(30)
        told.seek(0)
        stderr = told.read()
    assert demo.returncode == 0, stderr
    assert "time" in lines[0]
    assert " gate " in lines[1]
    assert first_answer_s < 60  # that it comes at all; how fast is measured, not tested
    assert re.search(r"http://127\.0\.0\.1:\d+/", stderr)
    assert "understands only" in stderr
    asked = set(load_config(demo_config()).questions)
    assert {line.split()[2] for line in lines[1:]} == asked
    assert list(empty.iterdir()) == []  # it leaves nothing behind


def test_a_port_that_was_asked_for_and_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = streamqa("demo", "--port", str(taken.getsockname()[1]), "--for", "1s")
    assert result.returncode == 2
    assert "in use" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_demo_is_the_shipped_configuration() -> None:
    assert demo_config() == ROOT / "configs" / "demo.yaml"


@pytest.mark.parametrize("text", ["-5s", "20"])
def test_for_takes_a_duration(text: str) -> None:
    assert streamqa("demo", "--for", text).returncode == 2
