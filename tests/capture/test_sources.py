from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from streamqa.capture import sources as sources_module
from streamqa.capture.buffer import FrameBuffer
from streamqa.capture.source import Picture, Source, SourceFacts, SourceSpec, make_source
from streamqa.capture.sources import Sources
from streamqa.capture.supervisor import Ends
from streamqa.errors import ConfigError, StreamQAError
from streamqa.metrics import Metrics
from streamqa.records import SourceStatus
from streamqa.types import Frame, utc_now

from .conftest import numbered

S = 10**9


class Ticking:
    """A camera that gives a picture every 10 ms, or hangs when it is told to."""

    is_live = True

    def __init__(self, spec: SourceSpec) -> None:
        self.facts = SourceFacts(codec=spec.url)
        self.begin_ns = 0
        self.closed = threading.Event()
        self.hang = threading.Event()
        self.free = threading.Event()

    def open(self) -> None:
        self.begin_ns = time.monotonic_ns()

    def read(self, wanted_ns: int = 0) -> Picture:
        if self.hang.is_set():
            self.free.wait(60)
        time.sleep(0.01)
        return Picture(time.monotonic_ns() - self.begin_ns, utc_now(), "arrival", lambda: numbered(1))

    def close(self) -> None:
        self.closed.set()


class Line:
    """Sources over a buffer from which everything is taken."""

    def __init__(self) -> None:
        self.metrics, self.made = Metrics(), list[Ticking]()
        self.buffer = FrameBuffer(self.metrics, stays=True)
        self.frames, self.statuses = list[Frame](), list[SourceStatus]()
        ends = Ends(self.buffer, self.statuses.append, self.metrics)
        self.sources = Sources(ends, lambda source: [10_000_000], self.make)

    def make(self, spec: SourceSpec) -> Source:
        if not spec.url.startswith("ticking"):
            return make_source(spec)
        self.made.append(Ticking(spec))
        return self.made[-1]

    def get(self, source: str, count: int) -> list[Frame]:
        """So many more frames of a source."""
        end_s, found = time.monotonic() + 10, list[Frame]()
        while len(found) < count:
            assert time.monotonic() < end_s
            frames = self.buffer.take(len, 0.1)
            self.frames += frames
            found += [frame for frame in frames if frame.source == source]
        return found

    def told(self, source: str) -> list[tuple[str, str]]:
        return [(status.state, status.reason) for status in self.statuses if status.source == source]

    def series(self) -> str:
        return repr([sample for family in self.metrics.registry.collect() for sample in family.samples])


@pytest.fixture
def line() -> Iterator[Line]:
    one = Line()
    one.sources.start()
    yield one
    for made in one.made:
        made.free.set()
    one.sources.stop(time.monotonic() + 5)


def ticking(name: str, more: str = "") -> SourceSpec:
    return SourceSpec(name, f"ticking{more}")


def test_sources_come_and_go(line: Line) -> None:
    line.sources.add(ticking("a"))
    line.sources.add(ticking("b"))
    line.get("a", 2)
    line.get("b", 2)
    assert [(one.id, one.state, one.is_live) for one in line.sources.infos()] == [
        ("a", "live", True),
        ("b", "live", True),
    ]
    line.sources.remove("a")
    assert line.made[0].closed.is_set()
    assert [one.id for one in line.sources.infos()] == ["b"]
    assert line.told("a") == [("connecting", ""), ("live", ""), ("ended", "removed")]
    assert "'a'" not in line.series()
    assert "'b'" in line.series()
    assert line.sources.get("a") is None
    line.get("b", 2)


def test_one_that_comes_back_goes_on_where_it_was(line: Line) -> None:
    line.sources.add(ticking("a"))
    before = line.get("a", 3)
    line.sources.remove("a")
    before += [frame for frame in line.buffer.take(len, 0) if frame.source == "a"]
    line.sources.add(ticking("a"))
    after = line.get("a", 3)
    assert after[0].index > before[-1].index
    assert after[0].t_ns > before[-1].t_ns
    ((begin, end),) = after[0].pauses
    assert before[-1].t_ns < begin < end <= after[0].t_ns


def test_a_change_takes_the_place_and_the_time(line: Line) -> None:
    line.sources.add(ticking("a"))
    before = line.get("a", 3)
    line.sources.change(ticking("a", "?other"))
    after = line.get("a", 3)
    frames = [frame for frame in line.frames if frame.source == "a"]
    assert [frame.t_ns for frame in frames] == sorted({frame.t_ns for frame in frames})
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    assert after[0].index > before[-1].index
    assert after[0].pauses == ()
    assert line.told("a") == [("connecting", ""), ("live", ""), ("connecting", "changed"), ("live", "")]
    assert line.sources.infos()[0].facts.codec == "ticking?other"


def test_a_wrong_change_changes_nothing(line: Line) -> None:
    line.sources.add(ticking("a"))
    with pytest.raises(ConfigError, match="unknown scheme"):
        line.sources.change(SourceSpec("a", "gopher://admin:s3cret@h/x"))
    with pytest.raises(ConfigError, match="unknown scheme"):
        line.sources.add(SourceSpec("b", "gopher://admin:s3cret@h/x"))
    line.get("a", 3)
    assert line.told("a") == [("connecting", ""), ("live", "")]


def test_mistakes_are_told_in_one_line(line: Line) -> None:
    line.sources.add(ticking("a"))
    with pytest.raises(ConfigError, match="'a' is there already"):
        line.sources.add(ticking("a"))
    for call in (line.sources.remove, line.sources.pause, line.sources.resume):
        with pytest.raises(ConfigError, match=r"'x': there is no such source; there are: a$"):
            call("x")
    with pytest.raises(ConfigError, match="no such source"):
        line.sources.change(ticking("x"))
    line.sources.remove("a")
    with pytest.raises(ConfigError, match="there are: none"):
        line.sources.pause("a")
    line.sources.stop(time.monotonic() + 1)
    with pytest.raises(StreamQAError, match="has stopped"):
        line.sources.add(ticking("b"))


def test_ids_are_bounded(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources_module, "MOST_IDS", 2)
    line.sources.add(ticking("a"))
    line.sources.add(ticking("b"))
    line.sources.remove("a")
    with pytest.raises(ConfigError, match="2 ids were in use"):
        line.sources.add(ticking("c"))
    line.sources.add(ticking("a"))


def test_one_that_hangs_is_left_behind_and_its_id_can_be_used_again(line: Line) -> None:
    line.sources.add(ticking("a"))
    line.get("a", 1)
    hung = line.made[-1]
    hung.hang.set()
    began = time.monotonic()
    line.sources.remove("a", timeout_s=0.1)
    assert time.monotonic() - began < 2
    assert line.told("a")[-1] == ("ended", "removed")
    line.sources.add(ticking("a"))
    frames = line.get("a", 2)
    hung.free.set()
    assert hung.closed.wait(5), "whoever opened it closes it"
    frames += line.get("a", 3)
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    assert line.told("a")[-1] == ("live", "")
    assert not line.buffer.exhausted


def test_a_pause_is_no_trouble_and_stays_through_a_change(line: Line) -> None:
    line.sources.add(ticking("a"))
    line.get("a", 2)
    line.sources.pause("a")
    assert line.made[0].closed.wait(5)
    line.sources.change(ticking("a", "?other"))
    assert line.sources.infos()[0].state == "paused"
    line.sources.resume("a")
    frames = line.get("a", 2)
    assert len(frames[-1].pauses) == 1
    assert [state for state, _ in line.told("a")] == [
        "connecting", "live", "paused", "paused", "connecting", "live"
    ]  # fmt: skip


def test_what_comes_of_a_removed_source_is_not_counted_for_long(line: Line) -> None:
    line.sources.add(ticking("a"))
    line.sources.remove("a")
    line.metrics.answers.labels("a", "person", "ok").inc()  # it was in the model
    line.sources.check(time.monotonic_ns(), datetime.now(UTC))
    assert "'a'" not in line.series()


def test_adding_and_removing_at_once_disturbs_nobody(line: Line) -> None:
    line.sources.add(ticking("steady"))

    def churn(name: str) -> None:
        for _ in range(10):
            line.sources.add(ticking(name))
            line.sources.pause(name)
            line.sources.change(ticking(name, "?other"))
            line.sources.remove(name)

    threads = [threading.Thread(target=churn, args=(f"c{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    frames = line.get("steady", 30)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert [one.id for one in line.sources.infos()] == ["steady"]
    assert line.told("steady") == [("connecting", ""), ("live", "")]
    assert [frame.t_ns for frame in frames] == sorted(frame.t_ns for frame in frames)


def test_before_the_start_sources_only_wait() -> None:
    line = Line()
    line.sources.add(ticking("a"))
    line.sources.add(ticking("b"))
    line.sources.remove("a")
    line.sources.pause("b")
    assert line.told("b") == [("paused", "paused by request")]
    line.sources.start()
    line.sources.resume("b")
    line.get("b", 1)
    line.sources.stop(time.monotonic() + 5)
