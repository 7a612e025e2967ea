"""Options that work, shown by servers that do not: FFmpeg ignores the others without a word."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import av
import pytest

from streamqa.bench.camera_process import CameraProcess
from streamqa.capture.ffmpeg import open_input
from streamqa.capture.links import PROTOCOLS, Link, address_of, protocol_of, silence_s
from streamqa.errors import SourceError, SourceRefused, SourceUnavailable

SPOKEN = [scheme for scheme in PROTOCOLS if scheme != "srt"]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("rtsp://h/x", ("h", 554)),
        ("RTSPS://u:s3cret@h/x", ("h", 322)),
        ("rtsp://a:p@ss@h:8554/x", ("h", 8554)),
        ("https://[::1]:8443/x", ("::1", 8443)),
        ("rtmp://h/live", ("h", 1935)),
        ("rtsp://h:port/x", None),
        ("rtsp://a:p/ss@h/x", None),
        ("rtsp:///x", None),
        ("gopher://h/x", None),
        ("clip.mp4", None),
    ],
)
def test_the_address_in_a_url(url: str, address: tuple[str, int] | None) -> None:
    assert address_of(url) == address


def test_a_path_needs_nothing() -> None:
    link = Link(5)
    assert protocol_of("12:30.mp4") is None
    assert link.options("clip.mp4") == {}
    assert link.own_timeout_s("clip.mp4") is None


def test_the_options_of_a_camera() -> None:
    options = Link(2.5, transport="udp").options("rtsps://h/x")
    assert options["timeout"] == "2500000"
    assert options["rtsp_transport"] == "udp"
    assert options["tls_verify"] == "1"
    assert "tls_verify" not in Link(2.5).options("rtsp://h/x")
    assert Link(2.5, tls_verify=False).options("rtsps://h/x")["tls_verify"] == "0"


def test_the_frame_rate_is_waited_for_where_it_stamps_pictures() -> None:
    assert Link(1).options("http://h/x.mjpg")["fpsprobesize"] == "0"
    assert "fpsprobesize" not in Link(1, live=False).options("http://h/x.mp4")


@pytest.mark.parametrize("scheme", PROTOCOLS)
def test_a_server_can_name_nothing_but_the_network(scheme: str) -> None:
    assert not {"file", "concat", "pipe", "fd", "subfile", "unix"} & set(
        PROTOCOLS[scheme].whitelist.split(",")
    )


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def full() -> Iterator[int]:
    """The port of a server that is too busy to take connections, as a black hole looks to who connects."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(server.getsockname())
        yield server.getsockname()[1]
        for one in waiting:
            one.close()


def gives_up(url: str, timeout_s: float) -> tuple[float, SourceError]:
    """After how many seconds an URL is given up, and why."""
    began_s = time.monotonic()
    with pytest.raises(SourceError) as caught:
        open_input(url, "cam", link=Link(timeout_s))
    return time.monotonic() - began_s, caught.value


@pytest.mark.parametrize("scheme", SPOKEN)
def test_a_server_that_says_nothing_is_given_up(scheme: str, silent: int) -> None:
    took_s, error = gives_up(f"{scheme}://u:s3cret@127.0.0.1:{silent}/live/cam", 0.3)
    assert took_s < 3
    assert isinstance(error, SourceUnavailable)
    assert str(error) == "cam: no data for 0.3 s; is it reachable?"


@pytest.mark.parametrize("scheme", SPOKEN)
def test_a_server_that_does_not_take_the_connection_is_given_up(scheme: str, full: int) -> None:
    took_s, error = gives_up(f"{scheme}://127.0.0.1:{full}/live/cam", 0.3)
    assert took_s < 3
    assert isinstance(error, SourceUnavailable)
    assert "no data for 0.3 s" in str(error)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_camera_that_falls_silent_is_given_up(clip: Path, transport: str) -> None:
    camera = CameraProcess(clip)
    camera.start()
    try:
        container, stream = open_input(camera.url(), "cam", link=Link(0.5, transport))
        camera.signal(signal.SIGSTOP)
        began_s = time.monotonic()
        with pytest.raises(av.error.TimeoutError):
            for _ in container.demux(stream):
                pass
        took_s = time.monotonic() - began_s
        container.close()
    finally:
        camera.kill()
    assert 0.4 < took_s < 2, "twice the timeout, since FFmpeg tries to read once more"


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https", "rtmp", "rtmps"])
def test_a_host_without_an_address_is_said_to_have_none(scheme: str) -> None:
    _, error = gives_up(f"{scheme}://u:s3cret@nowhere.invalid/live/cam", 2)
    assert isinstance(error, SourceUnavailable)
    assert "no address is known for the host 'nowhere.invalid' (DNS)" in str(error)
    assert "s3cret" not in str(error)


def test_a_protocol_that_is_not_there_is_refused() -> None:
    _, error = gives_up("srt://127.0.0.1:1", 0.3)
    assert isinstance(error, SourceRefused | SourceUnavailable)
    assert str(error).startswith("cam: ")


def page(kind: str, body: bytes) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Answers:
    """A server that has one answer to everything, and then closes."""

    def __init__(self, answer: bytes) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._answer = answer
        self.asked: list[bytes] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                one, _ = self._server.accept()
                with one, suppress(OSError):
                    self.asked.append(one.recv(4096))
                    one.sendall(self._answer)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(5)


@pytest.mark.parametrize(
    "target", ["file:{clip}", "concat:{clip}", "subfile,,start,0,end,0,,:{clip}", "{clip}"]
)
def test_a_playlist_from_the_network_opens_no_file_of_ours(clip: Path, target: str) -> None:
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{target.format(clip=clip)}\n#EXT-X-ENDLIST\n"
    web = Answers(page("application/vnd.apple.mpegurl", playlist.encode()))
    try:
        with pytest.raises(SourceUnavailable):
            open_input(f"http://127.0.0.1:{web.port}/live.m3u8", "cam", link=Link(1))
    finally:
        web.close()
    assert web.asked[0].startswith(b"GET /live.m3u8")
    assert b"User-Agent: streamqa/" in web.asked[0]


def test_the_same_playlist_opens_it_without_our_list(clip: Path) -> None:
    """The test above can fail: a local playlist may name local files."""
    playlist = clip.with_suffix(".m3u8")
    segment = clip.with_suffix(".ts")
    with av.open(str(clip)) as given, av.open(str(segment), "w") as written:
        copy = written.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                written.mux(packet)
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\nfile:{segment}\n#EXT-X-ENDLIST\n")
    container, _ = open_input(f"file:{playlist}", "list")
    container.close()
    web = Answers(page("application/vnd.apple.mpegurl", playlist.read_bytes()))
    try:
        with pytest.raises(SourceUnavailable):
            open_input(f"http://127.0.0.1:{web.port}/live.m3u8", "cam", link=Link(1))
    finally:
        web.close()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html><body>Log in</body></html>"),
        ("application/sdp", b"v=0\nm=video 5004 RTP/AVP 96\nc=IN IP4 127.0.0.1\na=rtpmap:96 H264/90000\n"),
        ("text/plain", b"ffconcat version 1.0\nfile /etc/hostname\n"),
    ],
)
def test_what_is_no_video_is_said_to_be_none(kind: str, body: bytes) -> None:
    web = Answers(page(kind, body))
    try:
        took_s, error = gives_up(f"http://127.0.0.1:{web.port}/x", 1)
    finally:
        web.close()
    assert took_s < 5
    assert str(error).startswith("cam: ")


@pytest.mark.parametrize("scheme", SPOKEN)
def test_a_closed_port_is_said_to_be_one(scheme: str) -> None:
    _, error = gives_up(f"{scheme}://u:s3cret@127.0.0.1:1/live/cam", 1)
    assert str(error) == "cam: connection refused; is it on, and is the port right?"


@pytest.mark.parametrize(
    ("scheme", "answer", "kind", "words"),
    [
        ("rtsp", b"", SourceUnavailable, "no video that FFmpeg knows"),
        ("http", b"", SourceUnavailable, "closed the connection"),
        ("rtmp", b"", SourceUnavailable, "closed the connection"),
        ("rtsp", b"RTSP/1.0 503 Busy\r\nCSeq: 1\r\n\r\n", SourceUnavailable, "5xx"),
        ("rtsp", b"RTSP/1.0 403 Forbidden\r\nCSeq: 1\r\n\r\n", SourceRefused, "403"),
        ("http", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", SourceUnavailable, "5xx"),
        ("http", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", SourceRefused, "refuses"),
        (
            "http",
            b"HTTP/1.1 302 Found\r\nLocation: file:///etc/hostname\r\n\r\n",
            SourceUnavailable,
            "check the URL",
        ),
        ("rtsps", b"RTSP/1.0 200 OK\r\n\r\n", SourceUnavailable, "no TLS is spoken there"),
        ("https", b"HTTP/1.1 200 OK\r\n\r\n", SourceUnavailable, "no TLS is spoken there"),
        ("rtmps", b"RTSP/1.0 200 OK\r\n\r\n", SourceUnavailable, "no TLS is spoken there"),
    ],
)
def test_what_a_server_answers_in_plain_words(scheme: str, answer: bytes, kind: type, words: str) -> None:
    server = Answers(answer)
    try:
        took_s, error = gives_up(f"{scheme}://u:s3cret@127.0.0.1:{server.port}/live/cam", 2)
    finally:
        server.close()
    assert took_s < 5
    assert type(error) is kind
    assert words in str(error)
    assert "s3cret" not in str(error)


@pytest.mark.parametrize("url", ["http://h/live/x.m3u8", "https://u:p@h/X.M3U8?token=1"])
def test_a_stream_in_segments_may_be_silent_between_them(url: str) -> None:
    assert silence_s(url, 5.0) == 20.0
    assert silence_s(url, 60.0) == 60.0


@pytest.mark.parametrize("url", ["http://h/x.mjpeg", "rtsp://h/x", "x.m3u8", "http://h/x?file=x.m3u8"])
def test_any_other_stream_may_not(url: str) -> None:
    assert silence_s(url, 5.0) == 5.0


def test_a_guarded_source_goes_by_its_proxy_and_is_video() -> None:
    guarded = Link(5, proxy="http://127.0.0.1:9")
    for url in ("http://h/x", "https://h/x"):
        options = guarded.options(url)
        assert options["http_proxy"] == "http://127.0.0.1:9"
        formats = options["format_whitelist"].split(",")
        assert "hls" in formats
        assert not {"concat", "dash", "imf", "sdp", "rtsp", "image2", "svg_pipe"} & set(formats)
        assert not {"http_proxy", "format_whitelist"} & set(Link(5).options(url))
    assert "http_proxy" not in guarded.options("rtsp://h/x")
