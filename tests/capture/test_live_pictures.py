"""Real packets, read from files as fast as they come, but stamped with arrivals like those of a camera."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import av
import pytest

from streamqa.capture.encode import write_video
from streamqa.capture.ffmpeg import open_input
from streamqa.capture.images import Images
from streamqa.capture.live_pictures import LivePictures
from streamqa.capture.sampler import Sampler
from streamqa.capture.stamping import Stamping

from .conftest import number_of, numbered

S = 10**9
FPS = 30


class Arrivals:
    """One packet after the other, 30 per second; those whose number is in `blank` as RTSP's first: without time."""

    def __init__(self, blank: range = range(0)) -> None:
        self._blank = blank
        self.count = -1

    def __call__(self, packet: av.Packet) -> int | None:
        self.count += 1
        return None if self.count in self._blank else self.count * S // FPS


def clip(path: Path, count: int, **options: str) -> Path:
    settings = {"x264-params": "scenecut=0:b-adapt=0:open-gop=0", **options}
    write_video(path, (numbered(i, 40) for i in range(count)), FPS, options=settings)
    return path


def watch(path: Path, every: list[int], **arrival: Any) -> tuple[list[tuple[int, int]], LivePictures]:
    """Stream time in packets and number of each picture that is kept."""
    container, stream = open_input(str(path), "camera")
    kept, sampler, images = [], Sampler(every), Images()
    with container:
        pictures = LivePictures(container, stream, Arrivals(**arrival))
        while not pictures.ended:
            found = pictures.read(sampler.wanted_ns)
            if found is not None and sampler.keep(found[0]):
                kept.append((round(found[0] * FPS / S), number_of(images.of(found[1]))))
    return kept, pictures


def test_every_picture_comes_when_each_is_wanted(tmp_path: Path) -> None:
    kept, pictures = watch(clip(tmp_path / "a.mp4", 90, bf="0", g="15"), [1])
    assert kept == [(i, i) for i in range(90)]
    assert (pictures.lost, pictures.decoded) == (0, 90)
    assert pictures.rate.fps == pytest.approx(FPS, rel=0.01)
    assert pictures.gops.mean_s == pytest.approx(0.5)
    assert pictures.fruitless_s == 0


def test_pictures_that_are_reordered_keep_the_time_of_their_packets(tmp_path: Path) -> None:
    kept, pictures = watch(clip(tmp_path / "a.mp4", 90, bf="3", g="15"), [1])
    assert [time for time, _ in kept] == sorted({time for time, _ in kept})
    assert {time - number for time, number in kept} <= {-1, 0, 1, 2}
    assert pictures.lost == 0


@pytest.mark.parametrize("bframes", ["0", "3"])
def test_one_per_second_of_short_gops_costs_the_keyframes(tmp_path: Path, bframes: str) -> None:
    path = clip(tmp_path / "a.mp4", 240, bf=bframes, g="30")
    kept, pictures = watch(path, [S])
    assert [number for _, number in kept][-5:] == [90, 120, 150, 180, 210]
    assert [time for time, _ in kept][-5:] == [90, 120, 150, 180, 210]
    assert pictures.decoded <= 61 + 8 + 2
    assert pictures.lost == 0


@pytest.mark.parametrize("bframes", ["0", "3"])
def test_a_tick_just_behind_a_keyframe_gets_its_picture(tmp_path: Path, bframes: str) -> None:
    path = clip(tmp_path / "a.mp4", 250, bf=bframes, g="31")  # a keyframe later each second
    kept, pictures = watch(path, [S])
    assert [time // FPS for time, _ in kept] == list(range(9))
    assert all(abs(time - number) <= 2 for time, number in kept)
    assert pictures.decoded < 120


def test_pictures_without_a_time_are_left_out_and_not_lost(tmp_path: Path) -> None:
    kept, pictures = watch(clip(tmp_path / "a.mp4", 60, bf="0", g="15"), [1], blank=range(7))
    assert kept == [(i, i) for i in range(7, 60)]
    assert pictures.lost == 0


def test_nothing_is_believed_before_the_first_keyframe(tmp_path: Path) -> None:
    whole = clip(tmp_path / "a.mp4", 60, bf="0", g="15")
    with av.open(str(whole)) as given, av.open(str(tmp_path / "late.ts"), "w") as written:
        stream = given.streams.video[0]
        copy = written.add_stream_from_template(stream)
        for i, packet in enumerate(packet for packet in given.demux(stream) if packet.size):
            if i >= 5:  # join in the middle of a GOP
                packet.stream = copy
                written.mux(packet)
    kept, _ = watch(tmp_path / "late.ts", [1])
    assert [number for _, number in kept] == list(range(15, 60))


def test_motion_jpeg_is_decoded_only_where_it_is_wanted(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuvj420p"
        for i in range(240):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(i), "rgb24")))
        container.mux(stream.encode(None))
    kept, pictures = watch(tmp_path / "a.mkv", [S])
    assert kept == [(i, i) for i in range(0, 240, 30)]
    assert pictures.decoded <= 61 + 8


@pytest.mark.parametrize("every", [1, S])
def test_a_change_of_resolution_is_followed(tmp_path: Path, every: int) -> None:
    sizes = [(1280, 720), (640, 360)]
    for width, height in sizes:
        with av.open(str(tmp_path / f"{height}.ts"), "w") as container:
            stream = container.add_stream(
                "libx264", rate=FPS, options={"g": "15", "bf": "0", "preset": "ultrafast"}
            )
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for i in range(120):
                frame = av.VideoFrame(width, height, "yuv420p")
                for plane in frame.planes:
                    plane.update(bytes([64]) * plane.buffer_size)
                frame.pts = i
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join((tmp_path / f"{height}.ts").read_bytes() for _, height in sizes))
    container, stream = open_input(str(path), "camera")
    sampler, images, seen = Sampler([every]), Images(), []
    with container:
        pictures = LivePictures(container, stream, Arrivals())
        while not pictures.ended:
            found = pictures.read(sampler.wanted_ns)
            if found is not None and sampler.keep(found[0]):
                seen.append(images.of(found[1]).shape)
    half = 120 if every == 1 else 4
    assert seen == [(720, 1280, 3)] * half + [(360, 640, 3)] * half


def test_whoever_follows_sees_every_packet(tmp_path: Path) -> None:
    container, stream = open_input(str(clip(tmp_path / "a.mp4", 30, bf="0")), "camera")
    seen = []
    with container:
        pictures = LivePictures(
            container,
            stream,
            Arrivals(),
            lambda packets: (seen.append(packet.pts) or packet for packet in packets),
        )
        while not pictures.ended:
            pictures.read(0)
    assert len(seen) == 30


def test_packets_that_are_decoded_in_vain_are_noticed(tmp_path: Path) -> None:
    data = bytearray(clip(tmp_path / "a.mp4", 90, bf="0", g="90").read_bytes())
    start = data.index(b"mdat") + 60  # in the only keyframe
    data[start : start + 600] = bytes(600)
    (tmp_path / "b.mp4").write_bytes(data)
    container, stream = open_input(str(tmp_path / "b.mp4"), "camera")
    with container:
        pictures = LivePictures(container, stream, Arrivals())
        reads = [pictures.read(0) for _ in range(40)]
        assert reads == [None] * 40
        assert pictures.fruitless_s > 0
        assert pictures.lost


def test_a_source_of_ffmpegs_own_that_keeps_pace() -> None:
    """A real decoder in real time: one picture for each slide, and none of them late."""
    every, begun = S // 5, time.monotonic_ns()
    container = av.open("testsrc2=size=320x240:rate=30:duration=2,realtime", format="lavfi")
    kept, late, sampler = [], [], Sampler([every])
    with container:
        stamping = Stamping(container, container.streams.video[0])
        pictures = LivePictures(container, container.streams.video[0], stamping.time_of, stamping.follow)
        while not pictures.ended:
            found = pictures.read(sampler.wanted_ns)
            if found is not None and sampler.keep(found[0]):
                kept.append(found[0] // every)
                late.append(time.monotonic_ns() - begun - found[0])
                assert found[1].width == 320
    took_ns = time.monotonic_ns() - begun
    assert kept == sorted(set(kept))  # a picture for each slide, never two
    assert len(kept) >= 8, kept
    assert took_ns > 1.5 * S  # it did keep pace
    assert (pictures.decoded, pictures.lost) == (
        60,
        0,
    )  # no packet of it is called a keyframe, so none is skipped
    assert max(late) - min(late) < S, late
