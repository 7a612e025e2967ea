"""RTSP within TLS, against our own server, and RTMP, against FFmpeg's.

Measured with PyAV 18.1 (FFmpeg 8.1), for which the last tests stand guard: rtsps takes any certificate unless
`tls_verify=1` is given, and then knows only the authorities of `ca_file`, not the system's.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import av
import pytest

from streamqa.bench.camera_process import CameraProcess
from streamqa.capture.encode import write_video
from streamqa.capture.stream import StreamSource
from streamqa.errors import SourceRefused, SourceUnavailable

from .conftest import number_of, numbered


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("camera") / "clip.mp4"
    options = {"bf": "0", "g": "15", "sc_threshold": "0"}
    write_video(path, (numbered(i, 40) for i in range(120)), 30, options=options)
    return path


def read_some(source: StreamSource, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        if (picture := source.read()) is not None:
            found.append(number_of(picture.to_image()))
    return found


@pytest.fixture(scope="module")
def tls(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CameraProcess, Path]]:
    """A camera behind TLS, and its certificate, which nobody has signed but itself."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    request = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*request, *names], cwd=folder, check=True, capture_output=True, timeout=60)
    certificate = folder / "cert.pem"
    camera = CameraProcess(clip, "--user", "admin", "--password", "s3cret")
    camera.scheme = "rtsps"
    camera.start("--tls", str(certificate), str(folder / "key.pem"))
    yield camera, certificate
    camera.kill()


def test_a_camera_behind_tls(tls: tuple[CameraProcess, Path]) -> None:
    source = StreamSource(tls[0].url("admin:s3cret"), tls_verify=False)
    source.open()
    found = read_some(source, 30)
    source.close()
    assert found == [(found[0] + i) % 120 for i in range(30)]
    with pytest.raises(SourceRefused, match="401") as caught:
        StreamSource(tls[0].url("admin:wr0ng-s3cret"), tls_verify=False).open()
    assert "s3cret" not in str(caught.value)


def test_a_certificate_that_nobody_vouches_for_is_refused(
    tls: tuple[CameraProcess, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with the right password, which is not sent to whoever that is."""
    camera, certificate = tls
    with pytest.raises(SourceRefused, match=r"cannot be trusted: self.signed.*tls_verify: false") as caught:
        StreamSource(camera.url("admin:s3cret")).open()
    assert "s3cret" not in str(caught.value)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    for host in ("127.0.0.1", "localhost"):
        source = StreamSource(camera.url("admin:s3cret").replace("127.0.0.1", host))
        source.open()
        source.close()
    with pytest.raises(SourceRefused, match=r"cannot be trusted: .*mismatch"):
        StreamSource(camera.url("admin:s3cret").replace("127.0.0.1", "127.1")).open()


def test_a_certificate_is_looked_at_only_with_its_authority(tls: tuple[CameraProcess, Path]) -> None:
    url = tls[0].url("admin:s3cret")
    options = {"timeout": "3000000", "analyzeduration": "100000"}
    for more, is_taken in (
        ({}, True),
        ({"tls_verify": "1"}, False),
        ({"tls_verify": "1", "ca_file": str(tls[1])}, True),
    ):
        try:
            av.open(url, options=options | more).close()
            taken = True
        except av.error.FFmpegError:
            taken = False
        assert taken == is_taken, more


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_rtmp_from_ffmpegs_own_server(clip: Path, fault: int) -> None:
    """PyAV gives its options to the muxer only, so that it cannot listen itself (measured)."""
    if (ffmpeg := shutil.which("ffmpeg")) is None:
        pytest.skip("needs the ffmpeg command: apt-get install ffmpeg, see .ci/run")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        url = f"rtmp://127.0.0.1:{free.getsockname()[1]}/live/cam"
    play = ["-v", "error", "-re", "-stream_loop", "-1", "-i", str(clip), "-c", "copy"]
    server = subprocess.Popen([ffmpeg, *play, "-f", "flv", "-listen", "1", url], stdin=subprocess.DEVNULL)
    try:
        source = connected(url)
        found = read_some(source, 30)
        assert found == [(found[0] + i) % 120 for i in range(30)]
        server.send_signal(fault)
        began_s = time.monotonic()
        with pytest.raises(SourceUnavailable):
            read_some(source, 10_000)
        assert time.monotonic() - began_s < 3, "the timeout is half a second"
        source.close()
    finally:
        server.kill()
        server.wait(10)


def connected(url: str) -> StreamSource:
    """A source of a server that takes one connection and may not listen yet."""
    deadline = time.monotonic() + 20
    while True:
        source = StreamSource(url, timeout_s=0.5)
        try:
            source.open()
        except SourceUnavailable:
            assert time.monotonic() < deadline, "the server never listened"
            time.sleep(0.05)
        else:
            return source
