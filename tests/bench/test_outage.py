"""What an outage is measured with; the bounds are generous here, the figures are the bench's."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from streamqa.bench import outage
from streamqa.bench.line import rss_bytes
from streamqa.capture.encode import write_video
from streamqa.capture.stream import StreamSource
from streamqa.errors import SourceError

MIB = 2**20


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second at 60 fps with a keyframe each quarter: FFmpeg wants eight pictures before a stream is open.

    Noise makes each picture another one.
    """
    path, chance = tmp_path_factory.mktemp("outage") / "clip.mp4", np.random.default_rng(0)
    pictures = (chance.integers(40, 80, (96, 160, 3), dtype=np.uint8) for _ in range(60))
    write_video(path, pictures, 60, options={"bf": "0", "g": "15", "sc_threshold": "0"})
    return path


def test_a_camera_that_is_killed_and_one_that_freezes_are_told_and_come_back(clip: Path) -> None:
    with outage.watched(clip, frozen_after_s=1.0) as (camera, watcher):
        killed = outage.killed(camera, watcher)
        frozen = outage.frozen(camera, watcher)
    print(killed, frozen)
    assert killed.state == "reconnecting"
    assert killed.told_s < 1
    assert killed.accepted == 1
    assert killed.back_s < 5
    assert frozen.state == "frozen"
    assert 1 <= frozen.told_s < 5
    assert frozen.back_s < 3


@pytest.mark.slow
def test_a_black_hole_is_told_and_comes_back(clip: Path) -> None:
    with outage.watched(clip) as (camera, watcher):
        swallowed = outage.black_holed(camera, watcher)
    print(swallowed)
    assert swallowed.state in ("stalled", "reconnecting")
    assert 4.5 < swallowed.told_s < 6.5
    assert swallowed.back_s < 5


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_reconnects_leave_nothing_behind(clip: Path, count: int) -> None:
    with outage.watched(clip, join="keyframe") as (camera, watcher):
        growth = outage.reconnects(camera, watcher, count, warm_up=3)
    print(growth)
    assert growth.reconnects == count
    assert growth.rss_bytes < 20 * MIB
    assert growth.descriptors <= 0
    assert growth.threads <= 0


@contextmanager
def a_door_that_is_slammed() -> Iterator[str]:
    """A server that closes each connection at once; its URL."""
    with closing(socket.create_server(("127.0.0.1", 0))) as door:

        def slam() -> None:
            while True:
                try:
                    door.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=slam, daemon=True).start()
        yield f"rtsp://127.0.0.1:{door.getsockname()[1]}/cam"
        door.shutdown(socket.SHUT_RDWR)


def test_two_hundred_connections_that_are_closed_at_once_leave_nothing_behind() -> None:
    with a_door_that_is_slammed() as url:
        source = StreamSource(url)

        def fail(times: int) -> tuple[int, int, int]:
            for _ in range(times):
                with pytest.raises(SourceError):
                    source.open()
                source.close()
            return rss_bytes(), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

        before, after = fail(20), fail(200)
    assert after[0] - before[0] < 20 * MIB
    assert after[1:] == before[1:]
