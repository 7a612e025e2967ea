"""Who talks to the server, and what it may do: for FastAPI's `Depends`."""

from __future__ import annotations

from fastapi import HTTPException, Request

from streamqa.server.scopes import LOCAL, Scope, Visitor

__all__ = ["LOCAL", "Scope", "Visitor", "guest_of", "need", "visitor_of"]


def visitor_of(request: Request) -> Visitor:
    """Who sent a request that was let in.

    Raises `HTTPException` 401 on the few paths that are open to everybody, for whoever has not said who it is.
    """
    visitor = guest_of(request)
    if visitor is None:  # the guard would have refused it on any other path
        raise HTTPException(401, "a token is needed", {"www-authenticate": "Bearer"})
    return visitor


def guest_of(request: Request) -> Visitor | None:
    """As `visitor_of`, on a path that is open to everybody; None: it has not said who it is."""
    visitor: Visitor | None = request.state.visitor
    return visitor


class need:
    """Lets a request through whose visitor may do what needs `scope`, else 403. Gives the visitor.

    Every route has one, in `dependencies=[Depends(need("read"))]` or as an argument; a test looks for it.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope: Scope = scope

    def __call__(self, request: Request) -> Visitor:
        """Who it is."""
        visitor = visitor_of(request)
        if not visitor.may(self.scope):
            raise HTTPException(
                403, f"this needs a token with scope {self.scope}; {visitor.name!r} has {visitor.scope}"
            )
        return visitor
