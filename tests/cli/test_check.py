from pathlib import Path

from typer.testing import CliRunner

from streamqa.cli.main import app
from streamqa.errors import ConfigError
from tests.clips import bright_when

QUESTIONS = "questions: {q: {ask: 'Anybody?', kind: yes_no}}\n"


def test_each_source_is_opened_and_described(tmp_path: Path) -> None:
    clip = bright_when(tmp_path / "a.mp4", lambda t_s: True)
    config = tmp_path / "c.yaml"
    config.write_text(f"sources: {{clip: {clip}, scene: 'scene:gate'}}\n{QUESTIONS}")
    result = CliRunner().invoke(app, ["check", str(config)])
    assert result.exit_code == 0
    assert "2 sources, 1 questions" in result.output
    assert "clip: recorded, 64x48" in result.output
    assert "scene: live, 640x360" in result.output


def test_a_source_without_a_picture_is_exit_3_with_the_reason_and_without_the_password(
    tmp_path: Path,
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        f"sources: {{gone: {tmp_path}/gone.mp4, cam: 'rtsp://u:hunter2@127.0.0.1:9/x'}}\n{QUESTIONS}"
    )
    result = CliRunner().invoke(app, ["check", str(config)])
    assert result.exit_code == 3
    assert "gone.mp4" in result.output
    assert "cam: " in result.output
    assert "hunter2" not in result.output


def test_sources_can_be_left_alone(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(f"sources: {{gone: {tmp_path}/gone.mp4}}\n{QUESTIONS}")
    assert CliRunner().invoke(app, ["check", str(config), "--no-open"]).exit_code == 0


def test_a_wrong_file_is_a_configuration_error(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("sources: {x: 'ftp://h/a.mp4'}\n" + QUESTIONS)
    result = CliRunner().invoke(app, ["check", str(config)])
    assert isinstance(result.exception, ConfigError)
    assert "sources.x" in str(result.exception)


def test_a_model_that_is_not_there_is_told_before_any_source_is_opened(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(f"model: tinny\nsources: {{gone: {tmp_path}/gone.mp4}}\n{QUESTIONS}")
    result = CliRunner().invoke(app, ["check", str(config)])
    assert isinstance(result.exception, ConfigError)
    assert "no such model" in str(result.exception)
    assert result.output == ""
