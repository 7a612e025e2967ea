"""Guarded sources where all is well: streams, seeking files, passwords and TLS work through the relay as without."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from streamqa.capture.encode import write_video
from streamqa.capture.reach import Reach, reach_of
from streamqa.capture.source import SourceSpec, make_source
from streamqa.errors import SourceEnded, SourceRefused
from streamqa.service_settings import ReachConfig
from tests.capture.conftest import numbered
from tests.http_server import HttpCamera

HERE = reach_of(ReachConfig(hosts=["127.0.0.1", "localhost"]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("guarded")
    options = {"bf": "0", "g": "15", "sc_threshold": "0"}
    write_video(made / "clip.mp4", [numbered(i, 40) for i in range(120)], 30, options=options)
    return made


@pytest.fixture(scope="module")
def web(folder: Path) -> Iterator[HttpCamera]:
    (folder / "hls").mkdir()
    made = HttpCamera(folder / "clip.mp4", [numbered(i, 40) for i in range(120)], folder / "hls")
    yield made
    made.close()


def pictures(url: str, most: int, *, reach: Reach = HERE, **more: Any) -> int:
    source = make_source(SourceSpec("cam", url, reach=reach, **more))
    count = 0
    try:
        source.open()
        while count < most:
            count += source.read() is not None
    except SourceEnded:
        pass
    finally:
        source.close()
    return count


@pytest.mark.parametrize("path", ["mjpeg", "live.m3u8", "secret/mjpeg"])
def test_live_streams(web: HttpCamera, path: str) -> None:
    assert pictures(web.url(path, "admin:s3cret" if "secret" in path else ""), 40) == 40


@pytest.mark.parametrize("path", ["clip.mp4", "vod.m3u8"])
def test_recordings(web: HttpCamera, path: str) -> None:
    assert pictures(web.url(path), 1000, pace="fast") >= 120


def test_errors_of_the_server_stay_its_own(web: HttpCamera) -> None:
    with pytest.raises(SourceRefused, match="401"):
        pictures(web.url("secret/mjpeg", "admin:wrong"), 1)
    with pytest.raises(SourceRefused, match="404"):
        pictures(web.url("missing"), 1)


def test_no_thread_and_no_socket_stays_behind(web: HttpCamera) -> None:
    def relays() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "relay"]

    for _ in range(5):
        assert pictures(web.url("mjpeg"), 2) == 2
        with pytest.raises(SourceRefused):
            pictures(web.url("missing"), 1)
    assert relays() == []


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def secure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    cert, key = folder / "cert.pem", folder / "key.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*make.split(), *names], check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_https_is_checked_by_name_through_the_relay(secure: int) -> None:
    assert pictures(f"https://localhost:{secure}/clip.mp4", 1000, pace="fast") == 120
    with pytest.raises(SourceRefused, match="certificate"):
        pictures(f"https://127.0.0.1:{secure}/clip.mp4", 1, pace="fast")
    with pytest.raises(SourceRefused, match="not a public one"):
        pictures(f"https://localhost:{secure}/clip.mp4", 1, pace="fast", reach=Reach(frozenset(("https",))))
