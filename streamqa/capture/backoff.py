"""How long to wait before a connection is tried again. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable

_FIRST_S, _MOST_S, _REFUSED_S = 0.5, 30.0, 60.0


def backoff_s(attempt: int, refused: bool, jitter: float) -> float:
    """Seconds until the next try, after `attempt` (0, 1…) failures in a row; `jitter` is from [0, 1).

    Twice as long each time, from 0.5 s to 30 s, spread so that cameras behind one switch do not come back in
    step; a minute after a refusal, since asking again does not help and locks accounts.
    """
    if refused:
        return _REFUSED_S
    return min(_MOST_S, _FIRST_S * float(2 ** min(attempt, 10)) * (1 + jitter))


class Backoff:
    """The failures in a row of one source."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        """`chance` gives the jitter, from [0, 1)."""
        self._chance = chance
        self._failures = 0

    def after(self, *, refused: bool, steady: bool) -> float:
        """Seconds to wait after one more failure; `steady`: the connection had held, so that counting begins anew."""
        self._failures = 0 if steady else self._failures
        delay_s = backoff_s(self._failures, refused, self._chance())
        self._failures += 1
        return delay_s

    def forget(self) -> None:
        """Somebody wants a connection now: the next failure is a first one."""
        self._failures = 0
