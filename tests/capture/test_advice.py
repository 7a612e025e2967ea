from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from streamqa.capture.advice import advice, closest_ns
from streamqa.capture.probe import Probe
from streamqa.capture.sampler import Sampler
from streamqa.capture.source import SourceFacts, SourceSpec
from streamqa.hours import parse_hours
from streamqa.types import NS_PER_S, Point, Zone

CAMERA = SourceSpec("cam", "rtsp://h/x")
FULL_HD = SourceFacts("h264", 1920, 1080, 25.0, gop_s=2.0)
LIVE = Probe("rtsp", live=True, facts=FULL_HD, clock="rtcp", first_after_s=1.0)
CLIP = Probe("file", facts=FULL_HD, clock="media", first_after_s=0.1)
ZONE = Zone((Point(0, 0), Point(0.5, 0), Point(0.5, 0.5)))


def said(spec: SourceSpec, probe: Probe, every_s: float = 1, seen: tuple[int, int] | None = None) -> str:
    return "\n".join(advice(spec, probe, round(every_s * NS_PER_S), seen))


def test_keyframes_that_come_often_enough_are_all_that_is_decoded() -> None:
    assert said(CAMERA, LIVE, every_s=2) == (
        "keyframes every 2 s suffice for its questions (every 2s): only these are decoded"
    )
    assert "only these" not in said(CAMERA, LIVE, every_s=1.9)
    jitter = replace(LIVE, facts=replace(FULL_HD, gop_s=2.03))
    assert "only these" in said(CAMERA, jitter, every_s=2)


@pytest.mark.parametrize(
    ("slides", "closest"), [([], None), ([2], 2), ([2, 4, 8], 2), ([2, 3], 1), ([4, 6], 2)]
)
def test_how_close_wanted_pictures_can_be(slides: list[int], closest: int | None) -> None:
    assert closest_ns(slides) == closest
    sampler = Sampler(slides or [1])
    kept = [t for t in range(100) if sampler.keep(t)]
    assert closest is None or closest == min(b - a for a, b in pairwise(kept))


def test_a_long_gop_and_a_large_picture_are_what_the_camera_could_change() -> None:
    assert said(CAMERA, LIVE).splitlines() == [
        "a keyframe interval of 1s or less at the camera would cut decoding to a tenth",
        "its substream (e.g. 1280x720) would cost a third",
    ]
    small = replace(LIVE, facts=replace(FULL_HD, width=1280, height=720))
    assert "substream" not in said(CAMERA, small)


def test_what_is_not_known_gives_no_advice() -> None:
    unknown = Probe("rtsp", live=True, clock="rtcp")
    assert said(CAMERA, unknown, seen=(1176, 644)) == ""


@pytest.mark.parametrize("kind", ["file", "webcam", "scene", "folder"])
def test_nothing_is_advised_on_streams_about_what_is_none(kind: str) -> None:
    assert said(SourceSpec("a", "a"), replace(LIVE, kind=kind)) == ""
    assert said(SourceSpec("a", "a"), CLIP) == ""


def test_where_times_come_from() -> None:
    assert "no sender reports so far: times are arrival times" in said(
        CAMERA, replace(LIVE, clock="arrival"), 2
    )
    for kind in ("http", "rtmp"):
        words = f"times are arrival times: {kind} carries no others"
        assert words in said(CAMERA, replace(LIVE, clock="arrival", kind=kind), 2)
    assert "arrival" not in said(SourceSpec("w", "webcam:0"), replace(LIVE, clock="arrival", kind="webcam"))
    assert said(SourceSpec("c", "c.mp4"), replace(CLIP, uneven=True)) == (
        "variable frame rate: sampled by time, so nothing is lost"
    )


def test_a_picture_that_is_larger_than_what_the_model_sees_of_it() -> None:
    words = (
        "the model sees its 1920x1080 at 1176x644: more than it needs, unless a zone shows it a part in full"
    )
    assert said(CAMERA, LIVE, 2, seen=(1176, 644)).splitlines()[-1] == words
    assert "the model sees" not in said(replace(CAMERA, zone=ZONE), LIVE, 2, seen=(1176, 644))
    nearly = replace(LIVE, facts=replace(FULL_HD, width=1280, height=720))
    assert "the model sees" not in said(CAMERA, nearly, 2, seen=(1176, 644))


def test_settings_without_an_effect_are_told() -> None:
    hours = parse_hours("22:00-06:00 Europe/Rome")
    assert "active hours (when) are ignored" in said(SourceSpec("c", "c.mp4", when=hours), CLIP)
    assert "ignored" not in said(replace(CAMERA, when=hours), LIVE)
    assert "watch has no effect" in said(SourceSpec("c", "c.mp4", watch=True), CLIP)
    assert "watch" not in said(SourceSpec("c", "c", watch=True), replace(CLIP, kind="folder"))
    assert "hwaccel has no effect on a webcam" in said(
        SourceSpec("w", "webcam:0", hwaccel="auto"), replace(LIVE, kind="webcam", clock="arrival")
    )
    assert "hwaccel" not in said(replace(CAMERA, hwaccel="auto"), LIVE)


def test_a_source_that_nobody_asks_about() -> None:
    assert advice(CAMERA, LIVE, None, None)[0] == "no question is asked of it"
    assert "keyframe" not in "".join(advice(CAMERA, LIVE, None, None))
