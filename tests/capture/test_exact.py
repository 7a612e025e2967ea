"""Real clips of many kinds: the sampled pictures are those of decoding everything, to the byte and the nanosecond."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamqa.capture.decoder import RecordedPictures
from streamqa.capture.ffmpeg import open_input
from streamqa.capture.sampler import Sampler
from streamqa.capture.timeline import Timeline
from streamqa.capture.video import FileSource

MS = 10**6
WIDTH, HEIGHT = 96, 64
GRIDS = [[40], [100], [333], [500], [1000], [2500], [10_000], [1000, 700], [300, 5000, 2000]]  # ms
MAY_JUMP = {"mpegts", "mpeg"}

x264, x265, vp9, mpeg2, mpeg4 = "libx264", "libx265", "libvpx-vp9", "mpeg2video", "mpeg4"
B3 = "bframes=3:b-adapt=0:scenecut=0"


def with_x264(more: str = "") -> dict[str, str]:
    return {"x264-params": B3 + more}


def with_x265(more: str = "") -> dict[str, str]:
    return {"x265-params": f"{B3}:keyint=20:min-keyint=20:log-level=none{more}"}


VFR = random.Random(3).choices([20, 33, 40, 40, 100, 700], k=119)
STAMPS = {
    "vfr": [sum(VFR[:i]) for i in range(120)],
    "lapse": [i * 8000 for i in range(120)],
    "gap": [i * 40 + (9000 if i >= 50 else 0) + (20_000 if i >= 91 else 0) for i in range(120)],
}
CLIPS: dict[str, tuple[str, dict[str, str], int]] = {  # name.suffix: codec, options, GOP
    "short.mp4": (x264, with_x264(), 15),
    "short.ts": (x264, with_x264(), 15),
    "short.mkv": (x264, with_x264(), 15),
    "plain.mp4": (x264, {"bf": "0"}, 60),
    "long.mp4": (x264, with_x264(), 100),
    "infinite.mp4": (x264, with_x264(), 9999),
    "open.mp4": (x264, with_x264(":open-gop=1"), 15),
    "open.ts": (x264, with_x264(":open-gop=1"), 15),
    "refresh.mp4": (x264, {"bf": "0", "x264-params": "intra-refresh=1:scenecut=0"}, 20),
    "refresh.ts": (x264, {"bf": "0", "x264-params": "intra-refresh=1:scenecut=0"}, 20),
    "hevc.mp4": (x265, with_x265(":open-gop=0"), 20),
    "hevc-open.mp4": (x265, with_x265(":open-gop=1"), 20),
    "hevc-open.ts": (x265, with_x265(":open-gop=1"), 20),
    "vfr.mp4": (x264, with_x264(), 15),
    "vfr.mkv": (x264, with_x264(), 15),
    "lapse.mp4": (x264, with_x264(), 15),
    "gap.ts": (x264, with_x264(), 15),
    "gap.mkv": (x264, with_x264(), 15),
    "mpeg4.mp4": (mpeg4, {"bf": "2"}, 12),
    "mpeg4.avi": (mpeg4, {"bf": "2"}, 12),
    "mpeg2.ts": (mpeg2, {"bf": "2"}, 12),
    "mpeg2.mpg": (mpeg2, {"bf": "2"}, 12),
    "mjpeg.avi": ("mjpeg", {}, 12),
    "vp9.webm": (vp9, {"deadline": "realtime", "cpu-used": "8"}, 30),
    "vp9.mkv": (vp9, {"deadline": "good", "cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"}, 30),
    "vp8.webm": ("libvpx", {"deadline": "good", "cpu-used": "8", "auto-alt-ref": "1"}, 30),
    "raw.h264": (x264, with_x264(), 15),
}


def picture(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    image = rng.integers(0, 50, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image[10:40, number * 5 % WIDTH :][:, :20] = 200
    return image


def write(path: Path, codec: str, options: dict[str, str], gop: int, count: int = 120) -> Path:
    stamps = STAMPS.get(path.stem)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        context = stream.codec_context
        context.gop_size, context.thread_count = gop, 1
        context.time_base = Fraction(1, 1000 if stamps else 25)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
            frame.pts, frame.time_base = stamps[i] if stamps else i, context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


Sample = tuple[int, str]


def sample(t_ns: int, frame: av.VideoFrame) -> Sample:
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
    return t_ns, hashlib.md5(rows.tobytes()).hexdigest()


def all_pictures(path: Path) -> list[Sample]:
    """Every picture that comes out of the decoder, stamped as it comes: the truth."""
    container, stream = open_input(str(path), "clip")
    with container:
        base = stream.time_base
        start = None if stream.start_time is None else stream.start_time * base
        rate = stream.average_rate or stream.guessed_rate
        clock = Timeline(start, 1 / rate, gaps_are_real=container.format.name not in MAY_JUMP)
        packets = [packet for packet in container.demux(stream) if packet.size]
        frames = [f for packet in (*packets, None) for f in stream.codec_context.decode(packet)]
        return [sample(clock.at(None if f.pts is None else f.pts * base), f) for f in frames]


def sampled(path: Path, every: list[int]) -> tuple[list[Sample], RecordedPictures]:
    container, stream = open_input(str(path), "clip")
    samples = []
    with container:
        pictures, sampler = RecordedPictures(container, stream), Sampler(every)
        while (found := pictures.read(sampler.wanted_ns, math.inf)) is not None:
            assert sampler.keep(found[0])
            samples.append(sample(*found))
    return samples, pictures


def kept(samples: Iterable[Sample], every: list[int]) -> list[Sample]:
    sampler = Sampler(every)
    return [one for one in samples if sampler.keep(one[0])]


def check(path: Path, count: int) -> None:
    truth = all_pictures(path)
    assert len(truth) == count
    for grid in GRIDS:
        every = [period * MS for period in grid]
        assert sampled(path, every)[0] == kept(truth, every), f"every {grid} ms"


@pytest.mark.parametrize("name", CLIPS)
def test_samples_are_those_of_decoding_everything(tmp_path: Path, name: str) -> None:
    check(write(tmp_path / name, *CLIPS[name]), 120)


def remux(source: Path, target: Path, keep: Callable[[int, av.Packet], bool]) -> Path:
    """The same packets in another file, without those that are not to be kept."""
    with av.open(str(source)) as given, av.open(str(target), "w") as written:
        stream = given.streams.video[0]
        copy = written.add_stream_from_template(stream)
        for i, packet in enumerate(packet for packet in given.demux(stream) if packet.size):
            if keep(i, packet):
                packet.stream = copy
                written.mux(packet)
    return target


def test_clips_glued_together(tmp_path: Path) -> None:
    parts = [
        write(tmp_path / "a.ts", x264, with_x264(), 25, 60),
        write(tmp_path / "b.ts", x264, {"bf": "0"}, 12, 41),
        write(tmp_path / "c.ts", x264, with_x264(":open-gop=1"), 12, 50),
    ]
    glued = tmp_path / "glued.ts"
    glued.write_bytes(b"".join(parts[i].read_bytes() for i in (0, 1, 0, 2, 2)))
    check(glued, 60 + 41 + 60 + 50 + 50)
    assert all_pictures(glued)[-1][0] == pytest.approx(260 * 40 * MS, abs=40 * MS)


def test_packets_that_are_wrongly_called_keyframes(tmp_path: Path) -> None:
    def lie(i: int, packet: av.Packet) -> bool:
        packet.is_keyframe = packet.is_keyframe or i % 7 == 3
        return True

    lying = remux(write(tmp_path / "a.mp4", *CLIPS["hevc.mp4"]), tmp_path / "b.mkv", lie)
    check(lying, 120)
    found = sampled(lying, [1000 * MS])[1]
    assert found.is_decoded_whole
    assert found.lost == 0


def test_a_recording_that_begins_in_the_middle_of_a_gop(tmp_path: Path) -> None:
    path = remux(write(tmp_path / "a.ts", *CLIPS["short.ts"]), tmp_path / "b.ts", lambda i, packet: i > 4)
    truth = all_pictures(path)
    assert len(truth) == 105  # from the second keyframe on
    every = [700 * MS]
    assert sampled(path, every)[0] == kept(truth, every)


def test_intra_refresh_is_found_out_without_a_loss(tmp_path: Path) -> None:
    found = sampled(write(tmp_path / "refresh.mp4", *CLIPS["refresh.mp4"]), [500 * MS])[1]
    assert (found.is_decoded_whole, found.lost) == (True, 0)


def test_that_a_recording_must_be_decoded_whole_is_told(tmp_path: Path) -> None:
    source = FileSource(str(write(tmp_path / "raw.h264", *CLIPS["raw.h264"])))  # without timestamps
    source.open()
    source.read()
    assert "decoded whole" in source.facts.note
    source.close()
