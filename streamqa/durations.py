"""Durations as people write them: `500ms`, `2s`, `1m`, `1.5h`."""

from __future__ import annotations

import re
from decimal import Decimal

_UNITS_NS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_PATTERN = re.compile(r"(-?\d{1,12}(?:\.\d{1,9})?)\s*(ms|s|m|h|d)")

_LONGEST_NS = 366 * 86400 * 10**9


def parse_duration(text: str) -> int:
    """`text` in nanoseconds, exactly (decimal arithmetic: `0.2s` is 200,000,000).

    Raises:
        ValueError: not a number with a unit, negative, or longer than a year; one line that says what to write.
    """
    found = _PATTERN.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            f"{text[:40]!r} is not a duration; write a number with a unit, such as 500ms, 2s or 1m"
        )
    duration_ns = int(Decimal(found[1]) * _UNITS_NS[found[2]])
    if duration_ns < 0:
        raise ValueError(f"{text!r} is negative; a duration is 0 or longer")
    if duration_ns > _LONGEST_NS:
        raise ValueError(f"{text!r} is longer than a year")
    return duration_ns


def format_duration(duration_ns: int) -> str:
    """The shortest exact writing of a duration, such as `1.5s`."""
    for unit in ("d", "h", "m", "s"):
        if duration_ns and duration_ns % _UNITS_NS[unit] == 0:
            return f"{duration_ns // _UNITS_NS[unit]}{unit}"
    if duration_ns >= 10**9:
        return f"{Decimal(duration_ns) / 10**9:f}s"
    return f"{Decimal(duration_ns) / 10**6:f}ms"
