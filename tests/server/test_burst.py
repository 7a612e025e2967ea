"""What of a burst each session gets."""

from __future__ import annotations

from typing import Any

import pytest

from streamqa.server.burst import Burst
from streamqa.server.protocol import Subscribe
from streamqa.server.session import Filter, Place, Session
from streamqa.sinks.base import Logged


@pytest.fixture(autouse=True)
def wire() -> None:
    """The records here are made up, and not whole."""


def record(seq: int | None, *, source: str = "gate", changed: bool = True, t_s: float = 0.0) -> Logged:
    return Logged(seq, {
        "type": "answer", "seq": seq, "source": source, "question": "person", "changed": changed, "t_s": t_s,
        "state": "ok", "value": changed,
    })  # fmt: skip


def live(published: int = 0, **subscription: Any) -> Session:
    session = Session()
    session.subscribe(Subscribe(**subscription), Place("e", 1, published), published)
    assert session.phase == "live"
    return session


def seqs(burst: Burst, session: Session) -> list[int | None]:
    return [item.seq for item in burst.rest(burst.share(session.filter), session)]


def test_bytes_of_a_filter_are_made_once() -> None:
    burst = Burst([record(1), record(2, source="yard"), record(3)])
    one, other = burst.share(Filter(frozenset({"gate"}))), burst.share(Filter(frozenset({"gate"})))
    assert one.data is other.data
    assert [item.seq for item in one.items] == [1, 3]
    assert one.data.count(b'"seq":') == 2


def test_whoever_joined_in_its_middle_gets_the_rest() -> None:
    session = live(published=2)
    burst = Burst([record(1), record(2), record(3)])
    assert seqs(burst, session) == [3]
    assert burst.has_reached(session)
    assert not Burst([record(1)]).has_reached(session)


def test_what_is_not_in_the_log_comes_in_its_place() -> None:
    session = live(published=5)
    assert seqs(Burst([record(None), record(None)]), session) == [None, None]
    assert seqs(Burst([record(None), record(6)]), session) == [None, 6]
    assert not Burst([record(None)]).has_reached(session)


def test_changes_only_and_intervals() -> None:
    burst = Burst([record(n, changed=n % 2 == 0, t_s=float(n)) for n in range(1, 7)])
    assert seqs(burst, live(changed_only=True)) == [2, 4, 6]
    session = live(min_interval_s=3.0)
    assert seqs(burst, session) == [1, 4]
    assert seqs(Burst([record(7, t_s=6.5), record(8, t_s=7.0)]), session) == [8]
    assert not burst.has_reached(session)  # each answer is looked at
