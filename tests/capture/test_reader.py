from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from streamqa.capture.reader import Reader, Seen
from streamqa.capture.source import Picture, Source, SourceFacts
from streamqa.errors import SourceEnded, SourceError, SourceUnavailable

from .conftest import ScriptedSource, number_of

BROKEN = SourceUnavailable("gone")


class Notes:
    """A keeper that writes down what it is told, keeps every picture, and tries again after `delay_s`."""

    def __init__(self, delay_s: float = 0.01) -> None:
        self.delay_s = delay_s
        self.told: list[str] = []
        self.news = threading.Condition()

    def wanted_ns(self) -> int:
        return 0

    def opened(self, reader: Reader) -> None:
        self.note("opened")

    def idle(self, reader: Reader, facts: SourceFacts) -> None:
        self.note(f"idle {facts.note}")

    def saw(self, reader: Reader, picture: Picture) -> int | None:
        return picture.t_ns

    def kept(self, reader: Reader, seen: Seen) -> None:
        self.note(f"kept {number_of(seen.image)}")

    def lost(self, reader: Reader, failure: SourceError, steady: bool) -> float | None:
        self.note(f"lost {failure}")
        return None if isinstance(failure, SourceEnded) else self.delay_s

    def left(self, reader: Reader) -> None:
        self.note("left")

    def note(self, what: str) -> None:
        with self.news:
            self.told.append(what)
            self.news.notify_all()

    def wait_for(self, what: str) -> None:
        with self.news:
            assert self.news.wait_for(lambda: what in self.told, 10), (what, self.told)


@contextmanager
def reading(notes: Notes, *sources: Source, closes: bool = True) -> Iterator[Reader]:
    following = iter(sources)
    reader = Reader("cam", lambda: next(following), notes, closes)
    reader.start()
    try:
        yield reader
    finally:
        reader.retire()
        assert reader.join(10)


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def test_one_connection_after_the_other_and_each_is_closed() -> None:
    notes, sources = Notes(), [ScriptedSource([1.0, BROKEN]), ScriptedSource([2.0, 3.0])]
    with reading(notes, *sources):
        notes.wait_for("left")
    assert notes.told == ["opened", "kept 1", "lost gone", "opened", "kept 2", "kept 3", "lost over", "left"]
    assert [source.closed for source in sources] == [1, 1]


def test_a_read_without_a_picture_is_told_with_what_is_known() -> None:
    source = ScriptedSource([None, 1.0])
    source.facts = SourceFacts(note="waiting for a keyframe")
    notes = Notes()
    with reading(notes, source):
        notes.wait_for("left")
    assert notes.told == ["opened", "idle waiting for a keyframe", "kept 1", "lost over", "left"]


def test_how_long_a_read_hangs_is_seen_from_outside() -> None:
    hang = threading.Event()
    notes, source = Notes(), ScriptedSource([1.0, hang, 2.0, threading.Event()])
    with reading(notes, source) as reader:
        notes.wait_for("kept 1")
        until(lambda: reader.hung_ns(time.monotonic_ns()) > 0)
        assert reader.hung_ns(time.monotonic_ns() + 50 * 10**9) >= 50 * 10**9
        reader.retire()
        assert not reader.join(0.05)
        hang.set()
    assert "kept 2" in notes.told or notes.told[-1] == "left"
    assert reader.hung_ns(time.monotonic_ns()) == 0
    assert source.closed == 1


def test_a_pause_closes_a_camera_and_its_end_connects_at_once() -> None:
    hang = threading.Event()
    notes, sources = Notes(), [ScriptedSource([1.0, hang, 2.0]), ScriptedSource([3.0])]
    with reading(notes, *sources) as reader:
        notes.wait_for("kept 1")
        reader.pause()
        hang.set()
        until(lambda: sources[0].closed == 1)
        assert "opened" not in notes.told[2:]
        reader.resume()
        notes.wait_for("left")
    assert notes.told[-4:] == ["opened", "kept 3", "lost over", "left"]


def test_whoever_resumes_need_not_wait_for_the_backoff() -> None:
    notes, sources = Notes(delay_s=60.0), [ScriptedSource([BROKEN]), ScriptedSource([3.0])]
    with reading(notes, *sources) as reader:
        notes.wait_for("lost gone")
        reader.pause()
        reader.resume()
        notes.wait_for("kept 3")


def test_a_recording_that_is_paused_stays_open_and_loses_nothing() -> None:
    hang = threading.Event()
    notes, source = Notes(), ScriptedSource([1.0, hang, 2.0, 3.0], is_live=False)
    with reading(notes, source, closes=False) as reader:
        notes.wait_for("kept 1")
        reader.pause()
        hang.set()
        notes.wait_for("kept 2")  # it was being read when the pause came
        assert source.closed == 0
        reader.resume()
        notes.wait_for("left")
    assert notes.told == ["opened", "kept 1", "kept 2", "kept 3", "lost over", "left"]


@pytest.mark.parametrize("closes", [True, False])
def test_retiring_ends_a_pause(closes: bool) -> None:
    notes = Notes()
    with reading(notes, ScriptedSource([1.0] * 1000), closes=closes) as reader:
        reader.pause()
    assert notes.told[-1] == "left"


def test_a_close_that_fails_is_not_the_end() -> None:
    class Stubborn(ScriptedSource):
        def close(self) -> None:
            raise OSError("the driver is confused")

    notes = Notes()
    with reading(notes, Stubborn([1.0, BROKEN]), ScriptedSource([2.0])):
        notes.wait_for("kept 2")


def test_a_source_that_cannot_even_be_made_is_a_failure_that_is_told() -> None:
    notes, sources = Notes(), iter([ScriptedSource([1.0])])
    tries = iter([True, False])

    def make() -> Source:
        if next(tries):
            raise RuntimeError("out of ideas")
        return next(sources)

    reader = Reader("cam", make, notes, closes=True)
    reader.start()
    notes.wait_for("left")
    assert reader.join(10)
    assert notes.told[0] == "lost unexpected RuntimeError: out of ideas"
    assert notes.told[1:] == ["opened", "kept 1", "lost over", "left"]
