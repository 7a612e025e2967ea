from __future__ import annotations

import builtins
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from streamqa.capture import webcam
from streamqa.capture.source import SourceFacts, SourceSpec
from streamqa.capture.webcam import WebcamSource, make, open_capture
from streamqa.errors import ConfigError, SourceRefused, SourceUnavailable

from .conftest import Rig


class FakeCapture:
    """What `cv2.VideoCapture` looks like from here; blue pictures, in BGR.

    It has the modes of a small webcam: of a size it gives the nearest, of a rate at most its own, and it keeps its
    pixel format when asked for one that it does not have. `calls` is everything that was done to it, in order.
    """

    SIZES = ((640, 480), (1280, 720))
    FOURCCS = ("YUYV", "MJPG")

    def __init__(self, pictures: int = 10**9, opened: bool = True, readable: bool = True) -> None:
        self.left = pictures
        self.opened = opened
        self.readable = readable
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.props: dict[int, float] = {webcam.FPS: 30.0, webcam.WIDTH: 640, webcam.HEIGHT: 480}
        self.fourcc = "YUYV"
        self.wanted_width = 0.0

    def _called(self, name: str) -> None:
        self.calls.append(name)
        self.threads.add(threading.get_ident())

    def count(self, name: str) -> int:
        return self.calls.count(name)

    def isOpened(self) -> bool:
        self._called("isOpened")
        return self.opened

    def set(self, prop: int, value: float) -> bool:
        self._called(f"set {prop}={value:g}")
        if prop == webcam.FOURCC:
            letters = int(value).to_bytes(4, "little").decode()
            self.fourcc = letters if letters in self.FOURCCS else self.fourcc
        elif prop == webcam.WIDTH:
            self.wanted_width = value
        elif prop == webcam.HEIGHT:
            wanted = (self.wanted_width, value)
            size = min(self.SIZES, key=lambda has: abs(has[0] - wanted[0]) + abs(has[1] - wanted[1]))
            self.props |= {webcam.WIDTH: size[0], webcam.HEIGHT: size[1]}
        elif prop == webcam.FPS:
            self.props[prop] = min(value, 30.0)
        return prop != webcam.READ_TIMEOUT_MSEC

    def get(self, prop: int) -> float:
        self._called(f"get {prop}")
        if prop == webcam.FOURCC:
            return float(int.from_bytes(self.fourcc.encode(), "little"))
        return float(self.props.get(prop, -1))

    def grab(self) -> bool:
        self._called("grab")
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, Any]:
        self._called("retrieve")
        image = np.zeros((48, 64, 3), np.uint8)
        image[:, :, 0] = 200
        return (True, image) if self.readable else (False, None)

    def release(self) -> None:
        self._called("release")


def test_pictures_are_rgb_and_only_kept_ones_are_converted() -> None:
    capture = FakeCapture()
    source = WebcamSource(0, lambda index: capture)
    source.open()
    times = [source.read().t_ns for _ in range(5)]
    assert times == sorted(times)
    assert capture.count("retrieve") == 0
    picture = source.read()
    image = picture.to_image()
    assert capture.count("retrieve") == 1
    assert image[0, 0].tolist() == [0, 0, 200]
    assert image.flags.c_contiguous
    assert picture.clock == "arrival"
    source.close()
    source.close()
    assert capture.count("release") == 1


def test_what_was_configured_is_asked_for_before_the_first_picture_in_an_order_that_drivers_take() -> None:
    capture = FakeCapture()
    source = WebcamSource(0, lambda index: capture, size=(1280, 720), fps=15, fourcc="MJPG")
    source.open()
    assert [call for call in capture.calls if call.startswith("set")] == [
        f"set {webcam.READ_TIMEOUT_MSEC}=5000",
        f"set {webcam.BUFFERSIZE}=1",
        f"set {webcam.FOURCC}={int.from_bytes(b'MJPG', 'little'):g}",
        f"set {webcam.WIDTH}=1280",
        f"set {webcam.HEIGHT}=720",
        f"set {webcam.FPS}=15",
    ]
    assert "grab" not in capture.calls
    assert source.facts == SourceFacts("MJPG", 1280, 720, 15.0)


def test_nothing_is_asked_for_that_was_not_configured() -> None:
    capture = FakeCapture()
    source = WebcamSource(0, lambda index: capture)
    source.open()
    asked = [call.split()[1].split("=")[0] for call in capture.calls if call.startswith("set")]
    assert asked == [str(webcam.READ_TIMEOUT_MSEC), str(webcam.BUFFERSIZE)]
    assert source.facts == SourceFacts("YUYV", 640, 480, 30.0)


def test_what_the_camera_gives_instead_is_told() -> None:
    source = WebcamSource(0, lambda index: FakeCapture(), size=(1920, 1080), fps=60, fourcc="H264")
    source.open()
    assert source.facts == SourceFacts(
        "YUYV",
        1280,
        720,
        30.0,
        note="asked for 1920x1080, 60 fps, H264; the camera gives 1280x720, 30 fps, YUYV",
    )


def test_a_backend_that_knows_no_properties_leaves_the_facts_empty() -> None:
    capture = FakeCapture()
    capture.props, capture.fourcc = {}, "\x00\x00\x00\x00"
    source = WebcamSource(0, lambda index: capture)
    source.open()
    assert source.facts == SourceFacts()


def test_every_picture_is_grabbed_and_those_before_the_wanted_time_are_only_life() -> None:
    capture = FakeCapture()
    source = WebcamSource(0, lambda index: capture)
    source.open()
    assert [source.read(10**15) for _ in range(3)] == [None, None, None]
    assert capture.count("grab") == 3
    picture = source.read(1)
    assert picture is not None
    picture.to_image()
    assert (capture.count("grab"), capture.count("retrieve")) == (4, 1)


def test_the_device_is_touched_by_the_thread_that_opened_it_only(rig: Callable[..., Rig]) -> None:
    captures: list[FakeCapture] = []

    def open_fake(index: int) -> FakeCapture:
        captures.append(FakeCapture(pictures=5))
        return captures[-1]

    running = rig("webcam:0", make=lambda spec: WebcamSource(0, open_fake))
    running.supervisor.start()
    running.wait_for("live", "reconnecting")
    assert "still plugged in" in running.statuses[-1].reason
    assert running.supervisor.stop()
    first = captures[0]
    assert (first.calls[-1], first.count("release")) == ("release", 1)
    assert len(set().union(*(capture.threads for capture in captures))) == 1
    assert threading.get_ident() not in first.threads


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
    assert capture.count("release") == 1


@pytest.mark.parametrize(
    ("url", "index"), [("webcam:0", 0), ("webcam:12", 12), ("/dev/video3", 3), ("WEBCAM:1", 1)]
)
def test_webcams_have_numbers(url: str, index: int) -> None:
    source = make(SourceSpec("a", url, size=(640, 480), fps=10.0, fourcc="MJPG"))
    assert isinstance(source, WebcamSource)
    assert (source._index, source._size, source._fps, source._fourcc) == (index, (640, 480), 10.0, "MJPG")


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


def test_the_properties_have_the_numbers_of_opencv() -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV wants libGL, which is not here", exc_type=ImportError)
    for name in ("FRAME_WIDTH", "FRAME_HEIGHT", "FPS", "FOURCC", "BUFFERSIZE", "READ_TIMEOUT_MSEC"):
        ours = getattr(webcam, name.removeprefix("FRAME_"))
        assert ours == getattr(cv2, f"CAP_PROP_{name}"), name
    assert webcam._number("MJPG") == cv2.VideoWriter.fourcc(*"MJPG")


NO_CAMERA = """
import os
import cv2  # looks for files of its own
from streamqa.capture.webcam import WebcamSource
from streamqa.errors import SourceUnavailable
os.path.exists = lambda path: True  # ours asks whether the device is there; OpenCV asks the kernel
try:
    WebcamSource(98).open()
except SourceUnavailable as error:
    print(error)
"""


def test_real_opencv_says_that_there_is_no_camera_and_writes_nothing_by_itself() -> None:
    pytest.importorskip("cv2", reason="OpenCV wants libGL, which is not here", exc_type=ImportError)
    assert not os.path.exists("/dev/video98")
    done = subprocess.run([sys.executable, "-c", NO_CAMERA], capture_output=True, text=True, timeout=60)
    assert "webcam:98: cannot be opened" in done.stdout
    assert done.stderr == ""
