"""Asks `reach` about what a name stands for, whatever way it is written in."""

from __future__ import annotations

import re
import socket
import threading
from ipaddress import ip_address

from streamqa.capture.reach import Address, Reach
from streamqa.capture.source import kind_of, redact
from streamqa.errors import NoAddress, NotAllowed
from streamqa.settings import SourceConfig

RESOLVE_S = 5.0

# One way to write a URL, which FFmpeg and we read alike: at most one @, no backslash, space or control character, a
# host of plain letters (an international one as xn--…) or an IPv6 address without zone.
_URL = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*://"
    r"(?:[^/?#@\\\s\x00-\x1f\x7f]*@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:[/?#][^\\\s\x00-\x1f\x7f]*)?"
)
_KINDS = {"webcam": "webcam", "scene": "scene"}


def check_source(reach: Reach, settings: SourceConfig) -> None:
    """Refuse a source that may not be added over the network. Takes at most `RESOLVE_S`.

    Raises:
        NotAllowed: its kind, or where it leads to.
        ConfigError: its URL is of no known kind.
    """
    url, kind = settings.url, kind_of(settings.url)
    scheme = url.partition(":")[0].lower() if "://" in url and kind == "video" else _KINDS.get(kind, "file")
    if scheme not in reach.schemes:
        raise NotAllowed(
            f"source {redact(url)!r}: {scheme} may not be added over the network, only "
            f"{', '.join(sorted(reach.schemes)) or 'nothing'}; serve.add.schemes says which"
        )
    if "://" in url and kind == "video":
        check_url(reach, url)


def check_url(reach: Reach, url: str, name: str = "") -> None:
    """Refuse a URL that leads, or may lead, to where nobody on the network shall. Takes at most `RESOLVE_S`.

    `name` is what messages call it where all of it is a secret.

    Raises:
        NotAllowed: an address of its host is not public, or it has none, or the URL can be read in two ways.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise NotAllowed(
            f"{name or repr(redact(url))}: write it plainly: scheme://user:password@host:port/path, with %40 for @ "
            "inside of user and password, and hosts in ASCII letters (xn--…)"
        )
    addresses_of(reach, found["host"].strip("[]"), int(found["port"] or 0))


def addresses_of(reach: Reach, host: str, port: int) -> list[Address]:
    """The addresses of `host`, all of them allowed. Takes at most `RESOLVE_S`.

    Raises:
        NoAddress: it has none.
        NotAllowed: one of them is not allowed. Which, it does not say.
    """
    found = _resolved(host, port)
    if not found:
        raise NoAddress(f"host {host!r}: no address is known for it (DNS); check its name")
    if not reach.knows(host) and not all(map(reach.allows, found)):
        raise NotAllowed(
            f"host {host!r}: its address is not a public one; serve.add.hosts can allow it by name or network"
        )
    return found


def _resolved(host: str, port: int) -> list[Address]:
    """By the system's resolver, which FFmpeg asks, too: it knows every way to write an address. It cannot be bounded,
    so it runs in a thread that is left behind where it takes too long."""
    found: list[Address] = []
    done = threading.Event()

    def look_up() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.extend(dict.fromkeys(ip_address(str(one[4][0]).partition("%")[0]) for one in answers))
        except (OSError, UnicodeError, ValueError):
            found.clear()
        done.set()

    threading.Thread(target=look_up, name="resolve", daemon=True).start()
    return list(found) if done.wait(RESOLVE_S) else []
