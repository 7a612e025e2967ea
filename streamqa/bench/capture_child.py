"""A process that reads one clip for `streamqa bench capture`, so that what it costs can be told exactly.

    python -m streamqa.bench.capture_child nothing|sampled|all [CLIP]

It prints what it did as JSON. `nothing` is what every such process costs before it begins.
"""

from __future__ import annotations

import json
import sys
import time
from typing import NamedTuple

from streamqa.capture.ffmpeg import open_input
from streamqa.capture.sampler import Sampler
from streamqa.capture.source import SourceSpec, make_source
from streamqa.capture.video import FileSource  # whatever a recording needs is loaded before the clock runs
from streamqa.errors import SourceEnded
from streamqa.types import NS_PER_S


class Reading(NamedTuple):
    """What was read, and what that cost."""

    pictures: int  # of them, converted where that was asked for
    cpu_s: float  # of this process, from opening to closing
    wall_s: float


def sampled(clip: str, every_ns: int = NS_PER_S) -> int:
    """Take a picture per `every_ns` through the line's own capture, converted; how many they were."""
    source, sampler, kept = make_source(SourceSpec("clip", clip)), Sampler([every_ns]), 0
    assert isinstance(source, FileSource), "a clip is a recording"
    source.open()
    try:
        while True:
            picture = source.read(sampler.wanted_ns)
            if picture is not None and sampler.keep(picture.t_ns):
                picture.to_image()
                kept += 1
    except SourceEnded:
        return kept
    finally:
        source.close()


def everything(clip: str) -> int:
    """Decode all of it, with the same FFmpeg, and convert nothing; how many pictures it has."""
    container, stream = open_input(clip, clip)
    with container:
        return sum(1 for _ in container.decode(stream))


def main(arguments: list[str]) -> None:
    """The command line."""
    what, *clips = arguments
    read = {"nothing": lambda _: 0, "sampled": sampled, "all": everything}[what]
    cpu_s, wall_s = time.process_time(), time.monotonic()
    pictures = read(*clips or [""])
    done = Reading(pictures, time.process_time() - cpu_s, time.monotonic() - wall_s)
    print(json.dumps(done._asdict()))


if __name__ == "__main__":
    main(sys.argv[1:])
