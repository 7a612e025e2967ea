"""Which frames are worth converting: those on which some question comes due. Pure."""

from __future__ import annotations

from collections.abc import Iterable

NEVER_NS = 2**63 - 1


class Sampler:
    """Keeps the frames that the schedule's grid asks for, and no others.

    It agrees with the engine's rule "tick k is due at the first frame with t_ns // every_ns >= k": a frame
    is kept exactly when at least one question comes due on it. A frame that is kept for one period counts
    for all of them, since the engine sees it with every question; so one memory of ticks is enough.
    """

    def __init__(self, every_ns: Iterable[int]) -> None:
        """`every_ns`: the periods of the questions asked of this source; none keeps the first frame only.

        Raises:
            ValueError: a period that is not positive.
        """
        self._periods = tuple(sorted(set(every_ns)))
        if any(period <= 0 for period in self._periods):
            raise ValueError(f"every period must be positive, got {self._periods} ns")
        self._ticks: tuple[int, ...] | None = None  # of the last frame that was kept

    @property
    def wanted_ns(self) -> int:
        """Stream time from which on a frame will be kept: the first one at or after it, exactly."""
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
        ticks = tuple(t_ns // period for period in self._periods)
        if self._ticks is not None and all(new <= old for new, old in zip(ticks, self._ticks, strict=True)):
            return False
        self._ticks = ticks
        return True
