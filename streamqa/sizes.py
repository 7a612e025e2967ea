"""Amounts of bytes as people write them: `500 MB`, `10 GB`."""

from __future__ import annotations

import re
from decimal import Decimal

_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
_PATTERN = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(MB|GB|TB)")


def parse_size(text: str) -> int | None:
    """`text` in bytes; None for `off`.

    Raises:
        ValueError: not a number with a unit, or below 1 MB; one line that says what to write.
    """
    if text == "off":
        return None
    found = _PATTERN.fullmatch(text.strip())
    size = int(Decimal(found[1]) * _UNITS[found[2]]) if found else 0
    if size < 10**6:
        raise ValueError(f"{text[:40]!r} is not a size; write at least 1 MB, as in 500 MB or 10 GB, or off")
    return size
