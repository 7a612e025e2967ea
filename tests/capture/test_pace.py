from __future__ import annotations

import time
from pathlib import Path

import pytest

from streamqa.capture.pace import Realtime
from streamqa.capture.video import FileSource
from streamqa.errors import SourceEnded, SourceError, SourceRefused, SourceUnavailable
from streamqa.types import utc_now

from .conftest import ScriptedSource, number_of

S = 10**9


def test_pictures_come_when_their_time_has_come(clip: Path) -> None:
    source = Realtime(FileSource(str(clip)), loop=False)
    source.open()
    begin = time.monotonic()
    for i in range(10):
        picture = source.read()
        late_s = time.monotonic() - begin - i / 15
        assert -0.01 < late_s < 0.5
        assert picture.t_ns == i * S // 15
        assert number_of(picture.to_image()) == i
        assert picture.clock == "arrival"
        assert picture.captured_at is not None
        assert abs((utc_now() - picture.captured_at).total_seconds()) < 1
    source.close()


def test_a_loop_begins_again_and_its_time_goes_on() -> None:
    turns = [ScriptedSource([0.0, 0.04, 0.08], is_live=False)]
    recording = turns[0]
    source = Realtime(recording, loop=True)
    source.open()
    times = [source.read().t_ns for _ in range(3)]
    recording._steps = iter([0.0, 0.04])
    recording_end = SourceEnded("over")
    recording._steps = iter([recording_end, 0.0, 0.04])
    times += [source.read().t_ns for _ in range(2)]
    assert times == [0, 40_000_000, 80_000_000, 120_000_000, 160_000_000]
    assert recording.closed == 1
    source.close()


def test_a_loop_over_a_real_file(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    source = Realtime(FileSource(str(clip)), loop=True)
    source.open()
    pictures = [source.read() for _ in range(200)]
    assert [number_of(p.to_image()) for p in pictures] == [i % 90 for i in range(200)]
    assert [round(p.t_ns * 15 / S) for p in pictures] == list(range(200))
    source.close()


@pytest.mark.parametrize("end", [SourceEnded("a: end"), SourceUnavailable("a: damaged")])
def test_without_loop_any_end_is_the_end(end: SourceError) -> None:
    source = Realtime(ScriptedSource([0.0, end]), loop=False)
    source.open()
    source.read()
    with pytest.raises(SourceEnded, match=str(end)):
        source.read()


def test_an_empty_recording_is_not_looped_for_ever() -> None:
    source = Realtime(ScriptedSource([SourceRefused("a: not one picture")]), loop=True)
    source.open()
    with pytest.raises(SourceRefused):
        source.read()


def test_a_machine_that_is_too_slow_goes_on_from_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0]
    slept: list[float] = []
    monkeypatch.setattr(time, "monotonic_ns", lambda: now[0])
    monkeypatch.setattr(time, "sleep", slept.append)
    source = Realtime(ScriptedSource([0.0, 1.0, 2.0]), loop=False)
    source.open()
    source.read()
    now[0] = 4 * S  # three seconds late for the second
    assert source.read().t_ns == S
    assert source.read().t_ns == 2 * S
    assert slept == [1.0]  # a second after the late one, not at once


def test_the_time_of_a_looped_single_picture_goes_on() -> None:
    class Single(ScriptedSource):
        def open(self) -> None:
            super().open()
            self._steps = iter([0.0])

    source = Realtime(Single([0.0], is_live=False), loop=True)
    source.open()
    assert [source.read().t_ns for _ in range(4)] == [0, S // 25, 2 * S // 25, 3 * S // 25]
