import json
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from streamqa.cli.watch import TOKEN_VARIABLE, _token, told
from streamqa.client_messages import read_message
from tests.cli.process import COMMAND, ENVIRONMENT, streamqa
from tests.test_service import a_running_service

AT = "2026-11-22T02:22:34.120Z"


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


@pytest.mark.parametrize(("message", "line"), [
    ({"type": "error", "seq": 4, "code": "model_worker", "message": "it died"}, "trouble: it died"),
    (
        {"type": "error", "code": "internal", "message": "no log"},
        "the server has a trouble with this connection: no log",
    ),
    (
        {"type": "source", "seq": 1, "source": "gate", "state": "live", "reason": None, "at": AT, "t_s": None},
        "gate is live: no reason given",
    ),
    (
        {"type": "change", "seq": 1, "what": "question", "id": "cars", "action": "paused", "by": "me", "at": AT,
         "settings": {}},
        "question cars was paused by me",
    ),
    ({"type": "gap", "from": 3, "to": 5, "reason": "slow"}, "records 3 to 5 are missing: slow"),
    (
        {"type": "gap", "from": None, "to": None, "reason": "new_log"},
        "the server has another log now; its records follow from the first",
    ),
    (
        {"type": "gap", "seq": 4, "from": None, "to": None, "count": 7, "reason": "log_full", "at": AT},
        "7 records were not kept: log_full",
    ),
    (
        {"type": "alert", "seq": 4, "alert_id": "9", "phase": "begin", "rule": "person", "source": "gate",
         "question": "person", "kind": "yes_no", "severity": "warning", "when": "yes", "value": True,
         "confidence": 0.9, "peak_confidence": 0.97, "blind": False, "reason": None, "began_t_s": 1.0,
         "began_at": AT, "ended_t_s": None, "ended_at": None, "duration_s": 3.0, "t_s": 4.0, "at": AT,
         "evidence": None},
        "ALERT (warning): person at gate: yes, 97% sure, for 3 s",
    ),
    ({"type": "news"}, None),
])  # fmt: skip
def test_what_is_no_answer_is_told_in_a_line(message: dict[str, Any], line: str | None) -> None:
    assert told(read_message(message)) == line


def test_a_token_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert _token(None) is None
    monkeypatch.setenv(TOKEN_VARIABLE, "from-the-environment")
    assert _token(None) == "from-the-environment"
    (tmp_path / "token").write_text("from-a-file\n")
    assert _token(tmp_path / "token") == "from-a-file"


@pytest.mark.parametrize(("more", "line"), [
    (["--token-file", "/nowhere/token"], "/nowhere/token: the token cannot be read"),
    (["--ca-file", "/nowhere/ca.pem"], "no certificate is of use"),
    (["--every", "often"], "--every: 'often' is not a duration"),
    (["--token", "0123456789abcdef"], "No such option"),
])  # fmt: skip
def test_what_is_given_wrongly_is_a_usage_error(more: list[str], line: str) -> None:
    result = streamqa("watch", *more)
    assert result.returncode == 2
    assert line in result.stderr
    assert "0123456789abcdef" not in result.stderr


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
