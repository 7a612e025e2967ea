"""What can be set about serving and keeping records; see `settings`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from streamqa.settings import OrOffNs, Strict

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_DAY_NS = 86_400_000_000_000
_SIZE_PATTERN = r"^(off|\d+(\.\d+)?\s*(MB|GB|TB))$"
_Path = Annotated[str, Field(min_length=1)]
_Size = Annotated[str, Field(pattern=_SIZE_PATTERN)]


class TokenConfig(Strict):
    """Who may come in: a name, a secret and what it opens."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="who it is, for records")
    scope: Literal["read", "ask", "admin"] = Field(
        "read", description="read: see answers; ask: also ask; admin: also change questions and sources"
    )
    token: str | None = Field(None, repr=False, description="the secret, as ${ENV}; at least 16 characters")
    file: _Path | None = Field(None, description="a file that holds the secret and nothing else")


class TlsConfig(Strict):
    """Serve https and wss."""

    cert: _Path = Field(description="a PEM file with the certificate and its chain")
    key: _Path = Field(description="a PEM file with its key")


class ReachConfig(Strict):
    """Which sources may be added over the network."""

    schemes: list[Literal["rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "scene", "webcam", "file"]] = (
        Field(default=["rtsp", "rtsps", "http", "https", "scene"], description="allowed kinds of address")
    )
    hosts: list[Annotated[str, Field(min_length=1, max_length=253)]] = Field(
        default=[],
        max_length=256,
        description="names (*.cam.lan) and networks (10.0.0.0/8) that are allowed though they are private",
    )


class ServeConfig(Strict):
    """Where subscribers connect, and who may."""

    host: str = Field("127.0.0.1", description="a loopback address")
    port: int = Field(8765, ge=0, le=65535, description="0: any free port")
    tokens: list[TokenConfig] = Field(
        default=[], max_length=64, description="absent: whoever is on this machine may do everything"
    )
    tls: TlsConfig | None = Field(None, description="serve https and wss")
    add: ReachConfig = Field(default=ReachConfig(), description="which sources may be added while it runs")

    @model_validator(mode="after")
    def _loopback_only(self) -> ServeConfig:
        if self.host not in _LOOPBACK:
            raise ValueError(
                f"host {self.host!r} is open to the network and there is no authentication yet; "
                "serve on 127.0.0.1 and put a reverse proxy with a password before it"
            )
        return self


class LogConfig(Strict):
    """Where records are kept, and for how long."""

    path: _Path = Field("answers.db", description="the SQLite file; relative to where streamqa runs")
    keep: OrOffNs = Field(30 * _DAY_NS, description="records older than this are deleted; off: never")
    size: _Size = Field("10 GB", description="the oldest records go when the log is larger; or off")
    evidence: OrOffNs = Field(7 * _DAY_NS, description="pictures older than this are deleted; off: keep none")
    evidence_size: _Size = Field("10 GB", description="the oldest pictures go when all are larger; or off")
    sync: Literal["normal", "full"] = Field(
        "normal", description="normal: records survive the process; full: also a power cut"
    )
