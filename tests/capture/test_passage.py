"""Guarded sources of every protocol; `test_relay` has what HTTP servers try."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamqa.bench.camera_process import CameraProcess
from streamqa.capture.encode import write_video
from streamqa.capture.passage import Passage
from streamqa.capture.reach import Reach, reach_of
from streamqa.capture.source import SourceSpec, make_source
from streamqa.errors import SourceError, SourceRefused, SourceUnavailable
from streamqa.service_settings import ReachConfig
from tests.capture.conftest import numbered

HERE = reach_of(ReachConfig(hosts=["127.0.0.1"]))
NOWHERE = Reach(frozenset(("rtsp",)))


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CameraProcess]:
    clip = tmp_path_factory.mktemp("passage") / "clip.mp4"
    write_video(clip, [numbered(i, 40) for i in range(60)], 30, options={"bf": "0", "g": "15"})
    made = CameraProcess(Path(clip), "--user", "user", "--password", "s3cret")
    made.start()
    yield made
    made.kill()


def first_picture(url: str, reach: Reach | None, **more: Any) -> None:
    source = make_source(SourceSpec("cam", url, reach=reach, **more))
    try:
        source.open()
        while source.read() is None:
            pass
    finally:
        source.close()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_an_rtsp_camera_with_a_password_plays_where_it_is_allowed(camera: Any, transport: str) -> None:
    first_picture(camera.url("user:s3cret"), HERE, transport=transport)


def test_its_errors_stay_its_own(camera: Any) -> None:
    with pytest.raises(SourceRefused, match="401"):
        first_picture(camera.url("user:wrong"), HERE)
    with pytest.raises(SourceUnavailable):
        first_picture("rtsp://127.0.0.1:9/x", HERE)


def test_a_private_camera_is_refused_without_its_password(camera: Any) -> None:
    with pytest.raises(SourceRefused, match="not a public one") as caught:
        first_picture(camera.url("user:s3cret"), NOWHERE)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["rtsps://127.0.0.1/x", "rtmp://127.0.0.1/x", "rtmps://localhost/x", "srt://[::1]:1"]
)
def test_what_goes_through_no_relay_is_checked_at_each_opening(url: str) -> None:
    passage = Passage(NOWHERE, 1)
    for _ in range(2):
        with pytest.raises(SourceRefused, match=r"cam: .*not a public one"):
            passage.open(url, "cam")
    here = reach_of(ReachConfig(hosts=["127.0.0.0/8", "::1", "localhost"]))
    assert Passage(here, 1).open(url, "cam") == ""


def test_without_a_reach_nothing_stands_between() -> None:
    passage = Passage(None, 1)
    assert passage.open("http://127.0.0.1/x", "cam") == ""
    error = SourceUnavailable("x")
    assert passage.why(error, "cam") is error
    passage.close()


@pytest.mark.parametrize("at", ["OPTIONS", "DESCRIBE"])
@pytest.mark.parametrize("reach", [HERE, None])
def test_an_rtsp_camera_sends_nobody_elsewhere(at: str, reach: Reach | None) -> None:
    """FFmpeg does go there if `rtsp` is added to its whitelist (tried), so that this test can fail."""
    with (
        socket.create_server(("127.0.0.2", 0)) as hidden,
        socket.create_server(("127.0.0.1", 0)) as listening,
    ):
        place = f"Location: rtsp://127.0.0.2:{hidden.getsockname()[1]}/x"
        asked: list[str] = []

        def serve() -> None:
            with listening.accept()[0] as connection:
                while data := connection.recv(4096).decode():
                    asked.append(data.split()[0])
                    number = re.search(r"CSeq: \d+", data)
                    status = "302 Moved" if asked[-1] == at else "200 OK"
                    connection.sendall(
                        f"RTSP/1.0 {status}\r\n{number and number[0]}\r\n{place}\r\n\r\n".encode()
                    )

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(SourceError):
            first_picture(f"rtsp://127.0.0.1:{listening.getsockname()[1]}/cam", reach)
        thread.join(5)
        assert asked[-1] == at
        hidden.settimeout(0)
        with pytest.raises(BlockingIOError):
            hidden.accept()
