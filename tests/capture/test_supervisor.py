from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streamqa.capture import backoff
from streamqa.capture.source import SourceSpec
from streamqa.errors import ConfigError, SourceRefused, SourceUnavailable, StreamQAError
from streamqa.types import Box, Point, Zone

from .conftest import Rig, ScriptedSource, number_of

S = 10**9
MakeRig = Callable[..., Rig]
BROKEN = SourceUnavailable("rtsp://admin:s3cret@cam/x: gone")


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "backoff_s", lambda attempt, refused, jitter: 0.01)


def one_after_the_other(*sources: ScriptedSource) -> Callable[[SourceSpec], ScriptedSource]:
    following = iter(sources)
    return lambda spec: next(following)


def test_a_recording_gives_all_its_frames_and_ends(rig: MakeRig, clip: Path) -> None:
    one = rig(str(clip), every_s=0.2)
    assert not one.supervisor.is_live
    one.supervisor.start()
    frames = one.all_frames()
    assert [number_of(frame.image) for frame in frames] == list(range(0, 90, 3))
    assert [frame.t_ns for frame in frames] == [i * S // 5 for i in range(30)]
    assert [frame.index for frame in frames] == list(range(30))
    assert one.states == ["connecting", "live", "ended"]
    assert one.supervisor.failure is None
    assert one.supervisor.latest is frames[-1]
    assert one.metrics.frames_kept.labels("cam")._value.get() == 30


def test_only_the_zone_without_what_is_masked_leaves_a_source(rig: MakeRig, clip: Path) -> None:
    zone = Zone((Point(0.5, 0), Point(1, 0), Point(1, 0.5), Point(0.5, 0.5)))
    # the blocks of the four higher bits; the highest is hidden
    spec = SourceSpec("cam", str(clip), zone=zone, masks=(Box(0.875, 0, 1, 1),), detail="fast")
    one = rig(spec, every_s=0.2)
    one.supervisor.start()
    frames = one.all_frames()
    assert {frame.image.shape for frame in frames} == {(48, 80, 3)}
    assert {frame.detail for frame in frames} == {"fast"}
    bits = [[int(b > 128) for b in frame.image[..., 1].reshape(48, 4, 20).mean((0, 2))] for frame in frames]
    assert bits == [[number >> 4 & 1, number >> 5 & 1, number >> 6 & 1, 0] for number in range(0, 90, 3)]
    assert not any(frame.image[:, 60:].any() for frame in frames)


def test_a_damaged_recording_is_a_failure_after_all_its_frames(
    rig: MakeRig, clip: Path, tmp_path: Path
) -> None:
    data = clip.read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) * 2 // 3])
    one = rig(str(tmp_path / "a.mp4"), every_s=0.2)
    one.supervisor.start()
    assert len(one.all_frames()) > 10
    assert one.states == ["connecting", "live", "ended"]
    assert "missing at the end" in str(one.supervisor.failure)
    assert "missing at the end" in one.statuses[-1].reason


def test_a_recording_that_is_not_there_is_refused_once(rig: MakeRig, tmp_path: Path) -> None:
    one = rig(str(tmp_path / "no.mp4"))
    one.supervisor.start()
    assert one.all_frames() == []
    assert one.states == ["connecting", "refused"]
    assert isinstance(one.supervisor.failure, SourceRefused)
    assert one.supervisor.stop()
    assert one.states == ["connecting", "refused"]


def test_an_unknown_url_is_told_before_anything_starts(rig: MakeRig) -> None:
    with pytest.raises(ConfigError, match="unknown scheme"):
        rig("gopher://admin:s3cret@h/x")


@pytest.mark.usefixtures("no_backoff")
def test_a_camera_that_breaks_comes_back_and_its_time_goes_on(rig: MakeRig) -> None:
    sources = [ScriptedSource([0.0, 5.0, BROKEN]), ScriptedSource([BROKEN]), ScriptedSource([0.0, 1.0])]
    sources[1].open_error = BROKEN
    one = rig(make=one_after_the_other(*sources))
    seen: list[int] = []
    put = one.buffer.put

    def watched(frame: object, stop: threading.Event | None = None) -> None:
        seen.append(frame.t_ns)  # type: ignore[attr-defined]
        put(frame, stop)  # type: ignore[arg-type]

    one.buffer.put = watched  # type: ignore[method-assign]
    one.supervisor.start()
    one.wait_for("connecting", "live", "reconnecting", "live", "ended")
    assert seen == sorted(seen)
    assert seen[0] < seen[1]
    assert one.supervisor.latest is not None
    assert one.supervisor.latest.t_ns >= 5 * S
    assert [source.closed for source in sources] == [1, 1, 1]
    assert one.metrics.reconnects.labels("cam")._value.get() == 2
    assert "s3cret" not in repr(one.statuses)


@pytest.mark.usefixtures("no_backoff")
def test_everything_of_a_container_happens_in_one_thread(rig: MakeRig) -> None:
    sources = [ScriptedSource([0.0, BROKEN]), ScriptedSource([0.0])]
    one = rig(make=one_after_the_other(*sources))
    one.supervisor.start()
    one.wait_for("ended")
    threads = sources[0].threads | sources[1].threads
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_a_refusal_is_a_state_and_stopping_does_not_wait_for_the_next_try(rig: MakeRig) -> None:
    source = ScriptedSource([])
    source.open_error = SourceRefused("cam: wrong password (401)")
    one = rig(make=lambda spec: source)
    one.supervisor.start()
    one.wait_for("connecting", "refused")
    begin = time.monotonic()
    assert one.supervisor.stop(5)
    assert time.monotonic() - begin < 2
    assert one.states == ["connecting", "refused", "ended"]
    assert one.statuses[-1].reason == "stopped"


def test_a_read_that_hangs_is_seen_from_outside(rig: MakeRig) -> None:
    hang, end = threading.Event(), threading.Event()
    source = ScriptedSource([0.0, hang, 1.0, end])
    one = rig(make=lambda spec: source)
    one.supervisor.start()
    one.wait_for("connecting", "live")
    now = time.monotonic_ns()
    one.supervisor.check(now + 4 * S)
    assert one.states == ["connecting", "live"]
    one.supervisor.check(now + 6 * S)
    one.supervisor.check(now + 9 * S)
    assert one.states == ["connecting", "live", "stalled"]
    assert one.statuses[-1].reason == "no frame for 5 s"
    assert one.metrics.source_live.labels("cam")._value.get() == 0
    one.supervisor.check()  # by the real clock all is well, but only a frame may say so
    assert one.states == ["connecting", "live", "stalled"]
    hang.set()
    one.wait_for("stalled", "live")
    assert one.metrics.source_live.labels("cam")._value.get() == 1
    end.set()


def test_a_camera_that_never_gives_a_first_frame_is_stalled_too(rig: MakeRig) -> None:
    hang = threading.Event()
    one = rig(SourceSpec("cam", "x", stall_after_s=2), make=lambda spec: ScriptedSource([hang]))
    one.supervisor.start()
    one.wait_for("connecting")
    one.supervisor.check(time.monotonic_ns() + 3 * S)
    assert one.states == ["connecting", "stalled"]
    hang.set()


def test_a_recording_is_never_stalled(rig: MakeRig) -> None:
    hang = threading.Event()
    one = rig(make=lambda spec: ScriptedSource([0.0, hang], is_live=False))
    one.supervisor.start()
    one.wait_for("connecting", "live")
    one.supervisor.check(time.monotonic_ns() + 100 * S)
    hang.set()
    assert len(one.all_frames()) == 1
    assert one.states == ["connecting", "live", "ended"]


def test_a_thread_that_hangs_is_left_behind_and_gives_nothing_any_more(rig: MakeRig) -> None:
    hang = threading.Event()
    one = rig(make=lambda spec: ScriptedSource([0.0, hang, 1.0]))
    one.supervisor.start()
    one.wait_for("connecting", "live")
    assert len(one.frames(1)) == 1
    assert not one.supervisor.stop(0.05)
    assert one.buffer.exhausted
    hang.set()
    assert one.supervisor.stop(5)
    assert one.buffer.take(len, 0) == []
    assert one.supervisor.latest is not None
    assert one.supervisor.latest.t_ns < S


def test_stopping_a_recording_that_waits_for_room(rig: MakeRig) -> None:
    one = rig(make=lambda spec: ScriptedSource([float(i) for i in range(100)], is_live=False))
    one.supervisor.start()
    one.wait_for("connecting", "live")
    assert one.supervisor.stop(5)
    assert len(one.buffer.take(len, 0)) <= 16  # the buffer's capacity


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("is_live", [True, False])
def test_a_bug_is_reported_and_does_not_end_a_camera(
    rig: MakeRig, caplog: pytest.LogCaptureFixture, is_live: bool
) -> None:
    caplog.set_level("DEBUG", "streamqa.capture.reader")
    sources = [
        ScriptedSource([0.0, ZeroDivisionError("in rtsp://a:s3cret@h/x")], is_live),
        ScriptedSource([0.0]),
    ]
    one = rig(make=one_after_the_other(*sources))
    one.supervisor.start()
    if is_live:
        one.wait_for("connecting", "live", "reconnecting", "live", "ended")
    else:
        one.wait_for("connecting", "live", "ended")
        assert "ZeroDivisionError" in str(one.supervisor.failure)
    assert any("ZeroDivisionError" in status.reason for status in one.statuses)
    assert "s3cret" not in repr(one.statuses) + caplog.text
    assert "ZeroDivisionError" in caplog.text  # at level debug: tracebacks only with --debug
    assert {record.levelname for record in caplog.records} == {"DEBUG"}


def test_when_nothing_can_be_reported_the_source_stops(clip: Path, rig: MakeRig) -> None:
    one = rig(str(clip))
    one.log_failure = StreamQAError("the log is closing")
    one.supervisor.start()
    assert one.all_frames() == []
    assert one.supervisor.stop(5)


def test_latest_wins_for_live_sources(rig: MakeRig) -> None:
    one = rig(make=lambda spec: ScriptedSource([float(i) for i in range(50)]))
    one.supervisor.start()
    one.wait_for("ended")
    assert [frame.t_s for frame in one.buffer.take(len, 0)] == pytest.approx([49], abs=1)
    assert one.metrics.frames_dropped.labels("cam")._value.get() == 49


def test_what_it_gives_keeps_and_how_late_it_comes_is_counted(rig: MakeRig) -> None:
    source = ScriptedSource([0.0, 0.1, 0.2, 0.3, 1.0])
    source.delay_ns = S // 4
    one = rig(every_s=0.2, make=one_after_the_other(source))
    one.supervisor.start()
    one.wait_for("connecting", "live", "ended")

    def value(name: str, **labels: str) -> float | None:
        return one.metrics.registry.get_sample_value(f"streamqa_{name}", labels)

    assert value("pictures_read_total", source="cam") == 5
    assert value("frames_kept_total", source="cam") == value("frame_convert_seconds_count") == 3
    assert value("frame_delay_seconds_count", source="cam") == 3
    assert value("frame_delay_seconds_sum", source="cam") == 0.75
