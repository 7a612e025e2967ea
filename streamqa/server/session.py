"""One subscriber's place in the log and what it wants, without socket, clock or thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from streamqa.server.messages import Gap
from streamqa.server.protocol import Subscribe
from streamqa.server.thinning import Thinner
from streamqa.sinks.query import Query
from streamqa.sinks.reading import Page


@dataclass(frozen=True, slots=True)
class Filter:
    """What a subscriber wants to see; None lets everything pass."""

    sources: frozenset[str] | None = None
    questions: frozenset[str] | None = None
    types: frozenset[str] | None = None  # gaps pass all the same
    changed_only: bool = False
    min_interval_s: float | None = None  # then `Thinner` has the last word, also on what has changed

    @property
    def query(self) -> Query:
        """The same for the log."""
        return Query(self.sources, self.questions, self.types, self._only_changes)

    @property
    def _only_changes(self) -> bool:
        return self.changed_only and self.min_interval_s is None

    def matches(self, payload: dict[str, Any]) -> bool:
        """Whether this record is wanted, as far as it says that itself. The same rule as `query`."""
        source, question = payload.get("source"), payload.get("question")
        return (
            (self.sources is None or source is None or source in self.sources)
            and (self.questions is None or question is None or question in self.questions)
            and not (self._only_changes and payload.get("changed") is False)
            and (self.types is None or payload["type"] in self.types or payload["type"] == "gap")
        )


@dataclass(frozen=True, slots=True)
class Place:
    """What the log offers at one moment."""

    epoch: str
    first_seq: int
    last_seq: int


class Session:
    """One subscriber's place in the log: waiting for `subscribe`, replaying, or live.

    `cursor`: every wanted record up to here has come, or was announced as a gap. Replay asks for pages after it until
    it reaches what has been published; joining is then nothing but a change of phase, so there is no moment in which
    a record could be missed, and the cursor keeps any from coming twice. Once live it stays where it joined.
    """

    __slots__ = ("cursor", "filter", "phase", "thinner")

    def __init__(self) -> None:
        self.phase: Literal["waiting", "replay", "live"] = "waiting"
        self.filter = Filter()
        self.thinner: Thinner | None = None
        self.cursor = 0

    def subscribe(self, message: Subscribe, place: Place, published: int) -> Gap | None:
        """Start anew with this subscription; returns what must be said first.

        `published` is the newest number that has been broadcast; the log may already be ahead of it.
        """
        self.filter = filter_of(message)
        interval_s = self.filter.min_interval_s
        self.thinner = None if interval_s is None else Thinner(self.filter.changed_only, interval_s)
        gap = None
        if message.since is None:
            self.cursor = published
        elif (message.epoch or place.epoch) != place.epoch or message.since > place.last_seq:
            gap = Gap(first=None, last=None, reason="new_log")
            self.cursor = place.first_seq - 1
        else:
            self.cursor = message.since
            gap = self._retained_from(place.first_seq)
        self.phase = "replay"
        self.join(published)
        return gap

    def join(self, published: int) -> bool:
        """Go live if nothing that has been broadcast is missing; whether that was so."""
        if self.cursor >= published:
            self.phase = "live"
        return self.phase == "live"

    def replayed(self, page: Page, published: int) -> Gap | None:
        """Account for a page of matching records that was asked for after `cursor`; returns a gap to say first.

        `published` was read before the page, so the last page has seen everything up to there.
        """
        gap = self._retained_from(page.first_seq)
        if page.rows:
            self.cursor = page.rows[-1][0]
        if page.is_last:
            self.cursor = max(self.cursor, published)
        return gap

    def _retained_from(self, first_seq: int) -> Gap | None:
        if self.cursor >= first_seq - 1:
            return None
        gap = Gap(first=self.cursor + 1, last=first_seq - 1, reason="retention")
        self.cursor = first_seq - 1
        return gap


def filter_of(message: Subscribe) -> Filter:
    """What a subscription wants."""
    return Filter(
        _names(message.sources),
        _names(message.questions),
        _names(message.types),
        message.changed_only,
        message.min_interval_s,
    )


def _names(names: Sequence[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


Item = TypeVar("Item")


class Backlog(Generic[Item]):
    """What waits for a subscriber that is not reading: the newest `size` items; what it drops becomes a gap."""

    __slots__ = ("_count", "_dropped", "_items", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[tuple[int | None, Item]] = deque()
        self._dropped: tuple[int, int] | None = None  # first and last number
        self._count = 0  # of all that was dropped, also of what has no number

    def __bool__(self) -> bool:
        return bool(self._items) or self._count > 0

    def __len__(self) -> int:
        return len(self._items)

    def push(self, seq: int | None, item: Item) -> int:
        """Add the newest item; returns how many old ones were dropped for it. `seq` None: it is not in the log."""
        self._items.append((seq, item))
        return self._drop(len(self._items) - self._size)

    def drop(self) -> int:
        """Give up on all that waits, to be announced; returns how many that were."""
        return self._drop(len(self._items))

    def clear(self) -> None:
        """Forget all that waits: it will be replayed."""
        self._items.clear()
        self._dropped, self._count = None, 0

    def take(self) -> tuple[Gap | None, list[Item]]:
        """Empty it: the gap to announce first, then the items in order."""
        gap = None
        if self._count:
            first, last = self._dropped or (None, None)
            gap = Gap(first=first, last=last, reason="slow", count=self._count)
        items = [item for _, item in self._items]
        self.clear()
        return gap, items

    def _drop(self, count: int) -> int:
        for _ in range(count):
            seq, _item = self._items.popleft()
            self._count += 1
            if seq is not None:
                self._dropped = (self._dropped[0] if self._dropped else seq, seq)
        return max(count, 0)
