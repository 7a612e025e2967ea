"""Records that are written together, each made into bytes once, whoever gets them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from streamqa.server.session import Filter, Session
from streamqa.server.subscriber import frame
from streamqa.sinks.base import Logged
from streamqa.sinks.log import to_json


class Item(NamedTuple):
    """One record on its way."""

    seq: int | None  # None: it is not in the log
    data: bytes
    payload: dict[str, Any]


class Share(NamedTuple):
    """What one subscriber gets of a burst."""

    items: Sequence[Item]
    data: bytes  # of all of them


_NOTHING = Share((), b"")


class Burst:
    """Some records in the order of their numbers; for each filter, its bytes are joined once."""

    def __init__(self, records: Sequence[Logged]) -> None:
        numbers = [record.seq for record in records if record.seq is not None]
        self._span = (numbers[0], numbers[-1]) if numbers else None  # None: none of them is in the log
        self._items = [Item(record.seq, frame(to_json(record.payload)), record.payload) for record in records]
        self._shares: dict[Filter, Share] = {}

    def share(self, session: Session) -> Share:
        """What a live session gets, and has not got yet; it counts as handed over."""
        share = self._matching(session.filter)
        if self._span is not None:
            first_seq, last_seq = self._span
            if session.cursor >= first_seq:  # it joined in the middle of this burst
                share = _joined(
                    [item for item in share.items if item.seq is None or item.seq > session.cursor]
                )
            session.handed_over(last_seq)
        if session.thinner is not None:
            share = _joined([item for item in share.items if session.thinner.wants(item.payload)])
        return share

    def _matching(self, chosen: Filter) -> Share:
        share = self._shares.get(chosen)
        if share is None:
            share = _joined([item for item in self._items if chosen.matches(item.payload)])
            self._shares[chosen] = share
        return share


def _joined(items: Sequence[Item]) -> Share:
    return Share(items, b"".join(item.data for item in items)) if items else _NOTHING
