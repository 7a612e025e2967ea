"""Who is let in, for HTTP and websockets alike: decided from what a request says, without socket or clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from streamqa.metrics import Metrics
from streamqa.server.auth import Holder, Sessions
from streamqa.server.doors import host_allowed, is_from_elsewhere, origin_allowed
from streamqa.server.locks import Locks
from streamqa.server.rate import Buckets, client_key, is_here
from streamqa.server.scopes import LOCAL, Visitor
from streamqa.service_settings import is_loopback

SESSION_S = 12 * 3600.0
SUBPROTOCOL = "streamqa"

_SAFE = ("GET", "HEAD", "OPTIONS")
# What anybody may have: the page to log in and what it needs, and whether the process lives. `/readyz` says to
# strangers only whether, and `/` is that page.
_LOGIN_FILES = ("login.js", "style.css", "icon.svg")
_OPEN = frozenset(
    ("/", "/login", "/logout", "/healthz", "/readyz", *(f"/static/{name}" for name in _LOGIN_FILES))
)
_IN_URL = frozenset(("token", "access_token", "bearer", "auth"))
_SESSIONS_PER_TOKEN = 64
_BEARER_PREFIX = "bearer."
_NEED = "send a token: Authorization: Bearer …, or log in on the page at /"


@dataclass(frozen=True, slots=True)
class Knock:
    """What a request says of itself."""

    method: str
    path: str
    query: str
    peer: str | None  # the address that it came from
    all_of: Callable[[str], list[str]]  # the values of a header, by its name in lower case
    is_websocket: bool = False

    def one(self, name: str) -> str | None:
        """The value of a header that stands there at most once; None: it does not, or is empty."""
        values = self.all_of(name)
        return values[0] if len(values) == 1 and values[0] else None

    @property
    def client(self) -> str:
        """Whom to count it for."""
        return client_key(self.peer, self.one("x-forwarded-for"))


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody is not let in, in one line that holds nothing of what was sent."""

    status: int
    text: str
    headers: dict[str, str] = field(default_factory=dict)


class Guard:
    """Stands at the door: one for each server. Belongs to its event loop."""

    def __init__(
        self, host: str, port: int, locks: Locks, metrics: Metrics, rate: tuple[float, float]
    ) -> None:
        """`rate`: requests a second, and at once, of one address; programs on this machine are not counted."""
        self.is_locked = bool(locks.keyring)
        # Cookies know no ports: two servers on one machine would log each other's browsers out.
        self.cookie = f"streamqa_{port}"
        self.sessions = Sessions(SESSION_S, _SESSIONS_PER_TOKEN)
        self._host = (
            host if is_loopback(host) else "127.0.0.1"
        )  # by which it is known where nothing is locked
        self._keyring = locks.keyring
        self._origins = locks.origins
        self._metrics = metrics
        self._requests = Buckets(*rate)
        self._failures = Buckets(per_s=0.1, burst=10)  # logins that failed, of one address
        self._all_failures = Buckets(per_s=1, burst=100)  # and of all

    def admit(self, knock: Knock, now_s: float) -> Visitor | Refusal | None:
        """Whoever it is; why not; or None: a stranger, to whom this path is open."""
        refusal = self._too_often(knock, now_s) or self._out_of_place(knock)
        if refusal is not None:
            return refusal
        if (
            not self.is_locked
        ):  # the configuration allows that on loopback only; here it is so whatever it says
            if is_here(knock.peer):
                return LOCAL
            return self._refused("token", 401, "this server has no tokens, so it is for its own machine only")
        visitor = self._known(knock, now_s)
        if isinstance(visitor, Refusal) or visitor is not None:
            return visitor
        if knock.path in _OPEN and not knock.is_websocket:
            return None
        return self._refused("token", 401, _NEED, {"www-authenticate": "Bearer"})

    def log_in(self, knock: Knock, token: str, now_s: float) -> str | Refusal:
        """The id of a new session for whoever has this token."""
        client = knock.client
        wait_s = max(self._failures.wait_s(client, now_s), self._all_failures.wait_s("", now_s))
        if wait_s:
            return self._refused(
                "login", 429, f"too many logins failed; try again in {wait_s} s", {"retry-after": str(wait_s)}
            )
        visitor = self._keyring.visitor(token)
        if visitor is None:
            self._failures.take(client, now_s)
            self._all_failures.take("", now_s)
            return self._refused("login", 401, "no such token", {"www-authenticate": "Bearer"})
        return self.sessions.begin(visitor, now_s)

    def log_out(self, knock: Knock) -> None:
        """End the session whose cookie came."""
        session = self._session(knock)
        if session is not None:
            self.sessions.end(session)

    def hold(self, knock: Knock, holder: Holder) -> None:
        """End `holder` when the session ends whose cookie let it in, if one did."""
        session = self._session(knock) if self._token(knock) is None else None
        if session is not None:
            self.sessions.hold(session, holder)

    def has_session(self, knock: Knock, now_s: float) -> bool:
        """Whether it came with the cookie of an open session."""
        session = self._session(knock)
        return session is not None and self.sessions.visitor(session, now_s) is not None

    def _too_often(self, knock: Knock, now_s: float) -> Refusal | None:
        client = knock.client
        wait_s = self._requests.take(client, now_s) if client else 0
        if not wait_s:
            return None
        return self._refused(
            "rate", 429, f"too many requests; try again in {wait_s} s", {"retry-after": str(wait_s)}
        )

    def _out_of_place(self, knock: Knock) -> Refusal | None:
        """Refuse what has nothing to do with who it is: by which name, from which page, with what in the URL."""
        hosts, origins = knock.all_of("host"), knock.all_of("origin")
        # Behind tokens any name will do: a page under an attacker's name has no cookie of this server.
        if len(hosts) != 1 or not (self.is_locked or host_allowed(hosts[0], self._host)):
            return self._refused("host", 403, f"open this server as {self._host}, not by another name")
        origin = origins[0] if origins else None
        if knock.is_websocket or len(origins) > 1:
            is_foreign = len(origins) > 1 or not (origin in self._origins or origin_allowed(origin, hosts[0]))
        else:
            site, mode = knock.one("sec-fetch-site"), knock.one("sec-fetch-mode")
            is_foreign = is_from_elsewhere(site, mode, origin, hosts[0])
        if is_foreign:
            return self._refused("origin", 403, "pages of other sites may not do this")
        if any(name.lower() in _IN_URL for name, _ in parse_qsl(knock.query, keep_blank_values=True)):
            return self._refused(
                "url",
                400,
                "no token in a URL, where logs keep it: send Authorization: Bearer …, and renew it",
            )
        return None

    def _known(self, knock: Knock, now_s: float) -> Visitor | Refusal | None:
        """Whoever has shown a token or the cookie of a session."""
        token = self._token(knock)
        if token is not None:
            visitor = self._keyring.visitor(token)
            if visitor is None and knock.path not in _OPEN:
                return self._refused("token", 401, f"no such token; {_NEED}", {"www-authenticate": "Bearer"})
            return visitor
        if knock.is_websocket and not origin_allowed(knock.one("origin"), knock.one("host")):
            return None  # a page of another site that may come needs a token of its own: the cookie is not for it
        session = self._session(knock)
        visitor = None if session is None else self.sessions.visitor(session, now_s)
        # Browsers say with whatever changes something where it comes from; another page's was refused above.
        unnamed = knock.one("origin") is None and knock.one("sec-fetch-site") is None
        if visitor is not None and knock.method not in _SAFE and unnamed:
            return self._refused("origin", 403, "with a cookie, this is for pages of this server only")
        return visitor

    def _token(self, knock: Knock) -> str | None:
        authorization = knock.one("authorization")
        if authorization is not None:
            scheme, _, token = authorization.partition(" ")
            return token.strip() if scheme.lower() == "bearer" else None
        if knock.is_websocket:
            for line in knock.all_of("sec-websocket-protocol"):
                for word in line.split(","):
                    if word.strip().lower().startswith(_BEARER_PREFIX):
                        return word.strip()[len(_BEARER_PREFIX) :]
        return None

    def _session(self, knock: Knock) -> str | None:
        for line in knock.all_of("cookie"):
            for part in line.split(";"):
                name, _, value = part.strip().partition("=")
                if name == self.cookie:
                    return value
        return None

    def _refused(self, why: str, status: int, text: str, headers: dict[str, str] | None = None) -> Refusal:
        self._metrics.requests_refused.labels(why).inc()
        return Refusal(status, text, headers or {})
