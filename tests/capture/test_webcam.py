from __future__ import annotations

import builtins
import os
import sys
from typing import Any

import numpy as np
import pytest

from streamqa.capture import webcam
from streamqa.capture.source import SourceSpec
from streamqa.capture.webcam import WebcamSource, make, open_capture
from streamqa.errors import ConfigError, SourceRefused, SourceUnavailable


class FakeCapture:
    """What `cv2.VideoCapture` looks like from here; blue pictures, in BGR."""

    def __init__(self, pictures: int = 10**9, opened: bool = True, readable: bool = True) -> None:
        self.left = pictures
        self.opened = opened
        self.readable = readable
        self.retrieved = 0
        self.released = 0

    def isOpened(self) -> bool:
        return self.opened

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, Any]:
        self.retrieved += 1
        image = np.zeros((48, 64, 3), np.uint8)
        image[:, :, 0] = 200
        return (True, image) if self.readable else (False, None)

    def release(self) -> None:
        self.released += 1


def test_pictures_are_rgb_and_only_kept_ones_are_converted() -> None:
    capture = FakeCapture()
    source = WebcamSource(0, lambda index: capture)
    source.open()
    times = [source.read().t_ns for _ in range(5)]
    assert times == sorted(times)
    assert capture.retrieved == 0
    picture = source.read()
    image = picture.to_image()
    assert capture.retrieved == 1
    assert image[0, 0].tolist() == [0, 0, 200]
    assert image.flags.c_contiguous
    assert picture.clock == "arrival"
    source.close()
    source.close()
    assert capture.released == 1


def test_a_camera_that_is_pulled_out_is_unavailable() -> None:
    source = WebcamSource(2, lambda index: FakeCapture(pictures=1))
    source.open()
    source.read()
    with pytest.raises(SourceUnavailable, match="webcam:2: gives no picture"):
        source.read()


def test_a_picture_that_cannot_be_read_is_unavailable() -> None:
    source = WebcamSource(0, lambda index: FakeCapture(readable=False))
    source.open()
    with pytest.raises(SourceUnavailable, match="could not be read"):
        source.read().to_image()


def test_a_camera_in_use_is_unavailable_and_released() -> None:
    capture = FakeCapture(opened=False)
    with pytest.raises(SourceUnavailable, match="another program"):
        WebcamSource(0, lambda index: capture).open()
    assert capture.released == 1


@pytest.mark.parametrize(
    ("url", "index"), [("webcam:0", 0), ("webcam:12", 12), ("/dev/video3", 3), ("WEBCAM:1", 1)]
)
def test_webcams_have_numbers(url: str, index: int) -> None:
    source = make(SourceSpec("a", url))
    assert isinstance(source, WebcamSource)
    assert source._index == index


@pytest.mark.parametrize("url", ["webcam:", "webcam:front", "webcam:-1"])
def test_a_webcam_without_a_number_is_told(url: str) -> None:
    with pytest.raises(ConfigError, match="webcam:0"):
        make(SourceSpec("a", url))


@pytest.mark.skipif(
    sys.platform != "linux" or os.path.exists("/dev/video99"), reason="looks at /dev of Linux"
)
def test_a_missing_device_is_told_without_opencv() -> None:
    with pytest.raises(SourceUnavailable, match="no /dev/video99"):
        open_capture(99)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (
            "libGL.so.1: cannot open shared object file: No such file or directory",
            "apt-get install -y libgl1",
        ),
        ("No module named 'cv2'", "pip install opencv-python"),
    ],
)
def test_opencv_that_cannot_be_loaded_is_refused_with_the_command_to_run(
    monkeypatch: pytest.MonkeyPatch, reason: str, words: str
) -> None:
    real_import = builtins.__import__

    def fake_import(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "cv2":
            raise ImportError(reason)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fake_import)
    monkeypatch.setattr(webcam.os.path, "exists", lambda path: True)
    with pytest.raises(SourceRefused, match=words):
        open_capture(0)


def test_real_opencv_says_that_there_is_no_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV wants libGL, which is not here", exc_type=ImportError)
    assert not os.path.exists("/dev/video98")
    monkeypatch.setattr(webcam.os.path, "exists", lambda path: True)
    assert callable(cv2.VideoCapture)
    with pytest.raises(SourceUnavailable, match="cannot be opened"):
        WebcamSource(98).open()
