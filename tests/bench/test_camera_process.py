"""A camera process from its starter's side."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from streamqa.bench.camera_process import CameraProcess
from tests.clips import bright_when


def test_a_camera_keeps_its_port_and_obeys(tmp_path: Path) -> None:
    camera = CameraProcess(bright_when(tmp_path / "clip.mp4", bool), "--reports", "0")
    camera.start()
    port = camera.port
    assert camera.url("u:p", "/cam1") == f"rtsp://u:p@127.0.0.1:{port}/cam1"
    assert camera.command("stall cam1") == "ok stall cam1"
    assert camera.stats()["accepted"] == 0
    with pytest.raises(ValueError, match="no such command: dance"):
        camera.command("dance")
    with pytest.raises(ValueError, match="error"):
        camera.command("drop 7")
    camera.start()  # again, which ends the first one
    assert camera.port == port
    socket.create_connection(("127.0.0.1", port), 5).close()
    camera.kill()
    camera.kill()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_a_camera_that_cannot_start_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    camera = CameraProcess(tmp_path / "gone.mp4")
    with pytest.raises(RuntimeError, match="the camera ended"):
        camera.start()
    camera.kill()
    assert "gone.mp4" in capfd.readouterr().err
