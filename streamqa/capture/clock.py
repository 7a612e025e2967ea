"""Clocks that may lie, told apart. Pure."""

from __future__ import annotations

from datetime import datetime

from streamqa.types import NS_PER_S


class WallWatch:
    """Says when the wall clock was set."""

    def __init__(self, most_s: float = 1.0) -> None:
        """`most_s`: a smaller step is not told; slewing (NTP: 0.5 ms per second) never is."""
        self._most_s = most_s
        self._before: tuple[int, datetime] | None = None

    def step(self, monotonic_ns: int, wall: datetime) -> float | None:
        """Seconds by which the wall clock (UTC) was set since the last call, forwards if positive; None: it was not.

        Read both clocks one right after the other, once a second or so: what passes between them counts as a step.
        A machine that slept shows as a step forwards, since the monotonic clock of Linux stands still then.
        """
        before, self._before = self._before, (monotonic_ns, wall)
        if before is None:
            return None
        stepped_s = (wall - before[1]).total_seconds() - (monotonic_ns - before[0]) / NS_PER_S
        return stepped_s if abs(stepped_s) > self._most_s else None
