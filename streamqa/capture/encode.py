"""Images to an H.264 clip with exact times, for rendered scenes and for tests."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

if TYPE_CHECKING:
    from streamqa.types import Image

_KEYFRAME_EVERY_S = 2


def write_video(
    path: str | Path,
    images: Iterable[Image],
    fps: int | Fraction,
    *,
    crf: int = 23,
    options: Mapping[str, str] | None = None,
) -> int:
    """Write `images` (uint8 (H, W, 3), RGB, all of one even size) as H.264 in mp4; return how many they were.

    Image number i is shown at exactly i / fps seconds. `options` are libx264's own and win over the defaults
    (a keyframe every 2 s). One encoder thread: the same images give the same file on any number of cores.
    The file appears under its name only once it is whole.

    Raises:
        ValueError: no image, an odd size, or sizes that differ.
        OSError: the file cannot be written.
    """
    target = Path(path)
    part = target.with_name(target.name + ".part")
    rate = Fraction(fps)
    settings = {"crf": str(crf), "g": str(max(1, round(rate * _KEYFRAME_EVERY_S))), **(options or {})}
    try:
        with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            count = _encode(container, images, rate, settings)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return count


def _encode(
    container: OutputContainer, images: Iterable[Image], rate: Fraction, settings: dict[str, str]
) -> int:
    stream: VideoStream | None = None
    count = 0
    for count, image in enumerate(images, start=1):
        height, width, _ = image.shape
        if stream is None:
            stream = _add_stream(container, width, height, rate, settings)
        if (width, height) != (stream.width, stream.height):
            raise ValueError(
                f"image {count} is {width}x{height}, the first is {stream.width}x{stream.height}"
            )
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = count - 1, 1 / rate
        container.mux(stream.encode(frame))
    if stream is None:
        raise ValueError("no images: a clip has at least one")
    container.mux(stream.encode(None))
    return count


def _add_stream(
    container: OutputContainer, width: int, height: int, rate: Fraction, settings: dict[str, str]
) -> VideoStream:
    if width % 2 or height % 2:
        raise ValueError(f"H.264 wants even sizes, got {width}x{height}")
    stream = container.add_stream("libx264", rate=rate, options=settings)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.codec_context.time_base = 1 / rate
    stream.codec_context.thread_count = 1
    return stream
