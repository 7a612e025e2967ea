"""Tokens and sessions: who they let in. Without file, socket or clock.

Only digests are kept, made with a key that dies with the process: what lies in memory opens nothing elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakSet

from streamqa.server.scopes import Visitor
from streamqa.service_settings import TokenConfig

_LONGEST = 1024  # of a token or a session's id; more is not even hashed


class Keyring:
    """The tokens that open this server."""

    def __init__(self, tokens: Sequence[TokenConfig] = ()) -> None:
        """`tokens` have their secrets in them: those in files have been read."""
        self._key = secrets.token_bytes(32)
        self._known = tuple(
            (_digest(self._key, token.token), Visitor(token.name, token.scope))
            for token in tokens
            if token.token is not None
        )

    def __bool__(self) -> bool:
        return bool(self._known)

    def visitor(self, token: str) -> Visitor | None:
        """Who has this token; None: nobody."""
        digest = _digest(self._key, token)
        found = None
        for known, visitor in self._known:  # all of them, also after the one that fits: time must not tell
            if hmac.compare_digest(known, digest):
                found = visitor
        return found if len(token) <= _LONGEST else None


class Holder(Protocol):
    """What lasts no longer than the session that it was opened with: a websocket."""

    def abort(self) -> None:
        """End it now."""
        ...


@dataclass(frozen=True, slots=True)
class _Session:
    visitor: Visitor
    ends_s: float
    holders: WeakSet[Holder] = field(default_factory=WeakSet)


class Sessions:
    """Browsers that have logged in, each with a random id instead of its token.

    Bounded: with each token `per_token` sessions may be open; one more ends the oldest of the same token, so that
    nobody can push others out. `now_s` is monotonic.
    """

    def __init__(self, lifetime_s: float, per_token: int) -> None:
        self.lifetime_s = lifetime_s
        self._per_token = per_token
        self._key = secrets.token_bytes(32)
        self._open: dict[bytes, _Session] = {}
        self._of: dict[str, deque[bytes]] = {}  # token's name → its sessions, the oldest first

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, visitor: Visitor, now_s: float) -> str:
        """The id of a new session: 43 letters, digits, - and _."""
        self._end_overdue(now_s)
        session_id = secrets.token_urlsafe(32)
        digest = _digest(self._key, session_id)
        mine = self._of.setdefault(visitor.name, deque())
        mine.append(digest)
        self._open[digest] = _Session(visitor, now_s + self.lifetime_s)
        if len(mine) > self._per_token:
            self._end(mine[0])
        return session_id

    def visitor(self, session_id: str, now_s: float) -> Visitor | None:
        """Whose session it is; None: of none that is open."""
        self._end_overdue(now_s)
        # Looked up by a keyed digest: how long that takes says nothing of the ids that there are.
        session = self._open.get(_digest(self._key, session_id[:_LONGEST]))
        return None if session is None else session.visitor

    def hold(self, session_id: str, holder: Holder) -> None:
        """End `holder` with this session, unless it is gone before."""
        session = self._open.get(_digest(self._key, session_id[:_LONGEST]))
        if session is not None:
            session.holders.add(holder)

    def end(self, session_id: str) -> None:
        """Log out, and end what was opened with it; no harm if it is over already."""
        self._end(_digest(self._key, session_id[:_LONGEST]))

    def _end_overdue(self, now_s: float) -> None:
        while self._open:
            oldest = next(iter(self._open))  # all last equally long
            if now_s < self._open[oldest].ends_s:
                return
            self._end(oldest)

    def _end(self, digest: bytes) -> None:
        session = self._open.pop(digest, None)
        if session is not None:
            self._of[session.visitor.name].remove(digest)
            for holder in list(session.holders):
                holder.abort()


def _digest(key: bytes, secret: str) -> bytes:
    return hashlib.blake2b(secret.encode("utf-8", "replace"), key=key, digest_size=32).digest()
