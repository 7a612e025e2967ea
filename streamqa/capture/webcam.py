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

# OpenCV's numbers for its properties; a test compares them with cv2's own.
WIDTH, HEIGHT, FPS, FOURCC, BUFFERSIZE, READ_TIMEOUT_MSEC = 3, 4, 5, 6, 38, 54
_TIMEOUT_S = 5


class Capture(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def isOpened(self) -> bool:
        """Whether the device delivers."""
        ...

    def set(self, prop: int, value: float) -> bool:
        """Ask for a property; whether the backend knows it, not whether the device obeys."""
        ...

    def get(self, prop: int) -> float:
        """A property as the device has it; 0 or -1 where the backend does not know it."""
        ...

    def grab(self) -> bool:
        """Wait for the next picture, a bounded time, without converting it."""
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
    match = re.fullmatch(r"(?:webcam:|/dev/video)(\d{1,4})", spec.url, re.IGNORECASE)
    if match is None:
        raise ConfigError(f"source {spec.url!r}: give the webcam's number, as in webcam:0")
    return WebcamSource(int(match[1]), size=spec.size, fps=spec.fps, fourcc=spec.fourcc)


def open_capture(index: int) -> Capture:
    """Open a webcam with OpenCV.

    Raises:
        SourceRefused: OpenCV cannot be loaded.
        SourceUnavailable: there is no such device.
    """
    linux = sys.platform == "linux"
    if linux and not os.path.exists(f"/dev/video{index}"):
        raise SourceUnavailable(f"webcam:{index}: no /dev/video{index}; is it plugged in?")
    # How long V4L2 waits for a picture: OpenCV takes it from here only, when it is loaded (else 10 s).
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(_TIMEOUT_S))
    try:
        import cv2
    except ImportError as error:
        raise SourceRefused(f"webcam:{index}: {_advice(str(error))}") from None
    # What it writes to stderr by itself, the errors raised here say in one line.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    # Named, since by default every backend that was built in is tried, GStreamer first.
    capture: Capture = cv2.VideoCapture(index, cv2.CAP_V4L2 if linux else cv2.CAP_ANY)
    return capture


def _advice(reason: str) -> str:
    if "libGL" in reason or "libgthread" in reason or "libglib" in reason:
        return "OpenCV misses system libraries; run: apt-get install -y libgl1 libglib2.0-0"
    return f"OpenCV cannot be loaded ({reason}); run: pip install opencv-python"


class WebcamSource:
    """A camera at this machine."""

    is_live = True

    def __init__(
        self,
        index: int,
        open_capture: Callable[[int], Capture] = open_capture,
        *,
        size: tuple[int, int] | None = None,
        fps: float | None = None,
        fourcc: str | None = None,
    ) -> None:
        """`size` (width, height), `fps` and `fourcc` are asked for; a camera gives the nearest that it has."""
        self._name = f"webcam:{index}"
        self._index = index
        self._open_capture = open_capture
        self._size, self._fps, self._fourcc = size, fps, fourcc
        self._capture: Capture | None = None
        self._facts = SourceFacts()
        self._opened_ns = 0

    def open(self) -> None:
        """Open the device and ask for what was configured; `facts` say what it gives.

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
        self._ask(capture)
        self._facts = self._given(capture)
        self._opened_ns = time.monotonic_ns()

    @property
    def facts(self) -> SourceFacts:
        """Pixel format, size and rate as the device has them; a note where something else was asked for."""
        return self._facts

    def read(self, wanted_ns: int = 0) -> Picture | None:
        """The next picture; None for one before `wanted_ns`, which is taken from the device and not converted.

        Raises:
            SourceUnavailable: the camera gave none, e.g. because it was unplugged.
        """
        if self._capture is None or not self._capture.grab():
            raise SourceUnavailable(f"{self._name}: gives no picture; is it still plugged in?")
        t_ns = time.monotonic_ns() - self._opened_ns
        return None if t_ns < wanted_ns else Picture(t_ns, utc_now(), "arrival", self._image)

    def close(self) -> None:
        """Free the device."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _ask(self, capture: Capture) -> None:
        """Set what was configured. What a backend does not know is left alone.

        One buffer: a picture that waited in a queue would be old. The pixel format comes before the size, and both
        before the rate, since each narrows what is left to choose from.
        """
        capture.set(READ_TIMEOUT_MSEC, _TIMEOUT_S * 1000)
        capture.set(BUFFERSIZE, 1)
        if self._fourcc is not None:
            capture.set(FOURCC, _number(self._fourcc))
        if self._size is not None:
            capture.set(WIDTH, self._size[0])
            capture.set(HEIGHT, self._size[1])
        if self._fps is not None:
            capture.set(FPS, self._fps)

    def _given(self, capture: Capture) -> SourceFacts:
        width, height = (max(0, round(capture.get(prop))) for prop in (WIDTH, HEIGHT))
        fps = capture.get(FPS)
        fourcc = _letters(capture.get(FOURCC))
        asked, given = [], []
        if self._size is not None and self._size != (width, height):
            asked.append(f"{self._size[0]}x{self._size[1]}")
            given.append(f"{width}x{height}")
        if self._fps is not None and fps > 0 and abs(self._fps - fps) > 0.5:
            asked.append(f"{self._fps:g} fps")
            given.append(f"{fps:g} fps")
        if self._fourcc is not None and fourcc and self._fourcc.upper() != fourcc.upper():
            asked.append(self._fourcc)
            given.append(fourcc)
        note = f"asked for {', '.join(asked)}; the camera gives {', '.join(given)}" if asked else ""
        return SourceFacts(fourcc, width, height, fps if fps > 0 else None, note=note)

    def _image(self) -> Image:
        found, image = self._capture.retrieve() if self._capture is not None else (False, None)
        if not found or image is None:
            raise SourceUnavailable(f"{self._name}: a picture could not be read")
        return np.ascontiguousarray(image[:, :, ::-1], dtype=np.uint8)


def _number(fourcc: str) -> int:
    """Four letters as OpenCV and V4L2 write them in a number."""
    return int.from_bytes(fourcc.encode("ascii").ljust(4)[:4], "little")


def _letters(number: float) -> str:
    """The four letters of such a number; empty where it is none."""
    if not 0 < number < 2**32:
        return ""
    text = int(number).to_bytes(4, "little").decode("latin-1").rstrip()
    return text if text.isascii() and text.isprintable() else ""
