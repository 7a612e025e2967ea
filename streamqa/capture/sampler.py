"""Which frames are worth converting: those on which some question comes due. Pure."""

from __future__ import annotations

import threading
from collections.abc import Iterable

NEVER_NS = 2**63 - 1


class Sampler:
    """Keeps the frames that the schedule's grid asks for, and no others.

    It agrees with the engine's rule "tick k is due at the first frame with t_ns // every_ns >= k": a frame
    is kept exactly when at least one question comes due on it. A frame that is kept for one period counts
    for all of them, since the engine sees it with every question; so one memory of ticks is enough.

    The periods may be set anew by another thread than the one that asks.
    """

    def __init__(self, every_ns: Iterable[int]) -> None:
        """`every_ns`: the periods of the questions asked of this source; none keeps the first frame only.

        Raises:
            ValueError: a period that is not positive.
        """
        self._lock = threading.Lock()
        self._periods = _checked(every_ns)
        self._ticks: tuple[int, ...] | None = None  # of the last frame that was kept

    def set_periods(self, every_ns: Iterable[int]) -> None:
        """Keep frames for these periods from now on, and the next one in any case: a new question waits for it.

        Nothing happens where they are the same. Raises ValueError as above.
        """
        periods = _checked(every_ns)
        with self._lock:
            if periods != self._periods:
                self._periods, self._ticks = periods, None

    @property
    def wanted_ns(self) -> int:
        """Stream time from which on a frame will be kept: the first one at or after it, exactly."""
        with self._lock:
            if self._ticks is None:
                return 0
            following = ((tick + 1) * period for tick, period in zip(self._ticks, self._periods, strict=True))
            return min(following, default=NEVER_NS)

    @property
    def longest_ns(self) -> int | None:
        """The longest of the periods; None where there is none."""
        return self._periods[-1] if self._periods else None

    def keep(self, t_ns: int) -> bool:
        """Whether the frame at stream time `t_ns` (never going back) is to be kept; remembers that it was."""
        with self._lock:
            ticks = tuple(t_ns // period for period in self._periods)
            if self._ticks is not None and all(
                new <= old for new, old in zip(ticks, self._ticks, strict=True)
            ):
                return False
            self._ticks = ticks
            return True


def _checked(every_ns: Iterable[int]) -> tuple[int, ...]:
    periods = tuple(sorted(set(every_ns)))
    if any(period <= 0 for period in periods):
        raise ValueError(f"every period must be positive, got {periods} ns")
    return periods
