"""The clips of `streamqa bench capture`: what a camera sees that nobody passes, with a sensor's noise.

Noise is what makes a camera's stream cost what it costs; a rendered scene without it decodes several times as fast.
Every picture carries its number, so that whoever gets one knows when it was due.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.stream import VideoStream

if TYPE_CHECKING:
    from streamqa.types import Image

FPS = 30
_BITS = 12  # of a picture's number
_DARK, _BRIGHT = 40, 215  # luma of a bit
_NOISE = 2.5  # standard deviation in luma steps, as of a good sensor by day
_ROOM = 64  # by so many pixels the one noise there is is shifted, so that no two pictures have the same


@dataclass(frozen=True, slots=True)
class ClipKind:
    """How a clip is encoded."""

    name: str  # of its file
    label: str  # for people
    gop: int  # pictures from one keyframe to the next
    codec: str = "libx264"
    codec_options: str = "bframes=0"  # the encoder's own, `name=value:name=value`
    size: tuple[int, int] = (1920, 1080)
    bit_rate: int = 4_000_000
    # Of the baseline's CPU, that a picture per second may cost; None: no target.
    share: float | None = 0.65

    def scaled(self, size: tuple[int, int]) -> ClipKind:
        """The same at another size, at as many bits a pixel: to try the bench itself."""
        share = size[0] * size[1] / (self.size[0] * self.size[1])
        bit_rate = max(100_000, round(self.bit_rate * share))
        return replace(self, size=size, bit_rate=bit_rate)


_B_FRAMES = "bframes=3:b-adapt=0"
RECORDED = (
    ClipKind("h264-60", "1080p30 H.264, GOP 60, no B-frames", 60),
    ClipKind("h264-60-b", "1080p30 H.264, GOP 60, B-frames", 60, codec_options=_B_FRAMES),
    ClipKind("h264-250-b", "1080p30 H.264, GOP 250, B-frames", 250, codec_options=_B_FRAMES),
    ClipKind("hevc-60", "1080p30 HEVC, GOP 60", 60, "libx265", "bframes=3", bit_rate=3_000_000),
    # Each picture is predicted from the one before it: 14 of 15 must be decoded to have one per second.
    ClipKind("h264-250", "1080p30 H.264, GOP 250, no B-frames", 250, share=None),
)
LIVE = (
    ClipKind("live-1080", "1080p30 H.264, GOP 30", 30, share=0.2),
    ClipKind("live-720", "720p30 H.264, GOP 30", 30, size=(1280, 720), bit_rate=2_000_000, share=0.2),
)


class NoisyScene:
    """A still scene with a sensor's noise and a box that wanders through it."""

    def __init__(self, size: tuple[int, int], seed: int = 7) -> None:
        """`size`: width and height in pixels, even."""
        self._width, self._height = width, height = size
        self._rng = rng = np.random.default_rng(seed)
        self._luma = _furnished(rng, width, height)
        noise = rng.normal(0, _NOISE, (height + _ROOM, width + _ROOM)).round()
        self._noise = noise.astype(np.int8).view(np.uint8)  # adding it wraps around: so does what is below 0
        self._chroma = np.full((height // 2, width), 128, np.uint8)

    def pictures(self, count: int) -> Iterator[Image]:
        """`count` pictures: uint8 (H * 3 / 2, W), planes Y, U and V as FFmpeg's yuv420p has them."""
        for number in range(count):
            down, right = (int(n) for n in self._rng.integers(0, _ROOM, 2))
            luma = self._luma + self._noise[down : down + self._height, right : right + self._width]
            self._box(luma, number)
            write_number(luma, number)
            yield np.concatenate([luma, self._chroma])

    def _box(self, luma: Image, number: int) -> None:
        side = self._height // 6
        across, down = self._width - side, self._height // 2 - side // 2
        left = abs((number * self._width // 240) % (2 * across) - across)  # there and back in 16 s
        luma[down : down + side, left : left + side] = 200


def _furnished(rng: np.random.Generator, width: int, height: int) -> Image:
    """Floor, wall and things with edges, 50…190."""
    across, down = np.linspace(0, 30, width), np.linspace(0, 40, height)
    luma = 80 + across[None, :] + down[:, None]
    for _ in range(60):
        w, h = (int(n) for n in rng.integers(4, (width // 5, height // 4)))
        x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
        luma[y : y + h, x : x + w] = rng.uniform(60, 180)
    return luma.clip(50, 190).astype(np.uint8)


def _cell(height: int) -> int:
    return max(8, height // 30 // 2 * 2)


def write_number(luma: Image, number: int) -> None:
    """Write a picture's number into its upper left corner (in place), as a row of dark and bright squares."""
    side = _cell(luma.shape[0])
    for bit in range(_BITS):
        value = _BRIGHT if number >> bit & 1 else _DARK
        luma[:side, bit * side : (bit + 1) * side] = value


def read_number(image: Image) -> int:
    """The number of a picture, from its RGB: uint8 (H, W, 3)."""
    side = _cell(image.shape[0])
    edge = side // 4  # where one square ends and the next begins, the encoder blurs
    number = 0
    for bit in range(_BITS):
        square = image[edge : side - edge, bit * side + edge : (bit + 1) * side - edge, 1]
        number |= int(square.mean() > (_DARK + _BRIGHT) / 2) << bit
    return number


def make_clip(folder: Path, kind: ClipKind, seconds: float, seed: int = 7) -> Path:
    """The clip in `folder`; made where it is not there already. The same arguments give the same pictures.

    Raises:
        ValueError: longer than its pictures can be numbered.
        OSError: the file cannot be written.
    """
    count = max(1, round(seconds * FPS))
    if count > 1 << _BITS:
        raise ValueError(f"{seconds:g} s: a clip has at most {1 << _BITS} pictures")
    width, height = kind.size
    path = folder / f"{kind.name}-{width}x{height}-{count}-{seed}.mp4"
    if not path.exists():
        part = path.with_suffix(".part")
        try:
            _write(part, kind, NoisyScene(kind.size, seed).pictures(count))
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    return path


def _write(path: Path, kind: ClipKind, pictures: Iterator[Image]) -> None:
    """One encoder thread, and a keyframe exactly every `gop` pictures: the same file on any machine."""
    one_thread = ":pools=none:frame-threads=1:log-level=none" if kind.codec == "libx265" else ""
    params = f"keyint={kind.gop}:min-keyint={kind.gop}:scenecut=0:{kind.codec_options}{one_thread}"
    options = {
        "preset": "ultrafast" if kind.codec == "libx265" else "veryfast",
        f"{kind.codec.removeprefix('lib')}-params": params,
    }
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream(kind.codec, rate=Fraction(FPS), options=options)
        assert isinstance(stream, VideoStream)  # a variable's name says nothing to the type checker
        stream.width, stream.height, stream.pix_fmt = *kind.size, "yuv420p"
        stream.codec_context.bit_rate = kind.bit_rate
        stream.codec_context.time_base = Fraction(1, FPS)
        stream.codec_context.thread_count = 1
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
