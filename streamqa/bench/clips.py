"""Real H.264 clips, made on the spot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamqa.capture.encode import write_video
from streamqa.scenes.script import GateScene

if TYPE_CHECKING:
    from streamqa.types import Image

SMALL = (96, 64)  # width and height of the pictures of a long recording


def scene_clip(path: Path, seconds: float, fps: int, seed: int = 7) -> Path:
    """The gate scene, 640x360, as a camera would show it."""
    scene = GateScene(seed)
    write_video(path, (scene.image(number / fps) for number in range(max(1, round(seconds * fps)))), fps)
    return path


def small_clip(path: Path, frames: int, fps: int) -> Path:
    """Exactly `frames` small moving pictures, quick to make and to decode."""
    write_video(path, _moving(frames), fps, options={"preset": "ultrafast"})
    return path


def _moving(frames: int) -> Iterator[Image]:
    width, height = SMALL
    ramp = np.linspace(0, 255, width, dtype=np.uint8)
    for number in range(frames):
        row = np.roll(ramp, number)
        yield np.repeat(np.repeat(row[None, :, None], height, axis=0), 3, axis=2)
