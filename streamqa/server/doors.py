"""Which pages may talk to the server: the checks on `Host`, `Origin` and `Sec-Fetch-Site`, without a socket.

A page from anywhere can make a browser send requests to 127.0.0.1. Reading the replies it is denied by the
same-origin rule, except where that rule does not hold: for websockets (hence `Origin`), and for a name of the
attacker's that resolves to 127.0.0.1 (hence `Host`). And what a request does is done, whoever may read the reply:
hence one that comes from a page of another site is refused whatever it wants, but for following a link.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from streamqa.service_settings import is_loopback

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def host_allowed(header: str | None, bound_to: str) -> bool:
    """Whether `Host` names this server: on a loopback address only by a local name, with any port (tunnels)."""
    if not is_loopback(bound_to):
        return True
    name = _split(f"http://{header}")[0] if header else None
    return name in (*_LOCAL_NAMES, bound_to.lower())


def origin_allowed(origin: str | None, host_header: str | None) -> bool:
    """Whether a websocket comes from a page of this very server, or from no browser at all."""
    if origin is None:
        return True
    scheme = origin.partition(":")[0].lower()
    if not host_header or scheme not in ("http", "https"):
        return False
    return _split(origin) == _split(f"{scheme}://{host_header}") != (None, None)


def is_from_elsewhere(site: str | None, mode: str | None, origin: str | None, host: str | None) -> bool:
    """Whether a page of another site sent an HTTP request, other than by a link that somebody followed.

    `site` and `mode` are the headers `Sec-Fetch-Site` and `Sec-Fetch-Mode`, which browsers send over https and to
    this machine only; `origin` comes with every request that changes something. No page can forge any of them.
    """
    if site is not None and site not in ("same-origin", "none"):
        return mode != "navigate" or origin is not None
    return site is None and not origin_allowed(origin, host)


def _split(url: str) -> tuple[str | None, int | None]:
    """Host name and port of a URL, or (None, None) if it has none."""
    try:
        parts = urlsplit(url)
        if not parts.hostname:
            return None, None
        return parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None, None
