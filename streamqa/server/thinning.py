"""Fewer answers for whoever wants fewer: only those that change something, or one in a while. Pure.

    changed_only          answers that say something else than the one before them did
    min_interval          at most one answer of each question and source in so much stream time
    both                  the same, and of these only what differs from what was passed on last

An interval is kept strictly: a change within it waits, and the first answer after it tells what holds then. Records
of other types always pass.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

_MOST = 8192  # pairs of question and source that are remembered; of more, the one passed on longest ago starts anew
_ROUNDING_S = 1e-6  # of times on the wire


class Thinner:
    """What one subscription has been given, and whether it wants this answer, too."""

    __slots__ = ("_changed_only", "_given", "_min_interval_s")

    def __init__(self, changed_only: bool, min_interval_s: float) -> None:
        self._changed_only, self._min_interval_s = changed_only, min_interval_s
        # (question, source) → stream time and what it said, in the order of being passed on
        self._given: OrderedDict[tuple[str, str], tuple[float, Any]] = OrderedDict()

    def wants(self, payload: dict[str, Any]) -> bool:
        """Whether a record is passed on; remembers that it was."""
        if payload["type"] != "answer":
            return True
        key, t_s = (payload["question"], payload["source"]), payload["t_s"]
        value = payload["value"]
        said = (
            payload["state"],
            len(value) if isinstance(value, list) else value,
        )  # places move all the time
        given = self._given.get(key)
        if given is not None:
            last_s, last = given
            # Stream time that goes back is a new run of the same source.
            if last_s <= t_s < last_s + self._min_interval_s - _ROUNDING_S:
                return False
            # Between the thresholds what was decided last still stands, where something was.
            stands = last[0] == "ok" and payload.get("reason") == "between"
            if self._changed_only and (said == last or stands):
                return False
        self._given[key] = t_s, said
        self._given.move_to_end(key)
        if len(self._given) > _MOST:
            self._given.popitem(last=False)
        return True
