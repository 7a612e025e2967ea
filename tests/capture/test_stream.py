"""RTSP against a real server in a process of its own, which can be killed, stopped and started again."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamqa.bench.camera_process import CameraProcess
from streamqa.capture import backoff
from streamqa.capture.encode import write_video
from streamqa.capture.sampler import Sampler
from streamqa.capture.source import Picture, SourceFacts, SourceSpec
from streamqa.capture.stream import StreamSource
from streamqa.errors import SourceRefused, SourceUnavailable

from .conftest import SIZE, Rig, number_of, numbered

MakeRig = Callable[..., Rig]


@pytest.fixture(scope="module")
def camera_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("camera") / "clip.mp4"
    write_video(
        path, (numbered(i, 40) for i in range(120)), 30, options={"bf": "0", "g": "15", "sc_threshold": "0"}
    )
    return path


@pytest.fixture
def server(camera_clip: Path) -> Iterator[CameraProcess]:
    one = CameraProcess(camera_clip)
    yield one
    one.kill()


def read_some(source: StreamSource, count: int) -> list[Picture]:
    pictures: list[Picture] = []
    while len(pictures) < count:
        if (picture := source.read()) is not None:
            pictures.append(picture)
    return pictures


def test_the_pictures_of_a_camera(server: CameraProcess) -> None:
    server.start("--user", "admin", "--password", "s3cret")
    source = StreamSource(server.url("admin:s3cret"))
    source.open()
    pictures = read_some(source, 40)
    numbers = [number_of(picture.to_image()) for picture in pictures]
    source.close()
    assert numbers == list(range(numbers[0], numbers[0] + 40))
    times = [picture.t_ns for picture in pictures]
    assert times == sorted(times)
    assert all(picture.clock == "rtcp" for picture in pictures), "from the first one on"
    assert source.facts.clock == "rtcp"
    assert source.facts.decoder == "cpu"


def test_of_short_gops_the_keyframes_are_taken_and_facts_are_measured(server: CameraProcess) -> None:
    server.start()
    source, sampler, numbers = StreamSource(server.url()), Sampler([500_000_000]), []
    assert source.facts == SourceFacts()
    source.open()
    while len(numbers) < 8:
        picture = source.read(sampler.wanted_ns)
        if picture is not None and sampler.keep(picture.t_ns):
            numbers.append(number_of(picture.to_image()))
    source.close()
    assert {number % 15 for number in numbers[-3:]} <= {0, 1, 2, 3}  # or just behind, where the grid wants it
    facts = source.facts
    assert (facts.codec, facts.width, facts.height) == ("h264", *SIZE)
    assert facts.fps == pytest.approx(30, rel=0.2)
    assert facts.gop_s == pytest.approx(0.5, rel=0.2)


@pytest.mark.parametrize(
    ("user", "path", "words"),
    [("admin:wr0ng-s3cret", "/cam", "401"), ("", "/cam", "401"), ("admin:s3cret", "/s3cond", "404")],
)
def test_a_wrong_password_or_path_is_refused_and_not_repeated(
    server: CameraProcess, rig: MakeRig, caplog: pytest.LogCaptureFixture, user: str, path: str, words: str
) -> None:
    server.start("--user", "admin", "--password", "s3cret")
    one = rig(server.url(user, path))
    one.supervisor.start()
    one.wait_for("connecting", "refused")
    assert words in one.statuses[-1].reason
    assert one.supervisor.stop(5)
    assert "s3cret" not in repr(one.statuses) + caplog.text
    with pytest.raises(SourceRefused) as caught:
        StreamSource(server.url(user, path)).open()
    assert "s3cret" not in str(caught.value)


def test_a_camera_that_dies_comes_back_and_time_goes_on(
    server: CameraProcess, rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "backoff_s", lambda attempt, refused, jitter: 0.2)
    server.start("--user", "admin", "--password", "s3cret")
    one = rig(server.url("admin:s3cret"), every_s=0.1)
    one.supervisor.start()
    times = [frame.t_ns for frame in one.frames(5)]
    server.kill()
    killed = time.monotonic()
    one.wait_for("live", "reconnecting")
    assert time.monotonic() - killed < 2
    server.start("--user", "admin", "--password", "s3cret")
    started = time.monotonic()
    one.wait_for("live", timeout_s=15)
    assert time.monotonic() - started < 10
    one.buffer.take(len, 0)
    times += [frame.t_ns for frame in one.frames(5)]
    assert times == sorted(times)
    assert len({t_ns // 100_000_000 for t_ns in times}) == len(times)
    assert one.metrics.reconnects.labels("cam")._value.get() >= 1
    assert "s3cret" not in repr(one.statuses)


def test_a_black_hole_is_reported_from_outside_and_given_up(
    server: CameraProcess, rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "backoff_s", lambda attempt, refused, jitter: 0.2)
    server.start()
    one = rig(
        SourceSpec("cam", server.url(), stall_after_s=0.5),
        every_s=0.1,
        make=lambda spec: StreamSource(spec.url, timeout_s=1),
    )
    one.supervisor.start()
    one.frames(3)
    server.signal(signal.SIGSTOP)
    stopped = time.monotonic()
    while "stalled" not in one.states:
        one.supervisor.check()
        assert time.monotonic() - stopped < 2
        time.sleep(0.02)
    one.wait_for("reconnecting", timeout_s=8)  # FFmpeg takes twice its timeout
    assert "no data for 1 s" in one.statuses[-1].reason
    server.signal(signal.SIGCONT)
    one.wait_for("live", timeout_s=15)


def test_a_camera_whose_media_stop_is_given_up(server: CameraProcess) -> None:
    server.start("--frames", "45")
    source = StreamSource(server.url(), timeout_s=1)
    source.open()
    with pytest.raises(SourceUnavailable, match="no data for 1 s"):
        read_some(source, 60)
    source.close()


def test_connections_leave_nothing_behind(server: CameraProcess) -> None:
    server.start()
    source = StreamSource(server.url())

    def once() -> int:
        source.open()
        read_some(source, 1)
        source.close()
        return len(list(Path("/proc/self/fd").iterdir()))

    if not Path("/proc/self/fd").exists():
        pytest.skip("counts descriptors in /proc")
    first = once()
    assert [once() for _ in range(3)] == [first] * 3


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize(("offset", "clock"), [("0", "rtcp"), ("1e6", "arrival")])
def test_a_picture_says_when_it_was_captured_and_how_long_ago(
    server: CameraProcess, transport: str, offset: str, clock: str
) -> None:
    """In truth, the camera sends picture n of its clip n / 30 s after it began to play."""
    server.start("--clock-offset", offset)
    source = StreamSource(server.url(), transport=transport)
    source.open()
    began_s = server.stats()["played_s"]
    wrong_s, late_s = [], []
    for _ in range(30):
        (picture,) = read_some(source, 1)
        assert picture.captured_at is not None
        now_s, wall_s = time.monotonic(), time.time()
        true_s = began_s + number_of(picture.to_image()) / 30
        wrong_s.append(picture.captured_at.timestamp() - wall_s + now_s - true_s)
        late_s.append(picture.delay_ns / 1e9 - (now_s - true_s))
    facts = source.facts
    source.close()
    assert max(map(abs, wrong_s)) < 0.3
    assert max(map(abs, late_s)) < 0.3
    assert facts.clock == clock
    assert facts.note == (
        "" if clock == "rtcp" else "its clock is 1000000 s ahead of this machine's: set both by NTP"
    )
    assert source.facts == facts, "of the last connection, where it is closed"


def test_a_jump_is_told_and_stream_time_goes_on(server: CameraProcess) -> None:
    server.start()
    source = StreamSource(server.url())
    source.open()
    times = [picture.t_ns for picture in read_some(source, 10)]
    server.command("jump -3600")
    times += [picture.t_ns for picture in read_some(source, 30)]
    assert times == sorted(times)
    assert times[-1] < 4e9
    assert source.facts.jumps == 1
    assert "jumped" in source.facts.note
    source.close()


@pytest.mark.parametrize("wish", ["auto", "cuda", "vaapi"])
def test_hardware_that_is_not_there_is_told_and_pictures_come(server: CameraProcess, wish: str) -> None:
    server.start()
    source = StreamSource(server.url(), hwaccel=wish)
    source.open()
    if not source.facts.decoder.startswith("cpu"):
        pytest.skip("this machine has such a device")
    pictures = read_some(source, 5)
    numbers = [number_of(picture.to_image()) for picture in pictures]
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    assert source.facts.decoder.startswith("cpu, since ")
    assert (source.facts.note == "") == (wish == "auto")
    source.close()
