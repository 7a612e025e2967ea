"""Which answers' pictures are worth keeping. Pure.

One is when what was decided changes, so that each change can be looked at, and otherwise once a minute for each
question of each source, so that a quiet day can be looked at, too.
"""

from __future__ import annotations

from streamqa.types import NS_PER_S

EVERY_NS = 60 * NS_PER_S  # of stream time


def is_worth_keeping(changed: bool, t_ns: int, last_ns: int | None) -> bool:
    """Whether the picture of stream time `t_ns` is kept; `last_ns` is that of the last one, None: there is none."""
    return changed or last_ns is None or t_ns - last_ns >= EVERY_NS
