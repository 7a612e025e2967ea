import json
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from streamqa.cli.watch import _told
from tests.cli.process import COMMAND, ENVIRONMENT, streamqa
from tests.test_service import a_running_service


def test_watch_prints_the_answers_from_a_number_on_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    with a_running_service(tmp_path) as service:
        watch = subprocess.Popen(
            [*COMMAND, "watch", service.websocket, "--since", "0", "--format", "jsonl"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT,
        )  # fmt: skip
        assert watch.stdout is not None
        answers = [json.loads(watch.stdout.readline()) for _ in range(5)]
        watch.send_signal(signal.SIGINT)
        watch.stdout.close()
        assert watch.wait(20) == 130
    assert {answer["type"] for answer in answers} == {"answer"}
    assert [answer["t_s"] for answer in answers] == [0.0, 0.2, 0.4, 0.6, 0.8]


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ({"type": "error", "seq": 4, "code": "model_worker", "message": "it died"}, "trouble: it died"),
        ({"type": "error", "code": "internal", "message": "no log"}, "the server refused: no log"),
    ],
)
def test_an_error_that_is_a_record_is_no_refusal(message: dict[str, Any], line: str) -> None:
    assert _told(message) == line


def test_an_address_that_is_none_is_a_usage_error() -> None:
    result = streamqa("watch", "ftp://host/")
    assert result.returncode == 2
    assert "no address of a streamqa server" in result.stderr


def test_a_server_that_is_not_there_is_told_once_and_without_the_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    watch = subprocess.Popen(
        [*COMMAND, "watch", f"ws://viewer:hunter2@127.0.0.1:{port}/ws"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert watch.stderr is not None
    line = watch.stderr.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        watch.wait(2)  # it goes on trying
    watch.send_signal(signal.SIGINT)
    rest = watch.stderr.read()
    watch.stderr.close()
    assert watch.wait(20) == 130
    assert f"no connection to ws://127.0.0.1:{port}/ws" in line
    assert "hunter2" not in line + rest
    assert "no connection" not in rest
