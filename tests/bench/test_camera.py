"""The camera against FFmpeg, the client that streamqa's capture is built on."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import islice, pairwise
from pathlib import Path

import av
import pytest
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame

from streamqa.bench.camera_process import CameraProcess
from streamqa.capture.encode import write_video
from tests.capture.conftest import number_of, numbered

# Without scenecut=0 each picture of noise would be a keyframe.
OPTIONS = {"bf": "0", "g": "15", "crf": "8", "sc_threshold": "0"}
Start = Callable[..., CameraProcess]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("camera") / "clip.mp4"
    write_video(path, (numbered(i, 90) for i in range(60)), 30, options=OPTIONS)
    return path


@pytest.fixture
def start(clip: Path) -> Iterator[Start]:
    started: list[CameraProcess] = []

    def one(*options: str) -> CameraProcess:
        started.append(CameraProcess(clip, *options))
        started[-1].start()
        return started[-1]

    yield one
    for camera in started:
        camera.kill()


@contextmanager
def joined(url: str, transport: str = "tcp") -> Iterator[InputContainer]:
    options = {"rtsp_transport": transport, "timeout": "700000", "analyzeduration": "200000"}
    with closing(av.open(url, options=options)) as container:
        yield container


def pictures(container: InputContainer) -> Iterator[VideoFrame]:
    for packet in container.demux(video=0):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


def numbers(container: InputContainer, count: int) -> list[int]:
    found = []
    for frame in pictures(container):
        found.append(number_of(frame.to_ndarray(format="rgb24")))
        if len(found) == count:
            return found
    raise AssertionError(f"only {found}")


def ages_s(container: InputContainer, count: int) -> list[float]:
    """How long ago packets were sent by the clock of the camera, as far as it told; the newest last."""
    found: list[float] = []
    for packet in container.demux(video=0):
        found += [time.time() - at_s for at_s in _sent_at_s(packet)]
        if len(found) >= count:
            break
    return found


def _sent_at_s(packet: Packet) -> Iterator[float]:
    for data in packet.iter_sidedata():
        if data.data_type.lower() == "prft":
            yield struct.unpack("<q", bytes(data)[:8])[0] / 1e6


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_every_picture_comes_in_its_turn(start: Start, transport: str) -> None:
    camera = start()
    with joined(camera.url(), transport) as container:
        found = numbers(container, 75)
        assert camera.stats()["playing"] == 1
    first = found[0]
    assert found == [(first + i) % 60 for i in range(75)]
    assert camera.stats()["pictures"] >= 75


def test_cameras_are_paths_and_have_their_own_faults(start: Start) -> None:
    camera = start("--join", "middle")
    with joined(camera.url(path="/cam1")) as one, joined(camera.url(path="/cam2")) as other:
        camera.command("stall cam1")
        assert len(set(numbers(other, 30))) == 30
        with pytest.raises(av.error.TimeoutError):
            numbers(one, 200)


def test_the_clock_of_a_camera_comes_with_its_pictures(start: Start) -> None:
    right, wrong = start(), start("--clock-offset", "-3600")
    with joined(right.url()) as container:
        assert -0.1 < ages_s(container, 30)[-1] < 2
    with joined(wrong.url(), "udp") as container:
        assert 3599.9 < ages_s(container, 30)[-1] < 3602
    with joined(start("--reports", "0").url()) as container:
        assert not [at_s for packet in islice(container.demux(video=0), 20) for at_s in _sent_at_s(packet)]


def test_a_frozen_camera_shows_one_picture_while_time_goes_on(start: Start) -> None:
    camera = start()
    with joined(camera.url()) as container:
        numbers(container, 5)
        camera.command("freeze")
        frozen = list(islice(pictures(container), 60))[-10:]
        assert len({frame.to_ndarray().tobytes() for frame in frozen}) == 1
        times = [frame.time for frame in frozen]
        assert times == sorted(set(times))
        camera.command("resume")
        assert len(set(numbers(container, 30))) > 10


def test_a_jump_is_one_of_the_timestamps_only(start: Start) -> None:
    camera = start()
    with joined(camera.url()) as container:
        numbers(container, 5)
        camera.command("jump 100")
        times = [frame.time for frame in islice(pictures(container), 60)]
    steps = [after - before for before, after in pairwise(times)]
    assert [round(step) for step in steps if abs(step) > 1] == [100]


def test_lost_packets_cost_pictures(start: Start) -> None:
    camera = start()
    with joined(camera.url(), "udp") as container:
        camera.command("drop 0.3")
        found = list(islice(pictures(container), 30))
    assert any(frame.is_corrupt for frame in found)


def test_flipped_bits_are_seen_by_the_decoder(start: Start) -> None:
    camera = start()
    with joined(camera.url()) as container:
        camera.command("corrupt 0.5")
        found = list(islice(pictures(container), 30))
    assert any(frame.is_corrupt for frame in found)


def test_connections_can_be_closed_and_refused_and_taken_again(start: Start) -> None:
    camera = start()
    with joined(camera.url()) as container:
        camera.command("refuse")
        numbers(container, 30)  # who is in stays in
        camera.command("close")
        assert sum(1 for _ in pictures(container)) < 60  # and then it is over
    with pytest.raises(av.error.ConnectionRefusedError), joined(camera.url()):
        pass
    camera.command("accept")
    with joined(camera.url()) as container:
        numbers(container, 1)


def test_the_media_can_stop_while_the_connection_stays(start: Start) -> None:
    camera = start("--frames", "20")
    with pytest.raises(av.error.TimeoutError), joined(camera.url()) as container:
        numbers(container, 100)


def test_only_the_transport_that_is_offered(start: Start) -> None:
    camera = start("--transport", "tcp")
    with pytest.raises(av.error.FFmpegError), joined(camera.url(), "udp"):
        pass
    with joined(camera.url(), "tcp") as container:
        numbers(container, 1)
