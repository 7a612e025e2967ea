"""The wire without sockets: no schedule loses or doubles a record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamqa.server.messages import Gap
from streamqa.server.protocol import Subscribe
from streamqa.server.session import Backlog, Filter, Place, Session
from streamqa.sinks.reading import Page


@pytest.mark.parametrize(("wanted", "payload", "expected"), [
    (Filter(), {"type": "answer", "source": "a", "question": "q"}, True),
    (Filter(sources=frozenset("a")), {"type": "answer", "source": "b", "question": "q"}, False),
    (Filter(questions=frozenset("q")), {"type": "answer", "source": "b", "question": "r"}, False),
    (Filter(questions=frozenset("q")), {"type": "source", "source": "b"}, True),
    (Filter(types=frozenset({"answer"})), {"type": "source", "source": "b"}, False),
    (Filter(sources=frozenset()), {"type": "source", "source": "b"}, False),
    (Filter(sources=frozenset("a"), questions=frozenset("q")), {"type": "error", "code": "x"}, True),
    (Filter(types=frozenset({"answer", "source"})), {"type": "error", "code": "x"}, False),
    (Filter(types=frozenset({"error"})), {"type": "error", "code": "x"}, True),
])  # fmt: skip
def test_filters(wanted: Filter, payload: dict[str, Any], expected: bool) -> None:
    assert wanted.matches(payload) is expected


@pytest.mark.parametrize(("message", "gap", "cursor", "phase"), [
    (Subscribe(), None, 20, "live"),
    (Subscribe(since=20), None, 20, "live"),
    (Subscribe(since=21), None, 21, "live"),  # logged, not yet broadcast, known from REST
    (Subscribe(since=15, epoch="here"), None, 15, "replay"),
    (Subscribe(since=9), None, 9, "replay"),
    (Subscribe(since=8), Gap(first=9, last=9, reason="retention"), 9, "replay"),
    (Subscribe(since=0), Gap(first=1, last=9, reason="retention"), 9, "replay"),
    (Subscribe(since=15, epoch="there"), Gap(first=None, last=None, reason="new_log"), 9, "replay"),
    (Subscribe(since=22, epoch="here"), Gap(first=None, last=None, reason="new_log"), 9, "replay"),
    (Subscribe(epoch="there"), None, 20, "live"),
])  # fmt: skip
def test_where_a_subscription_begins(message: Subscribe, gap: Gap | None, cursor: int, phase: str) -> None:
    session = Session()
    assert session.phase == "waiting"
    assert session.subscribe(message, Place("here", first_seq=10, last_seq=21), published=20) == gap
    assert (session.cursor, session.phase) == (cursor, phase)


def test_an_empty_log_is_live_at_once() -> None:
    session = Session()
    assert session.subscribe(Subscribe(since=0), Place("here", 1, 0), published=0) is None
    assert session.phase == "live"


def page_of(first_seq: int, seqs: list[int], limit: int) -> Page:
    return Page(first_seq, [(seq, "{}") for seq in seqs], len(seqs) < limit)


def test_retention_that_overtakes_a_replay_is_announced() -> None:
    session = Session()
    session.subscribe(Subscribe(since=0), Place("here", 1, 100), published=100)
    assert session.replayed(page_of(1, [1, 2, 3], 3), 100) is None
    assert session.replayed(page_of(8, [8, 9, 10], 3), 100) == Gap(first=4, last=7, reason="retention")
    assert session.cursor == 10


def test_a_backlog_counts_what_has_no_number() -> None:
    backlog: Backlog[str] = Backlog(1)
    for seq in (3, None, 4, None):
        backlog.push(seq, str(seq))
    assert backlog.take() == (Gap(first=3, last=4, reason="slow", count=3), ["None"])
    backlog.push(None, "a")
    backlog.push(None, "b")
    assert backlog.take() == (Gap(first=None, last=None, reason="slow", count=1), ["b"])


def test_a_backlog_keeps_the_newest_and_names_the_rest() -> None:
    backlog: Backlog[str] = Backlog(2)
    assert not backlog
    assert backlog.take() == (None, [])
    assert [backlog.push(seq, str(seq)) for seq in (3, 5, 7, 9)] == [0, 0, 1, 1]
    assert (bool(backlog), len(backlog)) == (True, 2)
    assert backlog.take() == (Gap(first=3, last=5, reason="slow", count=2), ["7", "9"])
    assert not backlog
    backlog.push(11, "11")
    assert backlog.drop() == 1
    assert bool(backlog)
    assert backlog.take() == (Gap(first=11, last=11, reason="slow", count=1), [])
    backlog.push(12, "12")
    backlog.clear()
    assert not backlog


@dataclass
class World:
    """A log, what of it has been broadcast, and one subscriber that comes and goes; no clocks, no sockets.

    `wire` holds what was written to the current connection and not read yet; a cut loses it.
    """

    page: int
    log: list[str] = field(default_factory=list)  # the source of record seq = index + 1
    first: int = 1
    published: int = 0
    session: Session | None = None
    backlog: Backlog[int] = field(default_factory=lambda: Backlog(3))
    paused: bool = False
    wire: list[int | Gap] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    missed: set[int] = field(default_factory=set)
    place: int = 0

    def connect(self) -> None:
        if self.session is None:
            self.session, self.wire, self.paused = Session(), [], False
            self.backlog.clear()
            message = Subscribe(since=self.place, epoch="e", sources=["a"])
            gap = self.session.subscribe(message, Place("e", self.first, len(self.log)), self.published)
            self.wire += [gap] if gap else []

    def disconnect(self) -> None:
        self.session = None

    def append(self, source: str) -> None:
        self.log.append(source)

    def publish(self) -> None:
        burst, self.published = range(self.published + 1, len(self.log) + 1), len(self.log)
        if self.session is None or self.session.phase != "live" or not burst:
            return
        wanted = [seq for seq in burst if self._matches(seq) and seq > self.session.cursor]
        for seq in wanted:
            if self.paused:
                self.backlog.push(seq, seq)
            else:
                self.wire.append(seq)

    def replay(self) -> None:
        if self.session is None or self.session.phase != "replay" or self.session.join(self.published):
            return
        after = max(self.session.cursor + 1, self.first)
        rows = [seq for seq in range(after, len(self.log) + 1) if self._matches(seq)][: self.page]
        gap = self.session.replayed(page_of(self.first, rows, self.page), self.published)
        self.wire += [*([gap] if gap else []), *rows]

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        gap, items = self.backlog.take()
        self.wire += [*([gap] if gap else []), *items]

    def retain(self) -> None:
        self.first = max(self.first, min(self.published, len(self.log) // 2))

    def read(self) -> None:
        if self.session is None or not self.wire:
            return
        item = self.wire.pop(0)
        if isinstance(item, int):
            self.seen.append(item)
            self.place = item
        else:
            assert item.first is not None
            assert item.last is not None
            assert item.first > self.place
            self.missed |= set(range(item.first, item.last + 1))
            self.place = item.last

    def _matches(self, seq: int) -> bool:
        return self.log[seq - 1] == "a"


STEPS = ("connect", "disconnect", "publish", "replay", "pause", "resume", "retain", "read", "read", "read")


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(st.sampled_from(STEPS) | st.sampled_from(["+a", "+a", "+b"]), max_size=80),
    page=st.integers(1, 4),
)
def test_every_record_comes_once_and_in_order_or_is_announced_missing(steps: list[str], page: int) -> None:
    world = World(page)
    for step in steps:
        if step.startswith("+"):
            world.append(step[1:])
        else:
            getattr(world, step)()
    # In the end everything gets the chance to arrive.
    world.publish()
    world.connect()
    world.resume()
    for _ in range(len(world.log) + 2):
        world.replay()
    while world.wire:
        world.read()
    assert world.session is not None
    assert world.session.phase == "live"
    wanted = [seq for seq, source in enumerate(world.log, 1) if source == "a"]
    assert world.seen == sorted(set(world.seen))  # in order, none twice
    assert not set(world.seen) & world.missed
    assert [seq for seq in wanted if seq not in world.missed] == world.seen
