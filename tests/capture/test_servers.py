"""Capture against two RTSP servers, ours and GStreamer's, by TCP and by UDP: pictures, failures, and back again.

The four lines run at the same time, since each of them mostly waits.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from streamqa.bench.camera_process import CameraProcess
from streamqa.capture.encode import write_video
from streamqa.capture.source import SourceSpec
from streamqa.capture.stream import StreamSource

from .conftest import Rig, number_of, numbered

MakeRig = Callable[..., Rig]
PYTHON = "/usr/bin/python3"  # the system's, which has GStreamer's bindings
GSTREAMER = (PYTHON, str(Path(__file__).parents[1] / "gst_rtsp_server.py"))
PASSWORD = ("--user", "admin", "--password", "s3cret")
STALLED_S = 0.5
TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Line:
    """One server, and a supervisor that reads it."""

    name: str
    server: CameraProcess
    rig: Rig

    def watched_for(self, state: str, timeout_s: float) -> None:
        """Look from outside, as the pipeline does, until the state is reported."""
        deadline = time.monotonic() + timeout_s
        while self.rig.statuses[-1].state != state:
            self.rig.supervisor.check()
            assert time.monotonic() < deadline, f"{self.name}: not {state}, but {self.rig.states}"
            time.sleep(0.02)

    def shows_pictures(self, count: int = 10) -> None:
        self.rig.buffer.take(len, 0)
        numbers = [number_of(frame.image) for frame in self.rig.frames(count)]
        steps = [(after - before) % 120 for before, after in pairwise(numbers)]
        assert all(0 < step < 60 for step in steps), (
            f"{self.name}: {numbers}"
        )  # the newest wins: some are left out


@pytest.fixture(scope="module")
def gstreamer() -> tuple[str, ...]:
    look = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    try:
        found = subprocess.run([PYTHON, "-c", look], capture_output=True, timeout=60).returncode == 0
    except OSError:
        found = False
    if not found:
        pytest.skip("needs GStreamer's RTSP server: apt-get install gir1.2-gst-rtsp-server-1.0, see .ci/run")
    return GSTREAMER


@pytest.fixture(scope="module")
def camera_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("camera") / "clip.mp4"
    options = {"bf": "0", "g": "15", "sc_threshold": "0"}
    write_video(path, (numbered(i, 40) for i in range(120)), 30, options=options)
    return path


@pytest.fixture
def lines(gstreamer: tuple[str, ...], camera_clip: Path, rig: MakeRig) -> Iterator[list[Line]]:
    made: list[Line] = []
    for transport in ("tcp", "udp"):
        for name, server in (
            ("ours", CameraProcess(camera_clip, *PASSWORD, "--transport", transport)),  # and no other
            ("GStreamer's", CameraProcess(camera_clip, *PASSWORD, program=gstreamer)),
        ):
            server.start()
            spec = SourceSpec("cam", server.url("admin:s3cret"), transport=transport, stall_after_s=STALLED_S)
            one = rig(spec, make=lambda spec: StreamSource(spec.url, TIMEOUT_S, transport=spec.transport))
            made.append(Line(f"{name} by {transport}", server, one))
    yield made
    for line in made:
        line.server.kill()


def test_pictures_come_and_a_server_that_dies_comes_back(lines: list[Line]) -> None:
    for line in lines:
        line.rig.supervisor.start()
    for line in lines:
        line.shows_pictures(40)
    for line in lines:
        line.server.kill()
    for line in lines:
        line.rig.wait_for("live", "reconnecting", timeout_s=2)
    for line in lines:  # only now: starting takes longer than the first backoff of the next one
        line.server.start()
    for line in lines:
        line.rig.wait_for("live", timeout_s=15)
        line.shows_pictures()
        assert "s3cret" not in repr(line.rig.statuses)


def test_a_server_that_goes_silent_is_reported_and_given_up_and_comes_back(lines: list[Line]) -> None:
    for line in lines:
        line.rig.supervisor.start()
    for line in lines:
        line.shows_pictures()
    for line in lines:
        line.server.signal(signal.SIGSTOP)
    for line in lines:
        line.watched_for("stalled", 2)
    for line in lines:
        line.watched_for("reconnecting", 8)
        line.server.signal(signal.SIGCONT)
    for line in lines:
        line.rig.wait_for("live", timeout_s=15)
        line.shows_pictures()


@pytest.mark.parametrize(
    ("user", "path", "words"),
    [("admin:wr0ng", "/cam", "401"), ("", "/cam", "401"), ("admin:s3cret", "/s", "404")],
)
def test_a_wrong_password_or_path_is_refused(
    lines: list[Line], rig: MakeRig, user: str, path: str, words: str
) -> None:
    rigs = [rig(SourceSpec("cam", line.server.url(user, path))) for line in lines]
    for one in rigs:
        one.supervisor.start()
    for one in rigs:
        one.wait_for("connecting", "refused")
        assert words in one.statuses[-1].reason
