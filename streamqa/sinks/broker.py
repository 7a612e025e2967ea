"""The address of an MQTT broker, from its URL. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from streamqa.capture.source import redact
from streamqa.errors import ConfigError

_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is, and who we are to it."""

    host: str
    port: int
    is_encrypted: bool
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def target(self) -> str:
        """Its URL without secrets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.is_encrypted else 'mqtt'}://{host}:{self.port}"


def parse_broker(url: str) -> Broker:
    """The broker that `mqtt://user:password@host:1883` names; `mqtts` is encrypted.

    Raises:
        ConfigError: it is no such URL; the message has no password in it.
    """
    wrong = f"sinks: mqtt: {redact(url)!r}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # its own message may hold what stands in the URL
        raise ConfigError(f"{wrong}: host or port is not right; write mqtt://broker:1883") from None
    if parts.scheme not in _PORTS or not host:
        raise ConfigError(f"{wrong}: write mqtt://broker:1883, or mqtts://broker:8883")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigError(f"{wrong}: nothing may follow the port; a / in a password is written %2F")
    if port == 0:
        raise ConfigError(f"{wrong}: port 0 is none; write mqtt://broker:1883")
    return Broker(
        host,
        port or _PORTS[parts.scheme],
        parts.scheme == "mqtts",
        None if parts.username is None else unquote(parts.username),
        None if parts.password is None else unquote(parts.password),
    )
