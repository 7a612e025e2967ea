"""What can be set about serving and keeping records; see `settings`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from streamqa.settings import OrOffNs, Strict
from streamqa.sizes import parse_size

TOKEN_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
HOW_TO_MAKE_A_TOKEN = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'

_SHORTEST_TOKEN, _LONGEST_TOKEN = 16, 512
_TOKEN_PATTERN = re.compile(r"[A-Za-z0-9._~+/-]+={0,2}")  # what an Authorization header can carry
_HOST = re.compile(r"(\*\.)?(?=.*[A-Za-z])[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
_DAY_NS = 86_400_000_000_000
_SIZE_PATTERN = r"^(off|\d+(\.\d+)?\s*(MB|GB|TB))$"
_Path = Annotated[str, Field(min_length=1)]
# As browsers write it: in lower case, without a path and without the port that is usual.
_Origin = Annotated[str, Field(pattern=r"^https?://[a-z0-9._\[\]:-]+$", max_length=300)]
_Size = Annotated[str, Field(pattern=_SIZE_PATTERN)]


class TokenConfig(Strict):
    """Who may come in: a name, a secret and what it opens."""

    name: str = Field(pattern=TOKEN_NAME_PATTERN, description="who it is, for records")
    scope: Literal["read", "ask", "admin"] = Field(
        "read", description="read: see answers; ask: also ask; admin: also change questions and sources"
    )
    token: str | None = Field(None, repr=False, description="the secret, as ${ENV}; at least 16 characters")
    file: _Path | None = Field(None, description="a file that holds the secret and nothing else")

    @model_validator(mode="after")
    def _one_good_secret(self) -> TokenConfig:
        if (self.token is None) == (self.file is None):
            raise ValueError(
                f"token {self.name!r} needs its secret: token: ${{ENV}}, or file: PATH, one of both"
            )
        problem = None if self.token is None else token_problem(self.token)
        if problem:
            raise ValueError(f"token {self.name!r} {problem}")
        return self


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

    @model_validator(mode="after")
    def _hosts_can_be_read(self) -> ReachConfig:
        for host in self.hosts:
            if not (_HOST.fullmatch(host) or _is_network(host)):
                raise ValueError(
                    f"host {host!r}: write a name (door.lan, *.cam.lan) or a network (10.0.0.0/8)"
                )
        return self


class ServeConfig(Strict):
    """Where subscribers connect, and who may."""

    host: str = Field("127.0.0.1", description="an address of this machine; other than loopback needs tokens")
    port: int = Field(8765, ge=0, le=65535, description="0: any free port")
    tokens: list[TokenConfig] = Field(
        default=[], max_length=64, description="absent: whoever is on this machine may do everything"
    )
    tls: TlsConfig | None = Field(None, description="serve https and wss")
    origins: list[_Origin] = Field(
        default=[],
        max_length=64,
        description="pages of other sites that may open the websocket, as https://dash.example; with the token",
    )
    add: ReachConfig = Field(default=ReachConfig(), description="which sources may be added while it runs")

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> ServeConfig:
        if not self.tokens and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} is open to the network and no token is set; add "
                "tokens: [{name: me, scope: admin, token: '${STREAMQA_TOKEN}'}] "
                f"(to make one: {HOW_TO_MAKE_A_TOKEN}), or serve on 127.0.0.1"
            )
        return self

    @model_validator(mode="after")
    def _one_name_each(self) -> ServeConfig:
        check_tokens(self.tokens)
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

    @field_validator("size", "evidence_size")
    @classmethod
    def _is_a_size(cls, value: str) -> str:
        parse_size(value)
        return value


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` can be reached from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def token_problem(token: str) -> str | None:
    """What is wrong with a secret, without saying any of it; None: nothing."""
    if len(token) < _SHORTEST_TOKEN:
        return f"is too short: {len(token)} of at least 16 characters; to make one: {HOW_TO_MAKE_A_TOKEN}"
    if len(token) > _LONGEST_TOKEN or not _TOKEN_PATTERN.fullmatch(token):
        return (
            f"has more than {_LONGEST_TOKEN} characters, or others than letters, digits and -._~+/; "
            f"to make one: {HOW_TO_MAKE_A_TOKEN}"
        )
    return None


def check_tokens(tokens: Sequence[TokenConfig]) -> None:
    """Raise `ValueError` where two have the same name, or the same secret."""
    names = [token.name for token in tokens]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two tokens are called {name!r}; records of changes need to tell them apart")
    known: dict[str, str] = {}
    for token in tokens:
        if token.token is not None and known.setdefault(token.token, token.name) != token.name:
            raise ValueError(
                f"tokens {known[token.token]!r} and {token.name!r} are the same; make one for each"
            )
