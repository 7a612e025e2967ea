"""RTSP as a camera answers it: requests in, replies out. No socket, no clock."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlsplit

METHODS = ("DESCRIBE", "GET_PARAMETER", "OPTIONS", "PLAY", "SETUP", "TEARDOWN")
_SESSION = "12345678"


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a client."""

    method: str
    url: str
    headers: dict[str, str]  # by lower-case name

    @property
    def camera(self) -> str:
        """The camera asked for: the first step of the path."""
        return urlsplit(self.url).path.strip("/").partition("/")[0]

    @property
    def body_bytes(self) -> int:
        """How many bytes follow the head."""
        length = self.headers.get("content-length", "0")
        return int(length) if length.isdecimal() else 0


def parse(head: bytes) -> Request:
    """Read the head of a request, up to its empty line.

    Raises:
        ValueError: this is no RTSP.
    """
    first, *rest = head.decode("latin-1").split("\r\n")
    method, url, version = first.split(" ", 2)
    if not version.startswith("RTSP/"):
        raise ValueError(f"no RTSP: {first!r}")
    pairs = (line.partition(":") for line in rest if line)
    return Request(method, url, {key.strip().lower(): value.strip() for key, _, value in pairs})


@dataclass(frozen=True, slots=True)
class Route:
    """How the media reach the client: interleaved in its TCP connection, or to its UDP ports."""

    udp: bool
    media: int  # channel or port of the media
    reports: int

    @staticmethod
    def wanted(transport: str) -> Route | None:
        """The first one of a Transport header's offers that can be read."""
        for offer in transport.split(","):
            udp = "TCP" not in offer
            found = re.search(r"client_port=(\d+)-(\d+)" if udp else r"interleaved=(\d+)-(\d+)", offer)
            if found:
                return Route(udp, int(found[1]), int(found[2]))
            if not udp:
                return Route(udp, 0, 1)
        return None


@dataclass(frozen=True, slots=True)
class Guard:
    """A name and a password, asked for by Digest; without a name everybody may in."""

    user: str = ""
    password: str = ""
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def challenge(self) -> str:
        """What a client is told that must show its password."""
        return f'WWW-Authenticate: Digest realm="camera", nonce="{self.nonce}", algorithm=MD5'

    def admits(self, request: Request) -> bool:
        """Whether the request proves that its sender knows the password."""
        if not self.user:
            return True
        given = dict(re.findall(r'(\w+)="([^"]*)"', request.headers.get("authorization", "")))
        inner = digest(self.user, "camera", self.password)
        right = digest(inner, self.nonce, digest(request.method, given.get("uri", "")))
        return secrets.compare_digest(given.get("response", ""), right)


def digest(*parts: str) -> str:
    """The hash of RFC 2617."""
    return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything that a camera needs to answer by."""

    sdp: str
    cameras: frozenset[str]
    guard: Guard
    transports: frozenset[str] = frozenset({"tcp", "udp"})

    def answer(self, request: Request, ports: tuple[int, int]) -> tuple[bytes, Route | None]:
        """The reply; after a SETUP that succeeded, the route agreed on. `ports`: the server's own, for UDP."""
        route: Route | None = None
        lines: list[str] = []
        body = ""
        status = self._status(request)
        if status.startswith("401"):
            lines = [self.guard.challenge]
        elif not status.startswith("200"):
            pass
        elif request.method == "OPTIONS":
            lines = [f"Public: {', '.join(METHODS)}"]
        elif request.method == "DESCRIBE":
            lines, body = [f"Content-Base: {request.url}/", "Content-Type: application/sdp"], self.sdp
        else:
            lines = [f"Session: {_SESSION};timeout=60"]
        if status.startswith("200") and request.method == "SETUP":
            route = Route.wanted(request.headers.get("transport", ""))
            assert route is not None  # or the status were another
            lines.append(f"Transport: {_agreed(route, ports)}")
        return reply(status, request.headers.get("cseq", "0"), lines, body), route

    def _status(self, request: Request) -> str:
        if request.method not in METHODS:
            return "501 Not Implemented"
        if request.method == "OPTIONS":
            return "200 OK"
        if not self.guard.admits(request):
            return "401 Unauthorized"
        if request.camera not in self.cameras:
            return "404 Not Found"
        if request.method == "SETUP":
            route = Route.wanted(request.headers.get("transport", ""))
            if route is None or ("udp" if route.udp else "tcp") not in self.transports:
                return "461 Unsupported Transport"
        return "200 OK"


def _agreed(route: Route, ports: tuple[int, int]) -> str:
    if not route.udp:
        return f"RTP/AVP/TCP;unicast;interleaved={route.media}-{route.reports}"
    theirs, ours = f"{route.media}-{route.reports}", f"{ports[0]}-{ports[1]}"
    return f"RTP/AVP/UDP;unicast;client_port={theirs};server_port={ours}"


def reply(status: str, sequence: str, lines: list[str], body: str = "") -> bytes:
    """A reply as it goes over the wire."""
    if body:
        lines = [*lines, f"Content-Length: {len(body)}"]
    return "\r\n".join([f"RTSP/1.0 {status}", f"CSeq: {sequence}", *lines, "", body]).encode("latin-1")
