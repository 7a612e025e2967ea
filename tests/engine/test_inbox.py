"""Calls and single requests for the engine: done between batches, refused when too many, told when it stops."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from streamqa.engine.inbox import MOST_SINGLES, Inbox
from streamqa.errors import Busy, ConfigError, StreamQAError
from streamqa.types import Prompt, Request

REQUEST = Request(None, (Prompt("Why?"),))


@pytest.fixture
def background() -> Callable[[Callable[[], None]], threading.Thread]:
    def start(what: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=what, daemon=True)
        thread.start()
        return thread

    return start


def test_a_call_runs_when_the_engine_comes_round(background: Callable[..., threading.Thread]) -> None:
    woken, done = threading.Event(), list[str]()
    inbox = Inbox(woken.set)
    thread = background(lambda: inbox.call(lambda: done.append("changed"), 10))
    assert woken.wait(10)
    assert done == []
    inbox.run_calls()
    thread.join(10)
    assert done == ["changed"]


def test_what_a_call_raises_its_caller_gets() -> None:
    inbox = Inbox(lambda: inbox.run_calls())

    def fails() -> None:
        raise ConfigError("no such thing")

    with pytest.raises(ConfigError, match="no such thing"):
        inbox.call(fails, 1)


def test_a_call_that_nobody_runs_is_given_up_and_never_runs_later() -> None:
    inbox, done = Inbox(lambda: None), list[int]()
    with pytest.raises(StreamQAError, match="given up"):
        inbox.call(lambda: done.append(1), 0.01)
    inbox.run_calls()
    assert done == []


def test_a_call_that_begins_when_its_time_is_over_is_never_given_up_and_done(
    background: Callable[..., threading.Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine comes round just after its caller has looked whether it has begun."""
    inbox, begun, done = Inbox(lambda: None), threading.Event(), threading.Event()
    threads = list[threading.Thread]()

    def change() -> None:
        begun.set()
        done.wait(0.2)
        done.set()

    def looked(future: Future[None]) -> bool:
        threads.append(background(inbox.run_calls))
        begun.wait(10)
        return False

    monkeypatch.setattr(Future, "running", looked)
    is_given_up = False
    try:
        inbox.call(change, 0.05)
    except StreamQAError:
        is_given_up = True
    inbox.run_calls()
    for thread in threads:
        thread.join(10)
    assert is_given_up != done.is_set()


def test_single_requests_are_bounded_and_refused_beyond(background: Callable[..., threading.Thread]) -> None:
    inbox, enough = Inbox(lambda: room.release()), threading.Semaphore(0)
    room = enough

    def ask() -> None:
        with pytest.raises(StreamQAError, match="stopped"):
            inbox.ask([REQUEST], 10)

    threads = [background(ask) for _ in range(MOST_SINGLES)]
    for _ in threads:
        assert room.acquire(timeout=10)
    with pytest.raises(Busy):
        inbox.ask([REQUEST], 10)
    inbox.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_a_request_that_is_not_waited_for_any_more_is_not_asked() -> None:
    inbox = Inbox(lambda: None)
    with pytest.raises(StreamQAError, match="not answered"):
        inbox.ask([REQUEST], 0.01)
    assert inbox.next_single() is None


def test_a_closed_one_takes_nothing() -> None:
    inbox = Inbox(lambda: None)
    inbox.close()
    for attempt in (
        lambda: inbox.call(lambda: None, 1),
        lambda: inbox.ask([REQUEST], 1),
        lambda: inbox.post(print),
    ):
        with pytest.raises(StreamQAError, match="stopped"):
            attempt()
