"""`Sink`: anything that takes records once they have their sequence number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Logged:
    """A record as it left the log: its sequence number and its JSON-ready object, `seq` included.

    While the log cannot be written (a full disk), records go on without a number, flagged `durable: false`.
    """

    seq: int | None  # None: it is not in the log, and will not be
    payload: dict[str, Any]
    captured_ns: int | None = None  # of answers about live pictures: monotonic clock, for latencies


class Sink(Protocol):
    """Takes records in the order of their sequence numbers."""

    def write(self, records: Sequence[Logged]) -> None:
        """Take some records. Must not wait for a slow consumer."""
        ...

    def close(self) -> None:
        """Deliver what is pending, within seconds, and free what is held."""
        ...
