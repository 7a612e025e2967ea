"""Webcams, through OpenCV, which is imported only when one is opened: it wants libGL, a server has none."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from streamqa.capture.source import Picture, Source, SourceFacts, SourceSpec
from streamqa.errors import ConfigError, SourceRefused, SourceUnavailable
from streamqa.types import utc_now

if TYPE_CHECKING:
    from streamqa.types import Image


class Capture(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def isOpened(self) -> bool:
        """Whether the device delivers."""
        ...

    def grab(self) -> bool:
        """Wait for the next picture (V4L2: at most 10 s), without converting it."""
        ...

    def retrieve(self) -> tuple[bool, Any]:
        """The grabbed picture, uint8 (H, W, 3), BGR."""
        ...

    def release(self) -> None:
        """Free the device."""
        ...


def make(spec: SourceSpec) -> Source:
    """The source for `webcam:N` or `/dev/videoN`.

    Raises:
        ConfigError: N is not a number.
    """
    match = re.fullmatch(r"(?:webcam:|/dev/video)(\d+)", spec.url, re.IGNORECASE)
    if match is None:
        raise ConfigError(f"source {spec.url!r}: give the webcam's number, as in webcam:0")
    return WebcamSource(int(match[1]))


def open_capture(index: int) -> Capture:
    """Open a webcam with OpenCV.

    Raises:
        SourceRefused: OpenCV cannot be loaded.
        SourceUnavailable: there is no such device.
    """
    if sys.platform == "linux" and not os.path.exists(f"/dev/video{index}"):
        raise SourceUnavailable(f"webcam:{index}: no /dev/video{index}; is it plugged in?")
    try:
        import cv2
    except ImportError as error:
        raise SourceRefused(f"webcam:{index}: {_advice(str(error))}") from None
    capture: Capture = cv2.VideoCapture(index)
    return capture


def _advice(reason: str) -> str:
    if "libGL" in reason or "libgthread" in reason or "libglib" in reason:
        return "OpenCV misses system libraries; run: apt-get install -y libgl1 libglib2.0-0"
    return f"OpenCV cannot be loaded ({reason}); run: pip install opencv-python"


class WebcamSource:
    """A camera at this machine."""

    is_live = True

    def __init__(self, index: int, open_capture: Callable[[int], Capture] = open_capture) -> None:
        self._name = f"webcam:{index}"
        self._index = index
        self._open_capture = open_capture
        self._capture: Capture | None = None
        self._opened_ns = 0

    def open(self) -> None:
        """Open the device.

        Raises:
            SourceUnavailable: not there, or in use.
            SourceRefused: OpenCV cannot be loaded.
        """
        self.close()
        capture = self._open_capture(self._index)
        if not capture.isOpened():
            capture.release()
            raise SourceUnavailable(f"{self._name}: cannot be opened; is another program using it?")
        self._capture = capture
        self._opened_ns = time.monotonic_ns()

    @property
    def facts(self) -> SourceFacts:
        """Nothing yet."""
        return SourceFacts()

    def read(self, wanted_ns: int = 0) -> Picture | None:
        """The next picture.

        Raises:
            SourceUnavailable: the camera gave none, e.g. because it was unplugged.
        """
        if self._capture is None or not self._capture.grab():
            raise SourceUnavailable(f"{self._name}: gives no picture; is it still plugged in?")
        return Picture(time.monotonic_ns() - self._opened_ns, utc_now(), "arrival", self._image)

    def close(self) -> None:
        """Free the device."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _image(self) -> Image:
        found, image = self._capture.retrieve() if self._capture is not None else (False, None)
        if not found or image is None:
            raise SourceUnavailable(f"{self._name}: a picture could not be read")
        return np.ascontiguousarray(image[:, :, ::-1], dtype=np.uint8)
