import subprocess
from pathlib import Path

import pytest

from streamqa.version import __version__
from tests.cli.process import COMMAND, ENVIRONMENT, streamqa


def test_help_names_every_command() -> None:
    result = streamqa("--help")
    assert result.returncode == 0
    for command in ("demo", "run", "ask", "watch", "check", "calibrate", "sources", "models", "scene"):
        assert f" {command} " in result.stdout


def test_version() -> None:
    assert streamqa("--version").stdout.strip() == __version__


def test_a_command_that_is_not_there_is_a_usage_error_with_a_suggestion() -> None:
    result = streamqa("rnu")
    assert result.returncode == 2
    assert "run" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["run", "none.yaml"], 2, "none.yaml: cannot be read"),
        (["ask", "none.mp4", "-q", "Anybody?", "--kind", "yesno"], 2, "--kind"),
        (["ask", "none.mp4", "-q", "Anybody?", "--every", "0s"], 2, "--every"),
        (["ask", "none.mp4", "-q", "Anybody?", "--model", "gpt"], 2, "no such model"),
        (["ask", "none.mp4"], 2, "no question"),
        (["ask", "ftp://host/x.mp4", "-q", "Anybody?"], 2, "unknown scheme"),
        (["ask", "none.mp4", "-q", "x" * 10_000], 2, "10,000 characters"),
        (["demo", "--for", "soon"], 2, "not a duration"),
    ],
)
def test_mistakes_are_one_line_and_an_exit_code(
    arguments: list[str], code: int, what: str, tmp_path: Path
) -> None:
    result = streamqa(*arguments, cwd=tmp_path)
    assert result.returncode == code
    lines = [line for line in result.stderr.splitlines() if line.startswith("streamqa: ")]
    assert any(what in line for line in lines), result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = streamqa("--debug", "run", "none.yaml", cwd=tmp_path)
    assert result.returncode == 2
    assert "Traceback" in result.stderr


def test_a_closed_stdout_and_a_narrow_locale_are_no_error() -> None:
    command = [*COMMAND, "models"]
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
    )
    assert (closed.returncode, closed.stderr) == (0, "")
    narrow = ENVIRONMENT | {"PYTHONIOENCODING": "ascii"}
    result = subprocess.run(
        [*COMMAND, "ask", "--help"], capture_output=True, text=True, env=narrow, timeout=60
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_an_error_cannot_steer_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text('"\\e[31mx": 1\n')
    result = streamqa("check", "a.yaml", cwd=tmp_path)
    assert result.returncode == 2
    assert "\x1b" not in result.stderr
