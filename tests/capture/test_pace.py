from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from streamqa.capture.pace import Realtime
from streamqa.capture.sampler import NEVER_NS, Sampler
from streamqa.capture.source import Picture
from streamqa.capture.video import FileSource
from streamqa.errors import SourceEnded, SourceError, SourceRefused, SourceUnavailable
from streamqa.types import utc_now

from .conftest import ScriptedSource, number_of

S = 10**9


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_ns += round(seconds * S)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    one = FakeTime()
    monkeypatch.setattr(time, "monotonic_ns", lambda: one.now_ns)
    monkeypatch.setattr(time, "sleep", one.sleep)
    return one


def pictures(source: Realtime, every_ns: int = 1) -> Iterator[Picture]:
    """Those that a question asks for; by default all."""
    sampler = Sampler([every_ns])
    while True:
        picture = source.read(sampler.wanted_ns)
        if picture is not None and sampler.keep(picture.t_ns):
            yield picture


def take(source: Realtime, count: int) -> list[Picture]:
    return list(islice(pictures(source), count))


def test_pictures_come_when_their_time_has_come(clip: Path) -> None:
    source = Realtime(FileSource(str(clip)), loop=False)
    source.open()
    begin = time.monotonic()
    for i, picture in enumerate(take(source, 10)):
        assert picture.t_ns == i * S // 15
        assert picture.clock == "arrival"
        assert picture.captured_at is not None
    assert 0.59 < time.monotonic() - begin < 2
    assert abs((utc_now() - picture.captured_at).total_seconds()) < 1
    source.close()


def test_only_what_is_wanted_is_read_and_comes_in_time(clip: Path, fake: FakeTime) -> None:
    source = Realtime(FileSource(str(clip)), loop=False)
    source.open()
    for i, picture in zip(range(6), pictures(source, S), strict=False):
        assert picture.t_ns == fake.now_ns == i * S
        assert number_of(picture.to_image()) == 15 * i
    assert max(fake.slept) == 0.5  # then it showed that it lives
    source.close()


def test_a_loop_begins_again_and_its_time_goes_on(fake: FakeTime) -> None:
    recording = ScriptedSource([0.0, 0.04, 0.08, SourceEnded("over"), 0.0, 0.04], is_live=False)
    source = Realtime(recording, loop=True)
    source.open()
    assert [picture.t_ns for picture in take(source, 5)] == [
        0,
        40_000_000,
        80_000_000,
        205_000_000,
        245_000_000,
    ]
    assert recording.closed == 1
    source.close()


def test_every_picture_of_a_loop_over_a_real_file(clip: Path, fake: FakeTime) -> None:
    source = Realtime(FileSource(str(clip)), loop=True)
    source.open()
    for i, picture in zip(range(200), pictures(source), strict=False):
        assert number_of(picture.to_image()) == i % 90
        assert round(picture.t_ns * 15 / S) == i
        assert abs(fake.now_ns - picture.t_ns) < 10
    source.close()


def test_a_loop_stays_exact_where_the_slide_does_not_divide_it(clip: Path, fake: FakeTime) -> None:
    """The clip takes 6 s; most ticks of 0.7 s lie in the last part of a turn, or just past its last picture."""
    source = Realtime(FileSource(str(clip)), loop=True)
    source.open()
    for i, picture in zip(range(60), pictures(source, 700_000_000), strict=False):
        frame = -(-i * 7 * 15 // 10)  # the first of 15 per second at or after the tick
        assert round(picture.t_ns * 15 / S) == frame
        assert number_of(picture.to_image()) == frame % 90
    source.close()


@pytest.mark.parametrize("end", [SourceEnded("a: end"), SourceUnavailable("a: damaged")])
def test_without_loop_any_end_is_the_end_once_the_last_picture_is_over(
    end: SourceError, fake: FakeTime
) -> None:
    source = Realtime(ScriptedSource([0.0, end]), loop=False)
    source.open()
    with pytest.raises(SourceEnded, match=str(end)):
        take(source, 2)
    assert fake.now_ns == S // 8


def test_nobody_wants_anything_and_it_ends_in_its_own_time(clip: Path, fake: FakeTime) -> None:
    source = Realtime(FileSource(str(clip)), loop=False)
    source.open()
    with pytest.raises(SourceEnded):
        any(iter(lambda: source.read(NEVER_NS), "a picture"))
    assert fake.now_ns == 6 * S


def test_an_empty_recording_is_not_looped_for_ever() -> None:
    source = Realtime(ScriptedSource([SourceRefused("a: not one picture")]), loop=True)
    source.open()
    with pytest.raises(SourceRefused):
        source.read()


def test_a_loop_over_nothing_takes_its_time(fake: FakeTime) -> None:
    source = Realtime(ScriptedSource([]), loop=True)
    source.open()
    assert [source.read() for _ in range(100)] == [None] * 100
    assert fake.now_ns == 50 * S // 25


def test_a_machine_that_is_too_slow_goes_on_from_where_it_is(fake: FakeTime) -> None:
    source = Realtime(ScriptedSource([0.0, 1.0, 2.0]), loop=False)
    source.open()
    take(source, 1)
    fake.now_ns = 4 * S  # three seconds late for the second
    assert [picture.t_ns for picture in take(source, 1)] == [S]
    assert fake.now_ns == 4 * S
    assert [picture.t_ns for picture in take(source, 1)] == [2 * S]
    assert fake.now_ns == 5 * S  # a second after the late one, not at once


def test_what_waits_is_left_for_what_is_wanted_later(clip: Path, fake: FakeTime) -> None:
    source = Realtime(FileSource(str(clip)), loop=False)
    source.open()
    assert source.read(2 * S) is None
    while (picture := source.read(4 * S)) is None:
        pass
    assert (picture.t_ns, fake.now_ns) == (4 * S, 4 * S)
    source.close()
