"""A camera's replies, without a socket."""

from __future__ import annotations

import pytest

from streamqa.bench.rtsp import Desk, Guard, Request, Route, digest, parse

OPEN = Desk("v=0\r\n", frozenset({"cam", "cam1"}), Guard())
PORTS = (5000, 5001)


def ask(method: str, path: str = "/cam", **headers: str) -> Request:
    return Request(method, f"rtsp://127.0.0.1:9{path}", {"cseq": "3", **headers})


def status(desk: Desk, request: Request) -> int:
    return int(desk.answer(request, PORTS)[0].split()[1])


def test_a_request_is_read() -> None:
    request = parse(b"SETUP rtsp://h:1/cam1/track1?x=/y RTSP/1.0\r\nCSeq: 7\r\nContent-Length: 12\r\n\r\n")
    assert (request.method, request.camera, request.body_bytes) == ("SETUP", "cam1", 12)
    assert request.headers["cseq"] == "7"


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\n\r\n", b"hello\r\n\r\n", b"\r\n\r\n"])
def test_what_is_no_rtsp_is_refused(head: bytes) -> None:
    with pytest.raises(ValueError, match=r"no RTSP|not enough values"):
        parse(head)


@pytest.mark.parametrize(
    ("offer", "route"),
    [
        ("RTP/AVP/TCP;unicast;interleaved=2-3", Route(False, 2, 3)),
        ("RTP/AVP/TCP;unicast", Route(False, 0, 1)),
        ("RTP/AVP/UDP;unicast;client_port=6000-6001", Route(True, 6000, 6001)),
        ("RTP/AVP;unicast;client_port=6000-6001,RTP/AVP/TCP;interleaved=0-1", Route(True, 6000, 6001)),
        ("RTP/AVP;multicast", None),
        ("", None),
    ],
)
def test_how_the_media_go(offer: str, route: Route | None) -> None:
    assert Route.wanted(offer) == route
    assert status(OPEN, ask("SETUP", transport=offer)) == (200 if route else 461)


def test_the_steps_of_a_client_are_answered() -> None:
    assert b"DESCRIBE" in OPEN.answer(ask("OPTIONS"), PORTS)[0]
    described = OPEN.answer(ask("DESCRIBE", "/cam1"), PORTS)[0]
    assert described.startswith(b"RTSP/1.0 200 OK\r\nCSeq: 3\r\n")
    assert described.endswith(b"Content-Length: 5\r\n\r\nv=0\r\n")
    answer, route = OPEN.answer(ask("SETUP", transport="RTP/AVP/UDP;client_port=6-7"), PORTS)
    assert route == Route(True, 6, 7)
    assert b"client_port=6-7;server_port=5000-5001\r\n\r\n" in answer
    assert b"Session: " in OPEN.answer(ask("PLAY"), PORTS)[0]


def test_what_there_is_not_is_told() -> None:
    assert status(OPEN, ask("DESCRIBE", "/other")) == 404
    assert status(OPEN, ask("RECORD")) == 501
    tcp_only = Desk("", frozenset({"cam"}), Guard(), frozenset({"tcp"}))
    assert status(tcp_only, ask("SETUP", transport="RTP/AVP;client_port=6-7")) == 461


def test_a_password_is_proved_not_sent() -> None:
    guard = Guard("admin", "s3cret", nonce="abc")
    desk = Desk("v=0\r\n", frozenset({"cam"}), guard)
    refused = desk.answer(ask("DESCRIBE"), PORTS)[0]
    assert b" 401 " in refused
    assert b'nonce="abc"' in refused
    for password, wanted in (("s3cret", 200), ("other", 401)):
        response = digest(digest("admin", "camera", password), "abc", digest("DESCRIBE", "u"))
        proof = f'Digest username="admin", uri="u", response="{response}"'
        assert status(desk, ask("DESCRIBE", authorization=proof)) == wanted
