"""Ways to write an address, asked of the system's own resolver."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from streamqa.capture import resolve
from streamqa.capture.reach import Reach, reach_of
from streamqa.capture.resolve import addresses_of, check_source, check_url
from streamqa.errors import ConfigError, NotAllowed
from streamqa.service_settings import ReachConfig
from streamqa.settings import SourceConfig

USUAL = reach_of(ReachConfig())


def refusal(url: str, reach: Reach = USUAL) -> str:
    with pytest.raises(NotAllowed) as caught:
        check_source(reach, SourceConfig(url=url))
    text = str(caught.value)
    assert "\n" not in text
    assert "hunter2" not in text
    return text


@pytest.mark.parametrize("host", [
    "127.0.0.1", "localhost", "LOCALHOST", "127.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001",
    "0177.0.0.1", "0", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "169.254.169.254", "0xa9fea9fe", "10.0.0.7", "192.168.1.1", "[fe80::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
    "100.64.0.1", "224.0.0.1", "user:hunter2@127.0.0.1", "8.8.8.8@127.0.0.1", "8.8.8.8:80@127.0.0.1",
])  # fmt: skip
@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_private_addresses_however_they_are_written(scheme: str, host: str) -> None:
    assert "not a public one" in refusal(f"{scheme}://{host}/cam")
    assert "not a public one" in refusal(f"{scheme.upper()}://{host}:554")


@pytest.mark.parametrize("url", [
    "http://8.8.8.8\\@127.0.0.1/", "http://a@b@8.8.8.8/", "http://8.8.8.8 /x", "http://8.8.8.8\t/", "http://8.8.8.8/\nx",
    "http://8.8.8.8%2f@127.0.0.1:x/", "http://①②⑦.0.0.1/", "http://bücher.example/", "http://8.8.8.8:99999999/",
    "http://[fe80::1%25eth0]/", "http://[8.8.8.8/", "http:///x", "http://", "http://?x", "http://8.8.8.8:80:80/",
    "http://%31%32%37.0.0.1/", "http://8.8.8.8\x00/", "http://user:hunter2@8.8.8.8\\x/",
])  # fmt: skip
def test_urls_that_can_be_read_in_two_ways(url: str) -> None:
    assert "write it plainly" in refusal(url)


def test_kinds_that_strangers_may_not_add() -> None:
    for url in ("webcam:0", "/dev/video0"):
        assert "webcam may not be added over the network" in refusal(url)
    for url in (
        "clip.mp4",
        "/etc/passwd",
        "folder:/etc",
        "file:/etc/passwd",
        "../x",
        "concat:a|b",
        "data:video,x",
    ):
        assert "file may not be added over the network" in refusal(url)
    for url in ("rtmp://8.8.8.8/live", "srt://8.8.8.8:1"):
        assert "serve.add.schemes" in refusal(url)
    check_source(USUAL, SourceConfig(url="scene:gate"))
    for url in ("ftp://8.8.8.8/x", "gopher://8.8.8.8/", "file:///etc/passwd"):
        with pytest.raises(ConfigError, match="unknown scheme"):
            check_source(USUAL, SourceConfig(url=url))
    with pytest.raises(NotAllowed, match="only nothing"):
        check_source(Reach(frozenset()), SourceConfig(url="scene:gate"))


def test_what_is_configured_may_be_added() -> None:
    reach = reach_of(ReachConfig(schemes=["file", "webcam", "http"], hosts=["127.0.0.0/8", "localhost"]))
    for url in (
        "clip.mp4",
        "webcam:0",
        "http://127.0.0.1/x",
        "http://localhost/x",
        "http://0x7f.1:8000/x?y=z",
    ):
        check_source(reach, SourceConfig(url=url))
    assert "not a public one" in refusal("http://10.0.0.7/", reach)


def test_public_addresses_pass() -> None:
    for url in (
        "http://8.8.8.8/x.m3u8",
        "rtsp://viewer:pw@1.1.1.1:554/s?a=b@c",
        "https://[2606:4700::1111]/x",
    ):
        check_url(USUAL, url)


def answering(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        return [(2, 1, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr("streamqa.capture.resolve.socket.getaddrinfo", getaddrinfo)


def test_all_addresses_of_a_name_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "8.8.8.8", "8.8.8.8", "2606:4700::1111")
    assert [str(one) for one in addresses_of(USUAL, "x.example", 80)] == ["8.8.8.8", "2606:4700::1111"]
    for hidden in ("10.0.0.7", "::1", "fe80::1%eth0"):
        answering(monkeypatch, "8.8.8.8", hidden)
        with pytest.raises(NotAllowed, match=r"x\.example") as caught:
            addresses_of(USUAL, "x.example", 80)
        assert hidden not in str(caught.value)  # what a name means in here is nobody's business out there


def test_names_without_address_and_resolvers_that_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotAllowed, match="no address is known"):
        check_url(USUAL, "http://nohost.invalid/")
    with pytest.raises(NotAllowed):  # known to some systems
        check_url(USUAL, "http://localhost./")
    hold = threading.Event()

    def hanging(*_: Any, **__: Any) -> list[Any]:
        hold.wait(10)
        return []

    monkeypatch.setattr(resolve, "RESOLVE_S", 0.05)
    monkeypatch.setattr("streamqa.capture.resolve.socket.getaddrinfo", hanging)
    with pytest.raises(NotAllowed, match="no address is known"):
        check_url(USUAL, "http://slow.example/")
    hold.set()
