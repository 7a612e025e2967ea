"""What FFmpeg may reach through a relay, with real servers: 127.0.0.1 is allowed here, 127.0.0.2 is not."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from streamqa.capture.encode import write_video
from streamqa.capture.reach import Reach, reach_of
from streamqa.capture.relay import Relay
from streamqa.capture.source import SourceSpec, make_source
from streamqa.errors import SourceEnded, SourceError, SourceRefused
from streamqa.service_settings import ReachConfig
from tests.capture.conftest import numbered

REACH = reach_of(ReachConfig(hosts=["127.0.0.1"]))
NOWHERE = Reach(frozenset(("http", "rtsp")))


DASH = (
    '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"><Period>'
    '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="9"><BaseURL>http://127.0.0.2:PORT/clip.mp4'
    "</BaseURL><SegmentBase/></Representation></AdaptationSet></Period></MPD>"
)
KEYED = (
    "#EXTM3U\n#EXT-X-TARGETDURATION:3\n"
    '#EXT-X-KEY:METHOD=AES-128,URI="http://127.0.0.2:PORT/key"\n#EXTINF:3,\nseg.ts\n#EXT-X-ENDLIST\n'
)
# What is not video, and names other files: FFmpeg knows several such kinds by what they begin with.
TEXTS = {
    "/concat": "ffconcat version 1.0\nfile hop.mp4\n",
    "/hop.mp4": "ffconcat version 1.0\nfile to/127.0.0.2/clip.mp4\n",
    "/concat2": "ffconcat version 1.0\nfile to/127.0.0.2/clip.mp4\n",
    "/absolute": "ffconcat version 1.0\nfile http://127.0.0.2:PORT/clip.mp4\n",
    "/dash.mpd": DASH,
    "/keyed.m3u8": KEYED,
    "/listed.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nconcat2\n#EXT-X-ENDLIST\n",
    "/nested.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nlist/127.0.0.2/x.m3u8\n#EXT-X-ENDLIST\n",
    "/variants.m3u8": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\nhttp://127.0.0.2:PORT/list/127.0.0.2/x.m3u8\n",
    "/sdp": "v=0\no=- 0 0 IN IP4 127.0.0.2\ns=x\nc=IN IP4 127.0.0.2\nt=0 0\nm=video 9 RTP/AVP 96\n",
}


class Web(BaseHTTPRequestHandler):
    """A server on all loopback addresses that sends FFmpeg from the allowed one to the other."""

    clip: bytes
    asked: list[tuple[str, str]]  # the address it was reached by, and the path

    def do_GET(self) -> None:
        here, port = self.connection.getsockname()[:2]
        self.asked.append((here, self.path))
        if self.path.startswith("/to/"):  # /to/127.0.0.2/clip.mp4
            _, _, host, path = self.path.split("/", 3)
            self.answer(302, b"", location=f"http://{host}:{port}/{path}")
        elif self.path.startswith("/list/"):
            host = self.path.split("/")[2]
            text = (
                f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nhttp://{host}:{port}/seg.ts\n#EXT-X-ENDLIST\n"
            )
            self.answer(200, text.encode())
        elif self.path in TEXTS:
            self.answer(200, TEXTS[self.path].replace("PORT", str(port)).encode())
        elif self.path in ("/clip.mp4", "/seg.ts"):
            self.answer(200, self.clip)
        else:
            self.answer(404, b"")

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("clips")
    made = {}
    for suffix in ("mp4", "ts"):
        path = Path(folder / f"clip.{suffix}")
        write_video(path, [numbered(i, 40) for i in range(30)], 30)
        made[suffix] = path.read_bytes()
    return made


@pytest.fixture
def web(clips: dict[str, bytes], request: pytest.FixtureRequest) -> Iterator[Any]:
    handler = type("Handler", (Web,), {"clip": clips[getattr(request, "param", "mp4")], "asked": []})
    server = ThreadingHTTPServer(("0.0.0.0", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def watched(
    web: Any, path: str, *, reach: Reach | None = REACH, pace: str = "fast", host: str = "127.0.0.1"
) -> int:
    """How many pictures come from there."""
    source = make_source(SourceSpec("a", f"http://{host}:{web.server_port}/{path}", pace=pace, reach=reach))
    count = 0
    try:
        source.open()
        while True:
            count += source.read() is not None
    except SourceEnded:
        return count
    finally:
        source.close()
        source.close()


def refusal(web: Any, path: str, **how: Any) -> str:
    with pytest.raises(SourceRefused) as caught:
        watched(web, path, **how)
    return str(caught.value)


def others(web: Any) -> list[str]:
    return [path for here, path in web.RequestHandlerClass.asked if here != "127.0.0.1"]


def test_what_is_allowed_comes_through(web: Any) -> None:
    assert watched(web, "clip.mp4") == 30
    assert watched(web, "to/127.0.0.1/to/127.0.0.1/clip.mp4") == 30
    assert watched(web, "clip.mp4", reach=None) == 30


def test_what_is_not_allowed_is_not_even_asked(web: Any) -> None:
    assert "not a public one" in refusal(web, "clip.mp4", reach=NOWHERE)
    assert "not a public one" in refusal(web, "clip.mp4", host="127.0.0.2")
    assert web.RequestHandlerClass.asked == []


@pytest.mark.parametrize("pace", ["fast", "auto"])
def test_a_redirection_to_a_private_address_is_not_followed(web: Any, pace: str) -> None:
    assert watched(web, "to/127.0.0.2/clip.mp4", reach=None) == 30  # as FFmpeg does if it is let
    assert others(web) == ["/clip.mp4"]
    web.RequestHandlerClass.asked.clear()
    for path in ("to/127.0.0.2/clip.mp4", "to/127.0.0.1/to/127.0.0.2/clip.mp4", "to/0x7f.2/clip.mp4"):
        text = refusal(web, path, pace=pace)
        assert "leads to where it may not" in text
        assert "127.0.0.2" in text or "0x7f.2" in text
    assert others(web) == []


@pytest.mark.parametrize("web", ["ts"], indirect=True)
def test_a_playlist_does_not_lead_to_a_private_address(web: Any) -> None:
    assert watched(web, "list/127.0.0.1/x.m3u8") == 30
    assert watched(web, "list/127.0.0.2/x.m3u8", reach=None) == 30
    assert others(web) == ["/seg.ts"]
    web.RequestHandlerClass.asked.clear()
    with pytest.raises(SourceError):
        watched(web, "list/127.0.0.2/x.m3u8")
    assert others(web) == []


@pytest.mark.parametrize("path", sorted(TEXTS))
@pytest.mark.parametrize("pace", ["fast", "auto"])
def test_whatever_names_other_files_does_not_lead_to_a_private_address(
    web: Any, path: str, pace: str
) -> None:
    with pytest.raises(SourceError):
        watched(web, path[1:], pace=pace)
    assert others(web) == []


def test_a_name_that_changes_its_address_after_the_check(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first look-up says 127.0.0.1: whatever is connected to is what was looked up, and checked, last."""
    answers = iter(["127.0.0.1", "127.0.0.2"])
    real = socket.getaddrinfo

    def rebinding(host: Any, *rest: Any, **more: Any) -> Any:
        return real(next(answers) if host == "rebind.example" else host, *rest, **more)

    monkeypatch.setattr("socket.getaddrinfo", rebinding)
    assert "not a public one" in refusal(web, "clip.mp4", host="rebind.example")
    assert web.RequestHandlerClass.asked == []


def test_an_environment_that_leads_around_the_relay_is_refused(
    web: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.2")
    assert "no_proxy" in refusal(web, "clip.mp4")
    assert watched(web, "clip.mp4", reach=None) == 30


def answered(relay_port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", relay_port), 5) as connection:
        connection.sendall(request)
        heard = b""
        with suppress(ConnectionError):
            while chunk := connection.recv(65536):
                heard += chunk
        return heard


def test_by_hand(web: Any) -> None:
    relay = Relay(REACH, 0.5)
    try:
        port, there = int(relay.start().rpartition(":")[2]), web.server_port
        assert b" 404 " in answered(port, b"GET http://127.0.0.1:%d/x HTTP/1.1\r\nHost: x\r\n\r\n" % there)
        tunnelled = b"GET /x HTTP/1.0\r\n\r\n"
        assert b"200 OK\r\n\r\nHTTP/1.0 404" in answered(
            port, b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % there + tunnelled
        )
        for target in (b"127.0.0.2", b"[::1]", b"2130706434", b"nohost.invalid"):
            assert b" 403 " in answered(port, b"CONNECT %b:%d HTTP/1.1\r\n\r\n" % (target, there))
            assert b" 403 " in answered(port, b"GET http://%b:%d/x HTTP/1.1\r\n\r\n" % (target, there))
        for line in (
            b"GET file:///etc/passwd HTTP/1.1",
            b"GET / HTTP/1.1",
            b"nonsense",
            b"CONNECT 127.0.0.1@127.0.0.2:1 HTTP/1.1",
        ):
            assert b" 403 " in answered(port, line + b"\r\n\r\n")
        assert "two ways" in relay.refusal
        assert b" 502 " in answered(port, b"CONNECT 127.0.0.1:9 HTTP/1.1\r\n\r\n")
        assert answered(port, b"GET http://127.0.0.1") == b""  # never finished
        assert answered(port, b"x" * 100_000) == b""
        second = b"GET http://127.0.0.1:%d/x HTTP/1.1\r\n\r\nGET http://127.0.0.2:%d/y HTTP/1.1\r\n\r\n" % (
            there,
            there,
        )
        assert answered(port, second).count(b"HTTP/1") == 1
        assert others(web) == []
    finally:
        relay.close()
        relay.close()


@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_what_hangs_is_let_go_when_nobody_waits_for_it(method: str) -> None:
    relay = Relay(REACH, 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        port, there = int(relay.start().rpartition(":")[2]), server.getsockname()[1]
        target = f"127.0.0.1:{there}" if method == "CONNECT" else f"http://127.0.0.1:{there}/"
        try:
            for _ in range(40):  # more than are taken at once
                with socket.create_connection(("127.0.0.1", port), 5) as client:
                    client.sendall(f"{method} {target} HTTP/1.1\r\n\r\n".encode())
                    held = server.accept()[0]
                held.settimeout(5)
                with held, suppress(ConnectionResetError):  # it says nothing, and is told all the same
                    while held.recv(1000):
                        pass
            assert relay.refusal == ""
        finally:
            relay.close()


def test_what_is_unsent_when_it_is_closed_is_let_go() -> None:
    """A client reads nothing of what a server floods it with; the collector would tell of a socket left open."""
    relay = Relay(REACH, 5.0)
    address = relay.start().removeprefix("http://").split(":")
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection((address[0], int(address[1])), 5) as client,
    ):
        port = listening.getsockname()[1]
        client.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
        there, _ = listening.accept()
        with there:
            there.settimeout(0.3)
            with suppress(TimeoutError):  # then all buffers between the two are full
                while True:
                    there.sendall(bytes(1 << 20))
            relay.close()
            gc.collect()
    assert relay._loop.is_closed()
