from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from streamqa.bench.camera_process import CameraProcess
from streamqa.capture.encode import write_video
from streamqa.capture.probe import kind_word, probe, probe_all
from streamqa.capture.source import Picture, Source, SourceFacts, SourceSpec
from streamqa.errors import SourceRefused, SourceUnavailable
from streamqa.types import NS_PER_S, Clock, utc_now

from .conftest import numbered


class Camera:
    """A live source of 20 pictures per second of its own time that comes as fast as it is read.

    It knows its keyframe spacing after `gop_after` pictures, and has sender reports after `reports_after`.
    """

    is_live = True

    def __init__(self, gop_after: int = 10, reports_after: int = 10, fails_at: int = -1) -> None:
        self.gop_after, self.reports_after, self.fails_at = gop_after, reports_after, fails_at
        self.reads = 0
        self.closed = 0
        self.threads: set[int] = set()

    def open(self) -> None:
        self.threads.add(threading.get_ident())

    @property
    def facts(self) -> SourceFacts:
        gop_s = 0.01 if self.reads >= self.gop_after else None
        return SourceFacts("h264", 64, 48, 20.0, gop_s)

    def read(self, wanted_ns: int = 0) -> Picture | None:
        self.threads.add(threading.get_ident())
        self.reads += 1
        if self.reads == self.fails_at:
            raise SourceUnavailable("rtsp://u:s3cret@h/x: broke")
        if self.reads % 2:
            return None
        clock: Clock = "rtcp" if self.reads >= self.reports_after else "arrival"
        image = np.zeros((48, 64, 3), np.uint8)
        return Picture(self.reads * NS_PER_S // 20, utc_now(), clock, lambda: image)

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed += 1


RTSP = SourceSpec("cam", "rtsp://u:s3cret@h/x")


def test_a_stream_is_read_until_its_keyframes_and_its_clock_are_known() -> None:
    camera = Camera(gop_after=10, reports_after=40)
    found = probe(RTSP, make=lambda spec: camera)
    assert (found.kind, found.live, found.failure) == ("rtsp", True, "")
    assert found.facts == SourceFacts("h264", 64, 48, 20.0, 0.01)
    assert found.clock == "rtcp"
    assert found.captured_at is not None
    assert found.first_after_s is not None
    assert found.first_after_s < 1
    assert camera.reads >= 40
    assert camera.closed == 1


def test_a_stream_that_breaks_while_it_is_read_has_failed_and_its_password_is_not_told() -> None:
    camera = Camera(fails_at=7)
    found = probe(RTSP, make=lambda spec: camera)
    assert found.failure == "rtsp://***@h/x: broke"
    assert found.facts.codec == "h264"
    assert camera.closed == 1


def test_a_source_that_gives_nothing_has_failed_after_its_time() -> None:
    class Dumb(Camera):
        def read(self, wanted_ns: int = 0) -> None:
            return None

    found = probe(RTSP, 0.05, make=lambda spec: Dumb())
    assert found.failure == "rtsp://***@h/x: opened, but no picture within 0.05 s"


def test_a_bug_is_told_in_one_line_without_the_password() -> None:
    class Broken(Camera):
        def open(self) -> None:
            raise RuntimeError("cannot\nopen rtsp://u:s3cret@h/x")

    found = probe(RTSP, make=lambda spec: Broken())
    assert found.failure == "rtsp://***@h/x: unexpected RuntimeError: cannot open rtsp://***@h/x"


def test_sources_are_probed_side_by_side_each_by_one_thread_of_its_own() -> None:
    together = threading.Barrier(5, timeout=5)

    class Punctual(Camera):
        def open(self) -> None:
            super().open()
            together.wait()

    cameras = {f"c{n}": Punctual() for n in range(5)}
    specs = [SourceSpec(name, "rtsp://h/x") for name in cameras]
    results = list(probe_all(specs, make=lambda spec: cameras[spec.id]))
    assert [spec.id for spec, _ in results] == list(cameras)
    assert [found.failure for _, found in results] == [""] * 5
    threads = [camera.threads for camera in cameras.values()]
    assert all(len(used) == 1 for used in threads)
    assert len(set().union(*threads)) == 5


def test_one_that_hangs_is_told_and_the_others_are_there() -> None:
    release = threading.Event()

    class Hanging(Camera):
        def open(self) -> None:
            release.wait(10)

    def make(spec: SourceSpec) -> Source:
        if spec.id == "no":
            raise SourceRefused("no: not here")
        return Hanging() if spec.id == "hangs" else Camera()

    began_s = time.monotonic()
    specs = [RTSP, SourceSpec("hangs", "rtsp://u:s3cret@h/y"), SourceSpec("no", "rtsp://h/z")]
    found = [result for _, result in probe_all(specs, 0.2, make)]
    release.set()
    assert time.monotonic() - began_s < 5
    assert [one.failure for one in found] == [
        "",
        "rtsp://***@h/y: has not answered within 0.2 s; is it reachable?",
        "no: not here",
    ]


def test_a_recording_is_read_at_its_beginning_only(clip: Path) -> None:
    found = probe(SourceSpec("clip", str(clip)))
    assert (found.kind, found.live, found.failure, found.clock) == ("file", False, "", "media")
    assert (found.facts.width, found.facts.height) == (160, 96)
    assert found.facts.codec == "h264"
    assert found.facts.gop_s == pytest.approx(1, abs=0.1)  # the encoder adds keyframes of its own
    assert found.facts.fps == pytest.approx(15)
    assert (found.captured_at, found.uneven) == (None, False)


def test_a_variable_frame_rate_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for pts in (0, 1, 2, 3, 4, 8, 12, 16, 17, 18, 19, 20, 30):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = pts, 1 / stream.codec_context.rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert probe(SourceSpec("v", str(path))).uneven


def test_a_clip_that_is_not_there(tmp_path: Path) -> None:
    assert "no such file" in probe(SourceSpec("a", str(tmp_path / "none.mp4"))).failure


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Pillow.new("RGB", (64, 48)).save(tmp_path / "a.png")
    Pillow.new("RGB", (64, 48)).save(tmp_path / "b.png")
    return tmp_path


def test_a_folder_is_read(folder: Path) -> None:
    found = probe(SourceSpec("in", str(folder)))
    assert (found.kind, found.live, found.failure) == ("folder", False, "")
    assert found.facts == SourceFacts("png", 64, 48)


def test_a_watched_folder_may_be_empty(tmp_path: Path) -> None:
    found = probe(SourceSpec("in", str(tmp_path), watch=True))
    assert (found.failure, found.first_after_s) == ("", None)


def test_a_camera_is_read_and_its_password_is_told_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, (numbered(n) for n in range(60)), 30, options={"bf": "0", "g": "15"})
    camera = CameraProcess(path, "--user", "admin", "--password", "s3cret")
    camera.start()
    try:
        right, wrong = SourceSpec("r", camera.url("admin:s3cret")), SourceSpec("w", camera.url("u:s3cretly"))
        found, refused = (result for _, result in probe_all([right, wrong], limit_s=4))
    finally:
        camera.kill()
    assert (found.failure, found.kind, found.live) == ("", "rtsp", True)
    assert (found.facts.width, found.facts.height) == (160, 96)
    assert found.captured_at is not None
    assert abs(found.captured_at - utc_now()) < timedelta(seconds=20)
    assert "wrong user name or password" in refused.failure
    assert "s3cret" not in repr((found, refused))


def test_a_scene_is_read() -> None:
    found = probe(SourceSpec("s", "scene:gate"))
    assert (found.kind, found.live, found.facts.codec) == ("scene", True, "rendered")
    assert (found.facts.width, found.facts.height) == (640, 360)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("rtsp://h/x", "rtsp"),
        ("RTSPS://h/x", "rtsp"),
        ("https://h/x.m3u8", "http"),
        ("rtmps://h/x", "rtmp"),
        ("srt://h:1", "srt"),
        ("webcam:0", "webcam"),
        ("/dev/video0", "webcam"),
        ("scene:gate", "scene"),
        ("folder:/data", "folder"),
        ("a.mp4", "file"),
        ("/", "folder"),
    ],
)
def test_what_people_call_it(url: str, word: str) -> None:
    assert kind_word(url) == word
