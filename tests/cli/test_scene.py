import json
from pathlib import Path

import av
import pytest
from typer.testing import CliRunner

from streamqa.cli.main import app
from streamqa.errors import ConfigError
from streamqa.scenes.script import GateScene


def test_a_clip_and_its_truth_frame_for_frame(tmp_path: Path) -> None:
    clip, truth = tmp_path / "clip.mp4", tmp_path / "truth.jsonl"
    arguments = [
        "scene",
        "gate",
        "--seed",
        "3",
        "--seconds",
        "1",
        "--fps",
        "10",
        "-o",
        str(clip),
        "--truth",
        str(truth),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in truth.read_text().splitlines()]
    assert [line["t_s"] for line in lines] == [n / 10 for n in range(10)]
    assert lines[4]["values"] == GateScene(3).truth(0.4)
    with av.open(str(clip)) as container:
        frames = list(container.decode(video=0))
    assert [float(frame.pts * frame.time_base) for frame in frames] == [line["t_s"] for line in lines]
    assert (frames[0].width, frames[0].height) == (640, 360)


def test_there_is_one_scene(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["scene", "beach", "-o", str(tmp_path / "x.mp4")])
    assert isinstance(result.exception, ConfigError)
    assert not (tmp_path / "x.mp4").exists()


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["scene", "gate", "--seconds", "0.2", "-o", str(tmp_path / "no" / "x.mp4")]
    )
    assert isinstance(result.exception, ConfigError)
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize("arguments", [["--fps", "0"], ["--seconds", "-1"], ["--seed", "-1"]])
def test_impossible_numbers_are_usage_errors(arguments: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["scene", "gate", "-o", str(tmp_path / "x.mp4"), *arguments])
    assert result.exit_code == 2
