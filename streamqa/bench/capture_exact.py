"""Whether the pictures that capture samples are those that decoding everything gives, to the last bit."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from av.video.frame import VideoFrame

from streamqa.capture.ffmpeg import open_input
from streamqa.capture.images import Images
from streamqa.capture.sampler import Sampler
from streamqa.capture.source import Picture, SourceSpec, make_source
from streamqa.errors import SourceEnded
from streamqa.types import NS_PER_S

if TYPE_CHECKING:
    from streamqa.types import Image


class Digest(NamedTuple):
    """One picture, recognisable."""

    t_ns: int
    luma: str | None  # of the decoded luma plane; None where the source does not show it
    rgb: str  # of the converted picture


class Exactness(NamedTuple):
    """How many of the pictures that are due came out right."""

    due: int  # by decoding everything
    luma_equal: int | None  # None: the source does not show its planes
    rgb_equal: int
    extra: int  # pictures that were not due


def compare(clip: Path, every_ns: int = NS_PER_S) -> Exactness:
    """The pictures of one sampling period, sampled and out of all.

    Raises:
        SourceError: the clip cannot be read.
    """
    ours = {digest.t_ns: digest for digest in sampled(clip, every_ns)}
    all_due = {digest.t_ns: digest for digest in fully_decoded(clip, every_ns)}
    both = [(ours[t_ns], due) for t_ns, due in all_due.items() if t_ns in ours]
    luma = (
        None
        if any(digest.luma is None for digest in ours.values())
        else sum(a.luma == b.luma for a, b in both)
    )
    return Exactness(
        len(all_due), luma, sum(a.rgb == b.rgb for a, b in both), len(ours.keys() - all_due.keys())
    )


def sampled(clip: Path, every_ns: int) -> Iterator[Digest]:
    """What the line's own capture gives."""
    source, sampler = make_source(SourceSpec("clip", str(clip))), Sampler([every_ns])
    source.open()
    try:
        while True:
            picture = source.read(sampler.wanted_ns)
            if picture is not None and sampler.keep(picture.t_ns):
                frame = decoded(picture)
                luma = None if frame is None else _luma(frame)
                yield Digest(picture.t_ns, luma, _md5(picture.to_image()))
    except SourceEnded:
        return
    finally:
        source.close()


def fully_decoded(clip: Path, every_ns: int) -> Iterator[Digest]:
    """What decoding all of it with PyAV gives, at the times of its timestamps, without capture's own decoder."""
    container, stream = open_input(str(clip), str(clip))
    sampler, images = Sampler([every_ns]), Images()
    base, start = stream.time_base or Fraction(1), stream.start_time or 0
    with container:
        for frame in container.decode(stream):
            t_ns = math.floor(((frame.pts or 0) - start) * base * NS_PER_S)
            if sampler.keep(t_ns):
                yield Digest(t_ns, _luma(frame), _md5(images.of(frame)))


def decoded(picture: Picture) -> VideoFrame | None:
    """The frame behind a picture, where its conversion is a function that was given one."""
    given: Any = getattr(picture.to_image, "args", ())
    return next((one for one in given if isinstance(one, VideoFrame)), None)


def _luma(frame: VideoFrame) -> str:
    planes = frame.to_ndarray().astype(np.uint8, copy=False)  # of yuv420p: the luma plane's rows come first
    return _md5(planes[: frame.height])


def _md5(array: Image) -> str:
    return hashlib.md5(np.ascontiguousarray(array).data, usedforsecurity=False).hexdigest()
