"""Decoded frames to pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

if TYPE_CHECKING:
    from streamqa.types import Image


class Images:
    """Decoded frames to upright RGB arrays, with one scaler for all of them."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def of(self, frame: VideoFrame) -> Image:
        """The picture as it is to be looked at: uint8 (H, W, 3) RGB, turned as its metadata says."""
        image: Image = (
            self._reformatter.reformat(frame, format="rgb24").to_ndarray().astype(np.uint8, copy=False)
        )
        quarters = round(frame.rotation / 90) % 4  # counter-clockwise, as rot90 turns
        return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image
