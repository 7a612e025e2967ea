import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamqa.cli.check import seen_size
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
    assert "sources: 2, questions: 1, model: moondream2" in result.output
    clip_line, scene_line = result.stdout.splitlines()[1:3]
    assert clip_line.startswith("clip: file, recorded, ")
    assert "64x48, 10 fps, " in clip_line
    assert "clock media, first picture after 0." in clip_line
    assert scene_line.startswith(
        "scene: scene, live, rendered, 640x360, 15 fps, clock arrival, first picture"
    )


def test_a_source_without_a_picture_is_exit_3_with_the_reason_and_without_the_password(
    tmp_path: Path,
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        f"sources: {{gone: {tmp_path}/gone.mp4, cam: 'rtsp://u:hunter2@127.0.0.1:9/x'}}\n{QUESTIONS}"
    )
    result = CliRunner().invoke(app, ["check", str(config)])
    assert result.exit_code == 3
    gone, cam = result.stdout.splitlines()[1:]
    assert gone == f"gone: {tmp_path}/gone.mp4: no such file; check the path"
    assert cam == "cam: rtsp://***@127.0.0.1:9/x: connection refused; is it on, and is the port right?"
    assert "hunter2" not in result.output


def test_all_others_are_told_when_one_fails(tmp_path: Path) -> None:
    clip = bright_when(tmp_path / "a.mp4", lambda t_s: True)
    config = tmp_path / "c.yaml"
    config.write_text(f"sources: {{a: {tmp_path}/gone.mp4, b: {clip}, c: {tmp_path}}}\n{QUESTIONS}")
    result = CliRunner().invoke(app, ["check", str(config)])
    assert result.exit_code == 3
    assert [line.split(":")[0] for line in result.stdout.splitlines()[1:4]] == ["a", "b", "c"]
    assert "c: folder, recorded, " in result.stdout


def test_for_programs_there_is_an_object_per_source(tmp_path: Path) -> None:
    clip = bright_when(tmp_path / "a.mp4", lambda t_s: True)
    config = tmp_path / "c.yaml"
    when = "{url: " + str(clip) + ", when: '22:00-06:00 Europe/Rome'}"
    config.write_text(f"sources: {{a: {when}, b: 'rtsp://u:hunter2@127.0.0.1:9/x'}}\n{QUESTIONS}")
    result = CliRunner().invoke(app, ["check", str(config), "--json"])
    assert result.exit_code == 3
    good, bad = (json.loads(line) for line in result.stdout.splitlines())
    assert (good["source"], good["ok"], good["error"], good["kind"], good["live"]) == (
        *("a", True, None, "file", False),
    )
    assert (good["width"], good["height"], good["fps"], good["clock"]) == (64, 48, 10.0, "media")
    assert good["first_picture_s"] >= 0
    assert any("active hours (when) are ignored" in sentence for sentence in good["advice"])
    assert (bad["ok"], bad["width"], bad["clock"], bad["advice"]) == (False, None, None, [])
    assert "connection refused" in bad["error"]
    assert "hunter2" not in result.output


def test_the_smallest_slide_of_its_own_questions_counts(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        "sources: {a: 'scene:gate', b: 'scene:gate'}\n"
        "questions: {q: {ask: 'Anybody?', kind: yes_no, sources: [a]}}\n"
    )
    result = CliRunner().invoke(app, ["check", str(config)])
    assert result.exit_code == 0
    assert result.stdout.count("no question is asked of it") == 1
    assert result.stdout.index("no question") > result.stdout.index("b: scene")


@pytest.mark.parametrize(
    ("model", "size", "seen"),
    [
        ("moondream2", (1920, 1080), (1176, 644)),
        ("moondream2", (640, 360), (378, 378)),
        ("tiny", (1920, 1080), None),
        ("moondream2", (0, 0), None),
    ],
)
def test_what_a_model_sees_is_what_its_crops_hold(
    model: str, size: tuple[int, int], seen: tuple[int, int] | None
) -> None:
    assert seen_size(model, *size) == seen


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
