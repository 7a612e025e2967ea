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
    """What those who want the same get of a burst."""

    items: list[Item]
    data: bytes  # of all of them


class Burst:
    """Some records in the order of their numbers; for each filter, its bytes are joined once."""

    def __init__(self, records: Sequence[Logged]) -> None:
        self._last_seq = max((record.seq for record in records if record.seq is not None), default=None)
        self._items = [Item(record.seq, frame(to_json(record.payload)), record.payload) for record in records]
        self._shares: dict[Filter, Share] = {}

    def share(self, wanted: Filter) -> Share:
        """What matches a filter."""
        share = self._shares.get(wanted)
        if share is None:
            items = [item for item in self._items if wanted.matches(item.payload)]
            share = self._shares[wanted] = Share(items, b"".join(item.data for item in items))
        return share

    def rest(self, share: Share, session: Session) -> list[Item]:
        """What of a share a session has not got yet, thinned where it wants that; it counts as passed on."""
        items = [item for item in share.items if item.seq is None or item.seq > session.cursor]
        thinner = session.thinner
        return items if thinner is None else [item for item in items if thinner.wants(item.payload)]

    def has_reached(self, session: Session) -> bool:
        """Whether a session's place is not ahead of this burst, and it wants all that matches from here on."""
        return session.thinner is None and self._last_seq is not None and session.cursor <= self._last_seq
