"""What the owner of a source should know or could do better, from what was read of it. Pure.

The figures were measured on one core (1080p30 H.264, a frame per second): keyframes only are 7 to 10 times cheaper
than decoding all, and 720p costs a third of 1080p.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd

from streamqa.capture.probe import Probe
from streamqa.capture.source import SourceSpec
from streamqa.durations import format_duration
from streamqa.types import NS_PER_S

_LOCAL = ("file", "folder", "webcam", "scene")  # all others are streams from elsewhere
_SMALL = (1280, 720)
_ENOUGH = 1.05  # so many slides apart, keyframes do: `capture/live.py` decides by the same figure
_FINER = 1.25  # a picture this much larger than what the model sees of it has detail that is lost


def advice(
    spec: SourceSpec, probe: Probe, every_ns: int | None, seen: tuple[int, int] | None
) -> tuple[str, ...]:
    """Sentences, the most useful ones first.

    `every_ns`: how far apart its wanted pictures are (see `closest_ns`), None where no question is asked; `seen`:
    the width and height in which the model sees one of its pictures, where that is known.
    """
    sentences = [
        *_settings(spec, probe, every_ns),
        *_decoding(probe, every_ns),
        *_times(probe),
        *_detail(spec, probe, seen),
    ]
    return tuple(sentences)


def closest_ns(slides: Iterable[int]) -> int | None:
    """How close two wanted pictures can be, of questions with these slides; None without any.

    All ticks lie on one grid: every 2 s and every 3 s there is one at 2, 3 and 4 s, a second apart.
    """
    slides = tuple(slides)
    return min((gcd(one, other) for one in slides for other in slides), default=None)


def _settings(spec: SourceSpec, probe: Probe, every_ns: int | None) -> list[str]:
    """What was configured and has no effect."""
    sentences = []
    if every_ns is None:
        sentences.append("no question is asked of it")
    if spec.when is not None and not probe.live:
        sentences.append("its active hours (when) are ignored: it is a recording, which has no time of day")
    if spec.watch and probe.kind != "folder":
        sentences.append("watch has no effect: it is not a folder")
    if spec.hwaccel != "off" and probe.kind in ("webcam", "scene", "folder"):
        sentences.append(f"hwaccel has no effect on a {probe.kind}")
    return sentences


def _decoding(probe: Probe, every_ns: int | None) -> list[str]:
    """What a stream costs. Of a recording no more is decoded than it takes, whatever its owner does."""
    gop_s = probe.facts.gop_s
    if not probe.live or probe.kind in _LOCAL:
        return []
    sentences = []
    if gop_s is not None and every_ns is not None:
        every = format_duration(every_ns)
        if gop_s * NS_PER_S <= _ENOUGH * every_ns:
            return [
                f"keyframes every {gop_s:.2g} s suffice for its questions (every {every}): only these are decoded"
            ]
        sentences.append(
            f"a keyframe interval of {every} or less at the camera would cut decoding to a tenth"
        )
    if probe.facts.width * probe.facts.height > _SMALL[0] * _SMALL[1]:
        sentences.append(f"its substream (e.g. {_SMALL[0]}x{_SMALL[1]}) would cost a third")
    return sentences


def _times(probe: Probe) -> list[str]:
    if probe.clock == "arrival" and probe.kind == "rtsp":
        return ["no sender reports so far: times are arrival times, later than the capture"]
    if probe.clock == "arrival" and probe.kind not in _LOCAL:
        return [f"times are arrival times: {probe.kind} carries no others"]
    return ["variable frame rate: sampled by time, so nothing is lost"] if probe.uneven else []


def _detail(spec: SourceSpec, probe: Probe, seen: tuple[int, int] | None) -> list[str]:
    width, height = probe.facts.width, probe.facts.height
    if seen is None or spec.zone is not None:
        return []
    if width <= _FINER * seen[0] or height <= _FINER * seen[1]:
        return []
    return [
        f"the model sees its {width}x{height} at {seen[0]}x{seen[1]}: "
        "more than it needs, unless a zone shows it a part in full"
    ]
