"""An outlet never slows the line: bounded, patient, counted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from streamqa.metrics import Metrics
from streamqa.sinks.base import Logged
from streamqa.sinks.outlet import Ledger, QueuedOutlet, QueueSettings, Undelivered
from streamqa.sinks.wanted import Wanted

EVERYTHING = Wanted()


def records(first: int, last: int) -> list[Logged]:
    return [Logged(seq, {"type": "error", "seq": seq}) for seq in range(first, last + 1)]


class Far:
    """What is at the other end: takes records, refuses them, or hangs, as the test says."""

    def __init__(self) -> None:
        self.got: list[int | None] = []
        self.tried = threading.Semaphore(0)  # once for each attempt
        self.open = threading.Event()
        self.open.set()
        self.fails: Exception | None = None
        self.refuses: set[int | None] = set()
        self.closed = 0

    def deliver(self, taken: Sequence[Logged]) -> None:
        self.tried.release()
        self.open.wait(30)
        if self.closed:
            raise Undelivered("cut off")
        if self.fails is not None:
            raise self.fails
        for number, record in enumerate(taken):
            if record.seq in self.refuses:
                raise Undelivered("410 Gone", delivered=number, retry=False)
            self.got.append(record.seq)

    def close(self) -> None:
        self.closed += 1
        self.open.set()


class Given:
    """What was given up, and why."""

    def __init__(self) -> None:
        self.up: list[tuple[int | None, str]] = []

    def __call__(self, given: Sequence[Logged], reason: str) -> None:
        self.up += [(record.seq, reason) for record in given]


@contextmanager
def outlet(
    far: Far, settings: QueueSettings | None = None, given: Given | None = None, wanted: Wanted = EVERYTHING
) -> Iterator[QueuedOutlet]:
    made = QueuedOutlet(
        Ledger("far", "fake", "there", Metrics()), wanted, far, settings or QueueSettings(), given or Given()
    )
    try:
        yield made
    finally:
        far.open.set()
        made.close()


def counts(made: QueuedOutlet) -> tuple[int, int, int]:
    state = made.state()
    return state.queued, state.delivered, state.dropped


def test_who_asks_for_all_the_patience_there_is_is_asked_once_more() -> None:
    far = Far()
    far.fails = Undelivered("429 Too Many Requests", after_s=1.0)
    with outlet(far, QueueSettings(patience_s=1.0)) as made:
        made.write(records(1, 1))
        while made.state().is_up is None:
            time.sleep(0.005)
        far.fails = None
        assert made.drained(5)
        assert (made.state().delivered, made.state().dropped) == (1, 0)


def test_what_is_wanted_arrives_in_order() -> None:
    far = Far()
    with outlet(far, wanted=Wanted(types=["error"])) as made:
        assert made.state().is_up is None
        made.write(records(1, 3))
        made.write([Logged(4, {"type": "change"}), *records(5, 5)])
        assert made.drained(5)
        assert far.got == [1, 2, 3, 5]
        assert counts(made) == (0, 4, 0)
        assert made.state().is_up
    assert far.closed == 1


def test_records_that_the_log_could_not_keep_arrive_too() -> None:
    far = Far()
    with outlet(far) as made:
        made.write([Logged(None, {"type": "error", "seq": None, "durable": False})])
        assert made.drained(5)
    assert far.got == [None]


def test_a_full_queue_drops_the_oldest_and_never_waits() -> None:
    far = Far()
    far.open.clear()
    with outlet(far, QueueSettings(capacity=10, batch=1)) as made:
        made.write(records(1, 1))
        assert far.tried.acquire(timeout=5)  # the first one hangs
        began_s = time.perf_counter()
        for seq in range(2, 2002):
            made.write(records(seq, seq))
        assert time.perf_counter() - began_s < 2
        assert counts(made) == (11, 0, 1990)
        far.open.set()
        assert made.drained(5)
        assert far.got == [1, *range(1992, 2002)]


def test_a_failed_delivery_is_tried_again_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    far = Far()
    far.fails = Undelivered("connection refused")
    with caplog.at_level(logging.WARNING), outlet(far) as made:
        made.write(records(1, 2))
        assert far.tried.acquire(timeout=5)
        assert far.tried.acquire(timeout=5)
        assert (made.state().is_up, made.state().reason) == (False, "connection refused")
        far.fails = None
        assert made.drained(10)
        assert far.got == [1, 2]
        assert made.state().is_up
    told = [record.message for record in caplog.records]
    assert len(told) == 2, told
    assert "is down: connection refused" in told[0]
    assert "works again" in told[1]


def test_what_was_delivered_before_a_failure_is_not_sent_twice() -> None:
    far, given = Far(), Given()
    far.refuses = {2, 4}
    with outlet(far, given=given) as made:
        made.write(records(1, 5))
        assert made.drained(5)
        assert far.got == [1, 3, 5]
        assert counts(made) == (0, 3, 2)
    assert given.up == [(2, "410 Gone"), (4, "410 Gone")]


def test_a_pause_that_was_asked_for_is_kept() -> None:
    far = Far()
    far.fails = Undelivered("429 Too Many Requests", after_s=1.5)
    with outlet(far) as made:
        made.write(records(1, 1))
        assert far.tried.acquire(timeout=5)
        far.fails = None
        began_s = time.monotonic()
        assert made.drained(10)
        assert time.monotonic() - began_s > 1.4


def test_patience_ends() -> None:
    far, given = Far(), Given()
    far.fails = Undelivered("no route to host")
    with outlet(far, QueueSettings(patience_s=0.2), given) as made:
        made.write(records(1, 3))
        assert made.drained(10)
        assert counts(made) == (0, 0, 3)
    assert given.up == [(seq, "no route to host") for seq in (1, 2, 3)]


def test_while_nothing_can_be_delivered_a_crowd_is_given_up_before_it_is_dropped() -> None:
    far, given = Far(), Given()
    far.fails = Undelivered("no route to host", after_s=60)
    with outlet(far, QueueSettings(capacity=100, batch=1, patience_s=600), given) as made:
        made.write(records(1, 10))
        assert far.tried.acquire(timeout=5)
        for first in range(11, 400, 20):
            made.write(records(first, first + 19))
            while counts(made)[0] > 76:
                time.sleep(0.001)
    # In order, none lost; closing gave up the rest.
    assert [seq for seq, _ in given.up] == list(range(1, given.up[-1][0] + 1))  # type: ignore[operator]
    assert len(given.up) == 410


def test_a_mistake_costs_one_record_and_no_more() -> None:
    far, given = Far(), Given()
    far.fails = ZeroDivisionError("oops")
    with outlet(far, QueueSettings(batch=1), given) as made:
        made.write(records(1, 2))
        assert made.drained(5)
        far.fails = None
        made.write(records(3, 3))
        assert made.drained(5)
    assert far.got == [3]
    assert [seq for seq, _ in given.up] == [1, 2]


def test_closing_delivers_what_is_pending() -> None:
    far = Far()
    far.open.clear()
    with outlet(far, QueueSettings(batch=1)) as made:
        made.write(records(1, 20))
        threading.Timer(0.2, far.open.set).start()
        made.close()
        assert far.got == list(range(1, 21))
        made.write(records(21, 21))  # nobody takes it any more
        assert counts(made) == (0, 20, 0)
    assert far.closed == 1


def test_closing_does_not_wait_for_a_pause() -> None:
    far, given = Far(), Given()
    far.fails = Undelivered("down", after_s=300)
    with outlet(far, given=given) as made:
        made.write(records(1, 4))
        assert far.tried.acquire(timeout=5)
        began_s = time.monotonic()
        made.close()
        assert time.monotonic() - began_s < 1
        assert counts(made) == (0, 0, 4)
    assert [seq for seq, _ in given.up] == [1, 2, 3, 4]


def test_closing_cuts_off_what_hangs() -> None:
    far, given = Far(), Given()
    far.open.clear()
    with outlet(far, given=given) as made:
        made.write(records(1, 4))
        assert far.tried.acquire(timeout=5)
        began_s = time.monotonic()
        made.close()
        assert time.monotonic() - began_s < 4
        assert counts(made) == (0, 0, 4)
    assert len(given.up) == 4


def test_the_counts_are_metrics_too() -> None:
    metrics, far = Metrics(), Far()
    far.refuses = {2}
    made = QueuedOutlet(Ledger("far", "fake", "there", metrics), EVERYTHING, far)

    def count(name: str) -> Any:
        return metrics.registry.get_sample_value(f"streamqa_{name}", {"sink": "far"})

    made.write(records(1, 3))
    assert made.drained(5)
    made.close()
    assert (count("sink_up"), count("sink_queued")) == (1, 0)
    assert (count("sink_delivered_total"), count("sink_dropped_total")) == (2, 1)
    assert count("sink_failures_total") == 1


@pytest.mark.parametrize("settings", [{"capacity": 0}, {"batch": 0}])
def test_a_queue_without_room(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="room for a record"):
        QueueSettings(**settings)
