import pytest

from streamqa.server.doors import host_allowed, is_from_elsewhere, origin_allowed


@pytest.mark.parametrize(("header", "expected"), [
    ("127.0.0.1:8765", True), ("localhost:8765", True), ("localhost", True), ("LocalHost:1", True),
    ("[::1]:8765", True), ("localhost:9000", True),  # through a tunnel
    ("evil.example:8765", False), ("127.0.0.1.evil.example", False), ("localhost.evil.example", False),
    ("", False), (None, False), ("[", False), ("a@localhost:x", False), ("evil.example/@localhost", False),
])  # fmt: skip
def test_names_of_a_server_on_loopback(header: str | None, expected: bool) -> None:
    assert host_allowed(header, "127.0.0.1") is expected


def test_a_server_in_public_may_have_any_name() -> None:
    assert host_allowed("cameras.example", "0.0.0.0")
    assert host_allowed("127.0.0.2:1", "127.0.0.2")


@pytest.mark.parametrize(("origin", "host", "expected"), [
    (None, "localhost:8765", True),  # no browser
    ("http://localhost:8765", "localhost:8765", True),
    ("http://LOCALHOST:8765", "localhost:8765", True),
    ("https://cameras.example", "cameras.example", True),
    ("https://cameras.example", "cameras.example:443", True),
    ("http://[::1]:8765", "[::1]:8765", True),
    ("http://localhost:8000", "localhost:8765", False),  # another program on this machine
    ("http://evil.example:8765", "localhost:8765", False),
    ("http://localhost:8765.evil.example", "localhost:8765", False),
    ("null", "localhost:8765", False),
    ("file://", "localhost:8765", False),
    ("", "localhost:8765", False),
    ("http://", "localhost:8765", False),
    ("http://localhost:8765", None, False),
    ("http://[", "[", False),
    ("chrome-extension://localhost:8765", "localhost:8765", False),
])  # fmt: skip
def test_pages_that_may_open_a_websocket(origin: str | None, host: str | None, expected: bool) -> None:
    assert origin_allowed(origin, host) is expected


@pytest.mark.parametrize(("site", "mode", "origin", "expected"), [
    (None, None, None, False),  # no browser
    ("same-origin", "cors", None, False),
    ("same-origin", "cors", "https://behind.proxy", False),  # that changed the Host
    ("none", "navigate", None, False),  # typed by hand
    ("cross-site", "navigate", None, False),  # a link
    ("same-site", "navigate", None, False),
    ("cross-site", "navigate", "null", True),  # a form
    ("cross-site", "no-cors", None, True),  # a picture or a script
    ("same-site", "cors", None, True),  # another port of this machine
    ("cross-site", "cors", "http://evil.example", True),
    ("nonsense", "no-cors", None, True),
    (None, None, "http://localhost:8765", False),
    (None, None, "http://localhost:9000", True),
    (None, None, "null", True),
])  # fmt: skip
def test_pages_that_may_send_requests(
    site: str | None, mode: str | None, origin: str | None, expected: bool
) -> None:
    assert is_from_elsewhere(site, mode, origin, "localhost:8765") is expected
