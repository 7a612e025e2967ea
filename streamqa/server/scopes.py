"""What a visitor may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Scope = Literal["read", "ask", "admin"]  # each with all that is before it

_ORDER = get_args(Scope)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever was let in."""

    name: str  # a token's, or "local"; stands in the records of changes
    scope: Scope

    def may(self, scope: Scope) -> bool:
        """Whether what needs `scope` may be done."""
        return _ORDER.index(scope) <= _ORDER.index(self.scope)


LOCAL = Visitor("local", "admin")  # where no tokens are configured: whoever is on this machine
