"""A supervisor seen from outside: frozen pictures, reads that hang for good, notes, pauses and hours."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streamqa.capture import backoff
from streamqa.capture.source import SourceFacts, SourceSpec
from streamqa.capture.supervisor import HUNG_S, MOST_BEHIND
from streamqa.errors import SourceUnavailable
from streamqa.hours import parse_hours

from .conftest import Rig, ScriptedSource

S = 10**9
MakeRig = Callable[..., Rig]
NIGHT = parse_hours("22:00-06:00 Europe/Rome")
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 25, 0, tzinfo=UTC)


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "backoff_s", lambda attempt, refused, jitter: 0.01)


def later(seconds: float) -> int:
    return time.monotonic_ns() + round(seconds * S)


def one_after_the_other(*sources: ScriptedSource) -> Callable[[SourceSpec], ScriptedSource]:
    following = iter(sources)
    return lambda spec: next(following)


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def test_pictures_that_do_not_change_are_a_warning_and_are_handed_over_all_the_same(rig: MakeRig) -> None:
    spec = SourceSpec("cam", "rtsp://cam/x", frozen_after_s=1e-6)
    wait, end = threading.Event(), threading.Event()
    source = ScriptedSource([1.0, 1.01, 1.02, 1.03, wait, 1.04, 2.0, end])  # each second looks different
    one = rig(spec, make=lambda spec: source)
    one.supervisor.start()
    until(lambda: one.metrics.frames_kept.labels("cam")._value.get() == 4)
    one.supervisor.check()
    assert one.states == ["connecting", "live", "frozen"]
    assert "still scene under heavy compression" in one.statuses[-1].reason
    assert one.metrics.source_frozen.labels("cam")._value.get() == 1
    assert one.metrics.source_live.labels("cam")._value.get() == 1
    wait.set()
    one.wait_for("frozen", "live")
    assert one.statuses[-1].reason == "the picture changes again"
    assert one.metrics.source_frozen.labels("cam")._value.get() == 0
    assert one.metrics.frames_kept.labels("cam")._value.get() == 6
    end.set()


def test_a_mask_over_all_that_moves_does_not_freeze_a_camera(rig: MakeRig) -> None:
    from streamqa.types import Box

    end = threading.Event()
    spec = SourceSpec("cam", "rtsp://cam/x", frozen_after_s=1e-6, masks=(Box(0, 0, 1, 1),))
    one = rig(spec, make=lambda spec: ScriptedSource([1.0, 2.0, 3.0, 4.0, end]))
    one.supervisor.start()
    until(lambda: one.metrics.frames_kept.labels("cam")._value.get() == 4)
    one.supervisor.check()
    assert one.states == ["connecting", "live"]
    end.set()


def test_reads_that_hang_for_good_are_left_behind_three_times_and_then_waited_for(rig: MakeRig) -> None:
    hangs = [threading.Event() for _ in range(MOST_BEHIND + 1)]
    sources = [ScriptedSource([float(n), hang, 50.0]) for n, hang in enumerate(hangs)]
    end = threading.Event()
    last = ScriptedSource([9.0, end])
    one = rig(make=one_after_the_other(*sources, last))
    one.supervisor.start()
    for count in range(1, MOST_BEHIND + 1):
        one.wait_for("live")
        assert sources[count - 1].hanging.wait(10)
        one.supervisor.check(later(HUNG_S - 1))
        assert one.states[-1] == "stalled"
        one.supervisor.check(later(HUNG_S))
        one.wait_for("reconnecting", "live")
        told = one.statuses[-2].reason
        assert told == f"a read hangs for 60 s; left behind ({count} of at most 3), connecting anew"
    assert one.metrics.reads_left_behind.labels("cam")._value.get() == MOST_BEHIND
    assert sources[-1].hanging.wait(10)
    for _ in range(3):
        one.supervisor.check(later(HUNG_S))
    assert one.states[-4:] == ["reconnecting", "live", "stalled", "stalled"]
    assert "hangs for 60 s, as 3 before it do" in one.statuses[-1].reason
    hangs[1].set()
    until(lambda: sources[1].closed == 1)
    assert sources[1].threads != sources[0].threads
    until(lambda: sum(thread.name == "capture-cam" for thread in threading.enumerate()) == MOST_BEHIND)
    one.supervisor.check(later(HUNG_S))
    one.wait_for("reconnecting", "live")
    for hang in hangs:
        hang.set()
    until(lambda: all(source.closed == 1 for source in sources))
    assert one.states[-1] == "live"
    assert not one.buffer.exhausted, "what was left behind must not end its successor"
    frames = one.buffer.take(len, 0)
    assert [frame.index for frame in frames] == [MOST_BEHIND + 1], "nothing of what hung"
    end.set()


def test_a_recording_that_hangs_is_waited_for(rig: MakeRig) -> None:
    hang = threading.Event()
    one = rig(make=lambda spec: ScriptedSource([0.0, hang, 1.0], is_live=False))
    one.supervisor.start()
    one.wait_for("live")
    one.supervisor.check(later(10 * HUNG_S))
    hang.set()
    assert len(one.all_frames()) == 2


@pytest.mark.usefixtures("no_backoff")
def test_a_note_becomes_one_record_also_over_reconnects(rig: MakeRig) -> None:
    wait, end = threading.Event(), threading.Event()
    sources = [
        ScriptedSource([0.0, 1.0, wait, 2.0, SourceUnavailable("gone")]),
        ScriptedSource([5.0, 6.0, None, end]),
    ]
    for source in sources:
        source.facts = SourceFacts(note="decoded on the CPU: no GPU here")
    one = rig(make=one_after_the_other(*sources))
    one.supervisor.start()
    one.wait_for("connecting", "live", "live")
    assert one.statuses[-1].reason == "decoded on the CPU: no GPU here"
    sources[0].facts = SourceFacts(note="timestamps jumped by 7 s")
    wait.set()
    until(lambda: one.metrics.frames_kept.labels("cam")._value.get() == 5)
    reasons = [status.reason for status in one.statuses if status.state == "live"]
    assert reasons.count("timestamps jumped by 7 s") == 1
    assert one.supervisor.facts.note == "decoded on the CPU: no GPU here"
    end.set()


def test_a_pause_by_request(rig: MakeRig) -> None:
    hang, end = threading.Event(), threading.Event()
    sources = [ScriptedSource([0.0, hang, 1.0]), ScriptedSource([0.0, end])]
    one = rig(make=one_after_the_other(*sources))
    one.supervisor.start()
    first = one.frames(1)[0]
    one.supervisor.pause()
    one.supervisor.pause()
    assert (one.states[-1], one.statuses[-1].reason) == ("paused", "paused by request")
    hang.set()  # a read comes back: too late
    until(lambda: sources[0].closed == 1)
    one.supervisor.check(later(1000))
    assert one.states == ["connecting", "live", "paused"]
    assert one.metrics.source_live.labels("cam")._value.get() == 0
    one.supervisor.resume()
    (second,) = one.frames(1)
    assert one.states == ["connecting", "live", "paused", "connecting", "live"]
    ((begin, finish),) = second.pauses
    assert first.t_ns < begin < finish <= second.t_ns
    assert (first.index, second.index) == (0, 1)
    end.set()


def test_hours_pause_and_resume_a_camera(rig: MakeRig) -> None:
    end = threading.Event()
    sources = [ScriptedSource([0.0, *[None] * 10**6]), ScriptedSource([0.0, end])]
    one = rig(SourceSpec("cam", "x", when=NIGHT), make=one_after_the_other(*sources))
    one.supervisor.start()
    one.supervisor.check(wall=MIDNIGHT)
    one.frames(1)
    one.supervisor.check(wall=NOON)
    assert one.states[-1] == "paused"
    assert one.statuses[-1].reason == "outside of 22:00-06:00 Europe/Rome"
    until(lambda: sources[0].closed == 1)
    one.supervisor.pause()
    assert one.statuses[-1].reason == "paused by request"
    one.supervisor.check(wall=MIDNIGHT)
    assert one.states[-1] == "paused", "both must agree"
    one.supervisor.resume()
    one.supervisor.check(wall=MIDNIGHT)
    one.wait_for("live")
    end.set()


def test_a_pause_before_the_first_connection_counts_from_the_start(rig: MakeRig) -> None:
    end = threading.Event()
    source = ScriptedSource([0.0, end])
    one = rig(make=lambda spec: source)
    one.supervisor.pause()
    one.supervisor.start()
    assert one.states == ["paused"]
    assert source.threads == set()
    one.supervisor.resume()
    (frame,) = one.frames(1)
    ((begin, finish),) = frame.pauses
    assert 0 == begin < finish <= frame.t_ns
    end.set()


def test_stopping_a_camera_that_is_paused(rig: MakeRig) -> None:
    one = rig(make=lambda spec: ScriptedSource([0.0, *[None] * 10**6]))
    one.supervisor.start()
    one.frames(1)
    one.supervisor.pause()
    assert one.supervisor.stop(5)
    assert one.states[-2:] == ["paused", "ended"]


def test_a_recording_waits_in_a_pause_has_no_hours_and_loses_nothing(rig: MakeRig, clip: Path) -> None:
    one = rig(SourceSpec("cam", str(clip), when=NIGHT), every_s=0.2)
    one.supervisor.start()
    one.supervisor.check(wall=NOON)
    frames = one.frames(3)
    one.supervisor.pause()
    assert one.states[-1] == "paused"
    one.supervisor.resume()
    frames += one.all_frames()
    assert [frame.t_ns for frame in frames] == [i * S // 5 for i in range(30)]
    assert {frame.pauses for frame in frames} == {()}
    assert one.states == ["connecting", "live", "paused", "connecting", "live", "ended"]
