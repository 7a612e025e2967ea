"""What keeps a door closed to strangers: tokens and TLS, made from the configuration."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

from streamqa.errors import ConfigError
from streamqa.server.auth import Keyring
from streamqa.service_settings import ServeConfig, TlsConfig, TokenConfig, is_loopback


@dataclass(frozen=True, slots=True)
class Locks:
    """Without tokens, whoever reaches the server may do everything; without TLS, it speaks http."""

    keyring: Keyring = field(default_factory=Keyring)
    tls: ssl.SSLContext | None = None
    origins: frozenset[str] = frozenset()  # of pages that may open the websocket, beside the server's own


def make_locks(serve: ServeConfig, tokens: Sequence[TokenConfig]) -> Locks:
    """The locks of a configuration; `tokens` are its own, with those in files read.

    Raises:
        ConfigError: the certificate or its key is no good.
    """
    tls = None if serve.tls is None else tls_context(serve.tls)
    return Locks(Keyring(tokens), tls, frozenset(serve.origins))


def tls_context(files: TlsConfig) -> ssl.SSLContext:
    """TLS 1.2 and newer, with this certificate.

    Raises:
        ConfigError: a file is missing, holds something else, needs a password, or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for name, path in (("cert", files.cert), ("key", files.key)):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise ConfigError(f"serve.tls.{name}: {path}: cannot be read ({error.strerror})") from None
    try:
        context.load_cert_chain(files.cert, files.key, password=_no_password)
    except _NeedsPassword:
        raise ConfigError(
            f"serve.tls.key: {files.key}: has a password; write it without one: openssl pkey -in … -out …"
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(
                f"serve.tls: the key {files.key} is not that of the certificate {files.cert}; name the two that "
                "were made together"
            ) from None
        raise ConfigError(
            f"serve.tls: {files.cert} and {files.key} are no certificate and key in PEM form "
            f"({error.reason or 'unreadable'}); check both files"
        ) from None
    return context


def open_to_listeners(serve: ServeConfig) -> str | None:
    """A warning, where tokens and answers cross a network in the clear unless a proxy encrypts them."""
    if is_loopback(serve.host) or serve.tls is not None:
        return None
    return (
        f"serving http on {serve.host}: tokens and answers cross the network in the clear; set serve.tls, "
        "or let a reverse proxy do TLS"
    )


class _NeedsPassword(Exception):
    """A key is encrypted: OpenSSL would ask for its password on the terminal."""


def _no_password() -> str:
    raise _NeedsPassword
