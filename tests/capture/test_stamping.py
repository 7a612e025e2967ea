"""When a camera that knows the truth says its pictures were captured, over a real network stack."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import pytest

from streamqa.bench.camera_process import CameraProcess
from streamqa.capture.clock import LiveClock, Stamp
from streamqa.capture.encode import write_video
from streamqa.capture.ffmpeg import open_input
from streamqa.capture.images import Images
from streamqa.capture.links import Link
from streamqa.capture.stamping import Stamping, _infer

from .conftest import number_of, numbered

FPS = 30
S = 10**9


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CameraProcess]:
    path = tmp_path_factory.mktemp("camera") / "clip.mp4"
    options = {"bf": "0", "g": "15", "sc_threshold": "0"}
    write_video(path, (numbered(i, 40) for i in range(250)), FPS, options=options)
    one = CameraProcess(path)
    yield one
    one.kill()


@dataclass
class Seen:
    """A picture: its number, when it came and what it was stamped with."""

    number: int
    came_s: float  # monotonic
    stamp: Stamp


class Viewer:
    """Sees pictures, and knows when each was captured in truth: the camera sends picture n at n / 30 s."""

    def __init__(self, camera: CameraProcess, transport: str) -> None:
        self._container, stream = open_input(camera.url(), "cam", link=Link(5, transport))
        self.stamping = Stamping(self._container, stream)
        self._images = Images()
        self._frames = (
            frame
            for packet in self.stamping.follow(self._container.demux(stream))
            for frame in stream.codec_context.decode(packet)
        )
        self._began_s = camera.stats()["played_s"]

    @property
    def clock(self) -> LiveClock:
        return self.stamping.clock

    def see(self, count: int) -> list[Seen]:
        """The next pictures."""
        found = []
        for _ in range(count):
            frame = next(self._frames)
            stamp = self.stamping.stamp(frame)
            found.append(Seen(number_of(self._images.of(frame)), time.monotonic(), stamp))
        return found

    def error_s(self, seen: Seen) -> float:
        """By how much its capture time is wrong."""
        wall_s = seen.stamp.captured_at.timestamp() - time.time() + time.monotonic()
        return wall_s - (self._began_s + seen.number / FPS)

    def close(self) -> None:
        self._container.close()


@contextmanager
def viewing(camera: CameraProcess, *options: str, transport: str = "tcp") -> Iterator[Viewer]:
    camera.start(*options)
    viewer = Viewer(camera, transport)
    try:
        yield viewer
    finally:
        viewer.close()
        camera.kill()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_reports_tell_when_a_picture_was_captured_from_the_first_one_on(
    camera: CameraProcess, transport: str
) -> None:
    with viewing(camera, transport=transport) as viewer:
        pictures = viewer.see(40)
        assert {seen.stamp.clock for seen in pictures} == {"rtcp"}
        assert max(abs(viewer.error_s(seen)) for seen in pictures) < 0.3
        assert pictures[0].stamp.delay_ns > 0.1 * S, (
            "it lay in FFmpeg's hands while that looked at the stream"
        )
        times = [seen.stamp.t_ns for seen in pictures]
        assert times == sorted(times)


@pytest.mark.parametrize(
    "options", [("--clock-offset", "-86400"), ("--clock-offset", "1e6"), ("--reports", "0")]
)
def test_without_a_plausible_report_it_is_arrival_corrected_by_timestamps(
    camera: CameraProcess, options: tuple[str, ...]
) -> None:
    with viewing(camera, *options) as viewer:
        pictures = viewer.see(40)
        assert {seen.stamp.clock for seen in pictures} == {"arrival"}
        assert max(abs(viewer.error_s(seen)) for seen in pictures) < 0.3


def test_a_camera_whose_clock_is_two_seconds_late_is_believed_and_its_pictures_are_no_older(
    camera: CameraProcess,
) -> None:
    """Else each frame of it would be too old for a question that is asked every second."""
    with viewing(camera, "--clock-offset", "-2") as viewer:
        pictures = viewer.see(40)
        assert all(-2.3 < viewer.error_s(seen) < -1.7 for seen in pictures)
        assert all(seen.stamp.delay_ns < S // 2 for seen in pictures[-20:])
        assert viewer.clock.note == ""


def test_a_camera_whose_clock_is_ten_seconds_late_is_not_believed_and_told(camera: CameraProcess) -> None:
    with viewing(camera, "--clock-offset", "-10") as viewer:
        pictures = viewer.see(40)
        assert {seen.stamp.clock for seen in pictures} == {"arrival"}
        assert max(abs(viewer.error_s(seen)) for seen in pictures) < 0.3
        assert viewer.clock.note == "its clock is 10 s behind this machine's: set both by NTP"


def test_a_jump_of_timestamps_is_counted_and_moves_no_time(camera: CameraProcess) -> None:
    with viewing(camera) as viewer:
        viewer.see(20)
        camera.command("jump 9")
        pictures = viewer.see(40)
        assert viewer.clock.jumps == 1
        assert max(abs(viewer.error_s(seen)) for seen in pictures) < 0.3
        times = [seen.stamp.t_ns for seen in pictures]
        assert times == sorted(times)
        assert times[-1] - times[0] < 3 * S


def test_a_burst_after_a_black_hole_is_as_old_as_it_is(camera: CameraProcess) -> None:
    with viewing(camera, "--reports", "0") as viewer:
        viewer.see(20)
        camera.signal(signal.SIGSTOP)
        time.sleep(1.2)
        camera.signal(signal.SIGCONT)
        pictures = viewer.see(40)
        assert max(seen.stamp.delay_ns for seen in pictures) > 0.9 * S
        assert max(abs(viewer.error_s(seen)) for seen in pictures) < 0.3


def test_a_recording_that_comes_as_fast_as_it_can_is_not_held_for_ever(tmp_path: Path) -> None:
    """A whole HLS playlist at the pace of a live source."""
    write_video(tmp_path / "a.mp4", (numbered(i % 250) for i in range(1200)), FPS)
    container, stream = open_input(f"file:{tmp_path}/a.mp4", "a")
    given = 0

    def counted() -> Iterator[av.Packet]:
        nonlocal given
        for packet in container.demux(stream):
            given += 1
            yield packet

    following = Stamping(container, stream).follow(counted())
    next(following)
    assert given == 512
    for _ in range(520):
        next(following)
    assert given == 521
    container.close()


def packets(stamps: list[int | None]) -> list[av.Packet]:
    made = [av.Packet(b"x") for _ in stamps]
    for packet, pts in zip(made, stamps, strict=True):
        packet.pts = pts
    return made


@pytest.mark.parametrize(
    ("given", "inferred"),
    [
        ([None, 3000, 6000], [0, 3000, 6000]),
        ([None, None, 3000, 6000, None], [-3000, 0, 3000, 6000, None]),
        ([None, 3000], [None, 3000]),
        ([None, None], [None, None]),
        ([1, 2, None], [1, 2, None]),
        ([None, 9000, 3000, 6000], [0, 9000, 3000, 6000]),
    ],
)
def test_timestamps_before_the_first_are_inferred(
    given: list[int | None], inferred: list[int | None]
) -> None:
    made = packets(given)
    _infer(made)
    assert [packet.pts for packet in made] == inferred
