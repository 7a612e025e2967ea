"""Taking the port: what is refused, in one line that says what to do."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from streamqa.errors import ConfigError
from streamqa.server.listen import listen


def test_any_free_port() -> None:
    with closing(listen("127.0.0.1", 0)) as door:
        assert door.port > 0
        with socket.create_connection(("127.0.0.1", door.port), timeout=5):
            pass
        door.close()


def test_small_messages_do_not_wait_for_acknowledgements() -> None:
    with (
        closing(listen("127.0.0.1", 0)) as door,
        socket.create_connection(("127.0.0.1", door.port), timeout=5),
    ):
        accepted, _ = door.socket.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_in_use_is_one_line_that_says_what_to_do() -> None:
    with closing(listen("127.0.0.1", 0)) as door:
        with pytest.raises(ConfigError) as caught:
            listen("127.0.0.1", door.port)
        message = str(caught.value)
        assert f"port {door.port} on 127.0.0.1 is in use" in message
        assert "choose another serve.port" in message
        assert "\n" not in message


@pytest.mark.parametrize("host", ["203.0.113.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours(host: str) -> None:
    with pytest.raises(ConfigError, match=r"choose another serve\.host"):
        listen(host, 0)


@pytest.mark.parametrize("port", [-1, 65536, 70_000])
def test_a_number_that_is_no_port(port: int) -> None:
    with pytest.raises(ConfigError, match="0 to 65535"):
        listen("127.0.0.1", port)
