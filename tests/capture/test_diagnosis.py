from __future__ import annotations

import socket
import threading

import pytest

from streamqa.capture.diagnosis import certificate_problem, name_problem
from streamqa.errors import SourceRefused, SourceUnavailable


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "x" * 70])
def test_a_host_without_an_address_is_named(host: str) -> None:
    problem = name_problem("cam", host, 554)
    assert isinstance(problem, SourceUnavailable)
    assert str(problem) == f"cam: no address is known for the host {host!r} (DNS); check its name"


def test_a_host_with_an_address_is_fine() -> None:
    assert name_problem("cam", "127.0.0.1", 554) is None


def test_a_server_that_speaks_no_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            one, _ = server.accept()
            with one:
                one.recv(4096)
                one.sendall(b"RTSP/1.0 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        problem = certificate_problem("cam", *server.getsockname(), 5)
        thread.join(5)
    assert isinstance(problem, SourceUnavailable)
    assert "no TLS is spoken there" in str(problem)


def test_a_silent_server_is_no_matter_of_certificates() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert certificate_problem("cam", *server.getsockname(), 0.1) is None


def test_nobody_there_is_no_matter_of_certificates() -> None:
    assert certificate_problem("cam", "127.0.0.1", 1, 1) is None


def test_a_machine_without_authorities_says_how_to_get_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamqa.capture.diagnosis.authorities", lambda: "/nowhere/cert.pem")
    problem = certificate_problem("cam", "127.0.0.1", 1, 1)
    assert isinstance(problem, SourceRefused)
    assert "tls_verify: false" in str(problem)
