from __future__ import annotations

import json
import sys

import pytest
from typer.testing import CliRunner

from streamqa.capture import v4l2
from streamqa.capture.v4l2 import Camera, Mode
from streamqa.cli.main import app
from streamqa.cli.sources import config_line, lines
from streamqa.config import parse_config

CAMERA = Camera(
    2,
    "HD Webcam",
    (Mode("MJPG", 1920, 1080, (30.0, 25.0)), Mode("YUYV", 640, 480, (29.97,)), Mode("Y16", 320, 240, ())),
)
LOCKED = Camera(3, problem="permission denied; run: sudo usermod")


@pytest.fixture
def cameras(monkeypatch: pytest.MonkeyPatch) -> list[Camera]:
    """What `list_cameras` finds: fill it."""
    found: list[Camera] = []
    monkeypatch.setattr(v4l2, "list_cameras", lambda: found)
    monkeypatch.setattr(sys, "platform", "linux")
    return found


def test_each_webcam_is_listed_with_its_modes_and_the_line_to_use(cameras: list[Camera]) -> None:
    cameras += [CAMERA, LOCKED]
    result = CliRunner().invoke(app, ["sources"])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "webcam:2  HD Webcam",
        "    MJPG  1920x1080  30, 25 fps",
        "    YUYV  640x480  29.97 fps",
        "    Y16  320x240",
        '    desk: {url: "webcam:2", size: 640x480, fps: 29.97, fourcc: YUYV}',
        "webcam:3  permission denied; run: sudo usermod",
    ]


def test_for_programs_there_is_an_object_per_webcam(cameras: list[Camera]) -> None:
    cameras += [CAMERA, LOCKED]
    result = CliRunner().invoke(app, ["sources", "--json"])
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert (first["url"], first["name"], first["problem"]) == ("webcam:2", "HD Webcam", None)
    assert first["modes"][0] == {
        "fourcc": "MJPG",
        "width": 1920,
        "height": 1080,
        "fps": [30.0, 25.0],
        "any_smaller": False,
    }
    assert first["suggested"]["width"] == 640
    assert (second["modes"], second["suggested"], second["problem"]) == ([], None, LOCKED.problem)


def test_no_webcam_is_said_and_no_error(cameras: list[Camera]) -> None:
    result = CliRunner().invoke(app, ["sources"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no webcam here" in result.stderr


def test_elsewhere_than_on_linux_the_way_to_try_is_said(
    cameras: list[Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    result = CliRunner().invoke(app, ["sources"])
    assert result.exit_code == 0
    assert "on Linux only; try webcam:0" in result.stderr


@pytest.mark.parametrize(
    "camera",
    [
        CAMERA,
        Camera(0),
        Camera(1, modes=(Mode("NV12", 3280, 2464, (60.0,), any_smaller=True),)),
        Camera(4, modes=(Mode("Y16", 320, 240, (7.5,)),)),
    ],
)
def test_the_line_to_use_is_a_source_of_a_configuration(camera: Camera) -> None:
    text = f"sources:\n  {config_line(camera)}\nquestions: {{q: {{ask: 'Anybody?'}}}}\nmodel: tiny\n"
    assert parse_config(text).sources["desk"].url == f"webcam:{camera.index}"


def test_names_cannot_steer_a_terminal() -> None:
    assert "\x1b" not in "".join(lines(Camera(0, "\x1b[31mred")))
