"""Certificates that are good and bad; `test_tls` has the server with one."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from streamqa.errors import ConfigError
from streamqa.server.locks import Locks, make_locks, open_to_listeners, tls_context
from streamqa.service_settings import ServeConfig, TlsConfig, TokenConfig

GOOD = "a-token-that-is-long-enough"


def problem(cert: Path, key: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        tls_context(TlsConfig(cert=str(cert), key=str(key)))
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_certificate_and_its_key(certificate: tuple[Path, Path]) -> None:
    context = tls_context(TlsConfig(cert=str(certificate[0]), key=str(certificate[1])))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_files_that_are_no_good_are_told_in_one_line(
    certificate: tuple[Path, Path], make_certificate: Any, tmp_path: Path
) -> None:
    cert, key = certificate
    other_cert, other_key = make_certificate(tmp_path, "other")
    assert "serve.tls.cert: " in problem(tmp_path / "missing.pem", key)
    assert "No such file" in problem(cert, tmp_path / "missing.pem")
    assert "is not that of the certificate" in problem(cert, other_key)
    assert "is not that of the certificate" in problem(other_cert, key)
    nothing = tmp_path / "empty.pem"
    nothing.touch()
    assert "PEM" in problem(nothing, key)
    assert "PEM" in problem(cert, nothing)
    nothing.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert "PEM" in problem(nothing, key)
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "pkey", "-in", key, "-out", locked, "-aes256", "-passout", "pass:word"], check=True
    )
    assert "has a password" in problem(cert, locked)


def test_locks_of_a_configuration(certificate: tuple[Path, Path]) -> None:
    assert not Locks().keyring
    assert Locks().tls is None
    tokens = (TokenConfig(name="me", scope="admin", token=GOOD),)
    tls = {"cert": str(certificate[0]), "key": str(certificate[1])}
    locks = make_locks(ServeConfig.model_validate({"tls": tls}), tokens)
    assert locks.keyring.visitor(GOOD)
    assert locks.tls is not None
    assert make_locks(ServeConfig(), ()).tls is None


def test_a_warning_where_others_could_listen() -> None:
    tokens = [{"name": "me", "token": GOOD}]
    warning = open_to_listeners(ServeConfig.model_validate({"host": "0.0.0.0", "tokens": tokens}))
    assert warning is not None
    assert "serve.tls" in warning
    assert "\n" not in warning
    assert open_to_listeners(ServeConfig.model_validate({"tokens": tokens})) is None
    tls = {"cert": "c", "key": "k"}
    assert open_to_listeners(ServeConfig.model_validate({"host": "::", "tokens": tokens, "tls": tls})) is None
