"""The clocks of simulated cameras and machines, driven by scripts and by chance."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.capture.clock import LiveClock, Stamp, WallWatch

S = 10**9
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def walls(steps: list[float], slew: float = 0.0) -> list[float | None]:
    """What a watch says, told once a second, while the wall clock is set by `steps`, one for each second."""
    watch = WallWatch()
    wall, said = NOON, []
    for second, step_s in enumerate(steps):
        wall += timedelta(seconds=1 + slew + step_s)
        said.append(watch.step(second * S, wall))
    return said


@pytest.mark.parametrize("step_s", [1.2, -1.2, 3600.0, -3600.0])
def test_a_wall_clock_that_was_set_is_told_once_with_its_size(step_s: float) -> None:
    said = walls([0, 0, step_s, 0, 0])
    assert said[:2] == said[3:] == [None, None]
    assert said[2] == pytest.approx(step_s)


@given(st.lists(st.floats(-0.9, 0.9), min_size=2, max_size=30))
def test_small_corrections_are_not_told(steps: list[float]) -> None:
    assert set(walls(steps)) == {None}


def test_a_clock_that_is_slewed_is_never_told() -> None:
    assert set(walls([0.0] * 5000, slew=500e-6)) == {None}


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_every_step_is_told_with_its_own_size(steps: list[float]) -> None:
    for said, step_s in list(zip(walls(steps), steps, strict=True))[1:]:
        if abs(abs(step_s) - 1) > 1e-3:
            assert (said is not None) == (abs(step_s) > 1)
        if said is not None:
            assert said == pytest.approx(step_s, abs=1e-4)


@dataclass
class Camera:
    """A camera that captures at an even pace; every packet knows the truth."""

    fps: float = 25.0
    seconds: float = 10.0
    rate: float = 1.0  # of its timestamps, against true time
    base_s: float = 100.0  # its timestamp at time 0
    latency_s: float = 0.05
    jitter_s: float = 0.0
    stalls: tuple[tuple[float, float], ...] = ()  # nothing arrives from..to, then all at once
    jumps: tuple[tuple[float, float], ...] = ()  # (at, by): timestamps from then on
    seed: int = 0
    t0_ns: int = 10**15  # our monotonic clock at time 0

    def packets(self) -> Iterator[tuple[int, int, float]]:
        """(timestamp in ns, arrival in ns of our monotonic clock, true capture in s), in order of arrival."""
        rng = random.Random(self.seed)
        last_s = 0.0
        for number in range(int(self.seconds * self.fps)):
            true_s = number / self.fps
            there_s = true_s + self.latency_s + rng.random() * self.jitter_s
            for begin_s, end_s in self.stalls:
                if begin_s <= there_s < end_s:
                    there_s = end_s
            last_s = there_s = max(last_s + 1e-4, there_s)
            pts_s = self.base_s + true_s * self.rate + sum(by for at, by in self.jumps if true_s >= at)
            yield round(pts_s * S), self.t0_ns + round(there_s * S), true_s


def wall_at(monotonic_ns: int, camera: Camera) -> datetime:
    return NOON + timedelta(microseconds=(monotonic_ns - camera.t0_ns) // 1000)


def stamped(camera: Camera, clock: LiveClock | None = None) -> list[tuple[float, Stamp, float]]:
    """(true capture in s, stamp, error of its wall time in s) of each packet, decoded as soon as it arrives."""
    clock = LiveClock(camera.t0_ns) if clock is None else clock
    found = []
    for pts_ns, arrival_ns, true_s in camera.packets():
        clock.packet(pts_ns, arrival_ns)
        stamp = clock.stamp(pts_ns, arrival_ns, wall_at(arrival_ns, camera))
        found.append((true_s, stamp, (stamp.captured_at - NOON).total_seconds() - true_s))
    return found


def check(camera: Camera, within_s: float, after_s: float = 0.0, clock: LiveClock | None = None) -> LiveClock:
    """All stamps are consistent; from `after_s` on wall times are right, but for the latency nobody can know."""
    clock = LiveClock(camera.t0_ns) if clock is None else clock
    last_ns = 0
    for true_s, stamp, error_s in stamped(camera, clock):
        assert stamp.t_ns >= last_ns, "stream time went back"
        assert stamp.delay_ns >= 0
        last_ns = stamp.t_ns
        if true_s >= after_s:
            assert -within_s <= error_s - camera.latency_s <= within_s, (true_s, error_s)
            assert abs(stamp.t_ns / S - true_s - camera.latency_s) <= within_s, (true_s, stamp)
    return clock


@given(
    fps=st.sampled_from([1.0, 5.0, 12.5, 25.0, 60.0]),
    jitter_s=st.floats(0, 0.3),
    rate=st.floats(1 - 200e-6, 1 + 200e-6),
    base_s=st.floats(-1e5, 1e6),
    seed=st.integers(0, 99),
)
def test_cameras_that_drift_and_networks_that_jitter(
    fps: float, jitter_s: float, rate: float, base_s: float, seed: int
) -> None:
    camera = Camera(fps, 100 / fps, rate, base_s, jitter_s=jitter_s, seed=seed)
    assert check(camera, jitter_s + 0.05).jumps == 0


@pytest.mark.parametrize("rate", [1 - 500e-6, 1 + 500e-6])
def test_drift_does_not_add_up(rate: float) -> None:
    check(Camera(5, 4000, rate, jitter_s=0.02), within_s=0.06)


@given(st.floats(1, 60), st.floats(0.1, 9), st.integers(0, 99))
def test_a_burst_after_a_stall_was_not_captured_just_now(at_s: float, length_s: float, seed: int) -> None:
    camera = Camera(25, at_s + length_s + 5, jitter_s=0.02, stalls=((at_s, at_s + length_s),), seed=seed)
    assert check(camera, within_s=0.05).jumps == 0
    worst_s = max(stamp.delay_ns for _, stamp, _ in stamped(camera)) / S
    assert worst_s == pytest.approx(length_s, abs=0.1)


def test_a_burst_at_a_join_is_seen_as_one_once_it_is_over() -> None:
    camera = Camera(30, 3, stalls=((0, 1.0),))  # the first second comes at once
    clock = LiveClock(camera.t0_ns)
    unsettled = 0
    for pts_ns, arrival_ns, _ in camera.packets():
        clock.packet(pts_ns, arrival_ns)
        unsettled += not clock.settled
    assert 25 < unsettled < 35
    now_ns = camera.t0_ns + 3 * S
    first = clock.stamp(round(camera.base_s * S), now_ns, wall_at(now_ns, camera))
    assert first.captured_at == NOON + timedelta(seconds=camera.latency_s)
    assert first.delay_ns == round((3 - camera.latency_s) * S)
    late = LiveClock(camera.t0_ns + S)  # it connected a second later: what came first is older than that
    for pts_ns, arrival_ns, _ in camera.packets():
        late.packet(pts_ns, max(arrival_ns, camera.t0_ns + S))
    assert late.time_of(round(camera.base_s * S), now_ns) == round((camera.latency_s - 1) * S)
    assert late.stamp(round(camera.base_s * S), now_ns, NOON).t_ns == 0


def test_a_join_that_is_no_burst_settles_with_the_second_packet() -> None:
    clock = LiveClock(0)
    clock.packet(0, 10)
    assert not clock.settled
    clock.packet(S // 25, 10 + S // 25)
    assert clock.settled


@given(st.floats(2, 20), st.floats(5.5, 1e5), st.sampled_from([-1, 1]), st.integers(0, 9))
def test_a_jump_begins_a_new_segment_and_stream_time_goes_on(
    at_s: float, by_s: float, sign: int, seed: int
) -> None:
    camera = Camera(25, at_s + 5, jitter_s=0.02, jumps=((at_s, sign * by_s),), seed=seed)
    assert check(camera, within_s=0.05).jumps == 1


@given(st.lists(st.floats(1, 30), min_size=1, max_size=4), st.floats(-9e4, 9e4))
def test_small_and_large_steps_never_make_stream_time_go_back(at_s: list[float], by_s: float) -> None:
    camera = Camera(25, 36, jitter_s=0.05, jumps=tuple((at, by_s) for at in at_s))
    last_ns = 0
    for _, stamp, error_s in stamped(camera):
        assert stamp.t_ns >= last_ns
        assert abs(error_s) < 5 * len(at_s) + 1
        last_ns = stamp.t_ns


@given(st.integers(5, 200), st.sampled_from([-36000.0, -7.0, 7.0, 36000.0]), st.integers(1, 2))
def test_single_absurd_timestamps_are_passed_over(at: int, off_s: float, count: int) -> None:
    camera = Camera(25, 10)
    clock = LiveClock(camera.t0_ns)
    for number, (pts_ns, arrival_ns, true_s) in enumerate(camera.packets()):
        pts_ns += round(off_s * S) if at <= number < at + count else 0
        clock.packet(pts_ns, arrival_ns)
        stamp = clock.stamp(pts_ns, arrival_ns, wall_at(arrival_ns, camera))
        assert (stamp.captured_at - NOON).total_seconds() - true_s == pytest.approx(0.05, abs=0.05)
    assert clock.jumps == 0


def test_a_camera_that_paused_with_its_clock_is_not_late_for_ever() -> None:
    camera = Camera(25, 60, jumps=((10, -8.0),))  # 8 s of time that timestamps leave out …
    clock = LiveClock(camera.t0_ns)
    for pts_ns, arrival_ns, true_s in camera.packets():
        if 10 <= true_s < 18:
            continue  # … in which nothing comes
        clock.packet(pts_ns, arrival_ns)
        stamp = clock.stamp(pts_ns, arrival_ns, wall_at(arrival_ns, camera))
        if true_s > 22:
            assert stamp.delay_ns < S // 10
    assert clock.jumps == 1


@pytest.mark.parametrize("rate", [0.2, 0.84, 0.96, 1.2, 5.0])
def test_timestamps_that_were_counted_at_a_wrong_rate_are_no_clock(rate: float) -> None:
    clock = check(Camera(25, 200, rate), within_s=0.1, after_s=125)
    assert clock.has_timestamps == (rate > 1)


def test_without_timestamps_it_is_the_arrival() -> None:
    clock = LiveClock(5 * S, has_timestamps=False)
    assert clock.settled
    clock.packet(7, 6 * S)
    assert clock.stamp(7, 6 * S, NOON) == Stamp(S, NOON, "arrival", 0)
    assert clock.stamp(None, 8 * S, NOON) == Stamp(3 * S, NOON, "arrival", 0)


def test_a_picture_without_timestamp_is_as_late_as_its_neighbours() -> None:
    camera = Camera(25, 8, stalls=((2, 6),))
    clock = LiveClock(camera.t0_ns)
    delays = []
    for pts_ns, arrival_ns, true_s in camera.packets():
        clock.packet(pts_ns, arrival_ns)
        if 2 < true_s < 5:
            delays.append(clock.stamp(None, arrival_ns, NOON).delay_ns / S - (6 - true_s - camera.latency_s))
    assert max(map(abs, delays)) < 0.05


def test_time_of_a_packet_is_the_time_that_its_picture_gets() -> None:
    camera = Camera(25, 5, jitter_s=0.1)
    clock = LiveClock(camera.t0_ns)
    last_ns = 0
    for pts_ns, arrival_ns, _ in camera.packets():
        clock.packet(pts_ns, arrival_ns)
        told_ns = clock.time_of(pts_ns, arrival_ns)
        last_ns = max(last_ns, told_ns)
        assert last_ns == clock.stamp(pts_ns, arrival_ns, NOON).t_ns


def reported(
    camera: Camera, wrong_s: Callable[[float], float], every_s: float = 1.0
) -> list[tuple[float, Stamp]]:
    """Stamps of a camera whose reports, one each `every_s`, are wrong by `wrong_s(true time)`."""
    clock = LiveClock(camera.t0_ns)
    found = []
    next_s = 0.0
    for pts_ns, arrival_ns, true_s in camera.packets():
        wall = wall_at(arrival_ns, camera)
        clock.packet(pts_ns, arrival_ns)
        if true_s >= next_s:
            next_s += every_s
            sent = NOON.timestamp() + true_s + wrong_s(true_s)
            clock.report(pts_ns, round(sent * 1e6), wall)
        found.append((true_s, clock.stamp(pts_ns, arrival_ns, wall)))
    return found


@given(st.floats(0, 0.9), st.floats(0, 0.5), st.integers(0, 9))
def test_the_senders_clock_knows_the_latency_too(latency_s: float, jitter_s: float, seed: int) -> None:
    camera = Camera(25, 5, latency_s=latency_s, jitter_s=jitter_s, stalls=((2, 4),), seed=seed)
    for true_s, stamp in reported(camera, lambda true_s: 0.0):
        assert stamp.clock == "rtcp"
        assert (stamp.captured_at - NOON).total_seconds() == pytest.approx(true_s, abs=1e-3)


@pytest.mark.parametrize("wrong_s", [-31.0, -5.0, 2.0, 3600.0, -3600.0, -1e9, 1e9, 4e9])
def test_an_absurd_clock_of_the_sender_is_not_believed(wrong_s: float) -> None:
    for true_s, stamp in reported(Camera(25, 8), lambda true_s: wrong_s):
        assert stamp.clock == "arrival"
        assert (stamp.captured_at - NOON).total_seconds() == pytest.approx(true_s + 0.05, abs=0.01)


def test_a_senders_clock_that_is_a_little_ahead_gives_no_picture_from_the_future() -> None:
    for true_s, stamp in reported(Camera(25, 5), lambda true_s: 0.8):
        assert stamp.clock == "rtcp"
        assert stamp.delay_ns == 0
        assert (stamp.captured_at - NOON).total_seconds() <= true_s + 0.051


@given(st.sampled_from([-20.0, -3.0, 1e6, -1e6]), st.integers(1, 2))
def test_single_absurd_reports_are_passed_over(wrong_s: float, count: int) -> None:
    for true_s, stamp in reported(
        Camera(25, 20), lambda true_s: wrong_s if 9.9 < true_s < 9.9 + count else 0.0
    ):
        assert stamp.clock == "rtcp"
        assert (stamp.captured_at - NOON).total_seconds() == pytest.approx(true_s, abs=1e-3)


@pytest.mark.parametrize(("wrong_s", "clock"), [(-2.0, "rtcp"), (-5.0, "arrival"), (1e6, "arrival")])
def test_a_senders_clock_that_was_set_is_followed_after_three_reports(wrong_s: float, clock: str) -> None:
    stamps = reported(Camera(25, 20), lambda true_s: wrong_s if true_s > 9.5 else 0.0)
    for true_s, stamp in stamps:
        error_s = (stamp.captured_at - NOON).total_seconds() - true_s
        if true_s < 12:
            assert stamp.clock == "rtcp"
            assert error_s == pytest.approx(0, abs=1e-3)
        elif true_s >= 13:
            assert stamp.clock == clock
            assert error_s == pytest.approx(wrong_s if clock == "rtcp" else 0.05, abs=0.01)


def test_reports_do_not_move_stream_time() -> None:
    camera = Camera(25, 20, jitter_s=0.1)
    told = [stamp.t_ns for _, stamp in reported(camera, lambda true_s: -20.0 * (true_s > 5))]
    assert told == [stamp.t_ns for _, stamp, _ in stamped(camera)]


def test_after_a_jump_old_reports_say_nothing() -> None:
    camera = Camera(25, 20, jumps=((9.5, -8.0),))
    for true_s, stamp in reported(camera, lambda true_s: 0.0, every_s=4):
        error_s = (stamp.captured_at - NOON).total_seconds() - true_s
        assert abs(error_s) < 0.2, true_s
        assert stamp.clock == ("arrival" if 9.5 <= true_s < 12 else "rtcp")


@pytest.mark.parametrize(
    ("wrong_s", "words"),
    [
        (-12.0, "its clock is 12 s behind this machine's: set both by NTP"),
        (3600.0, "its clock is 3600 s ahead of this machine's: set both by NTP"),
        (0.5, ""),
    ],
)
def test_a_senders_clock_that_is_wrong_is_told_always_in_the_same_words(wrong_s: float, words: str) -> None:
    camera = Camera(25, 5, jitter_s=0.1)
    clock = LiveClock(camera.t0_ns)
    for pts_ns, arrival_ns, true_s in camera.packets():
        clock.packet(pts_ns, arrival_ns)
        clock.report(pts_ns, round((NOON.timestamp() + true_s + wrong_s) * 1e6), wall_at(arrival_ns, camera))
        assert clock.note == words


def test_jumps_and_useless_timestamps_are_told_in_words() -> None:
    assert check(Camera(), 1).note == ""
    assert "jumped by more than 5 s" in check(Camera(25, 20, jumps=((5, 8.0), (10, -9.0))), 1).note
    assert check(Camera(25, 200, 0.9), 10).note == "its timestamps are no clock: times are those of arrival"
    assert LiveClock(0, has_timestamps=False).note == ""


def test_a_single_absurd_report_is_not_told_and_a_clock_that_was_set_right_is_told_no_more() -> None:
    camera = Camera(25, 6)
    clock = LiveClock(camera.t0_ns)
    told = {}
    for pts_ns, arrival_ns, true_s in camera.packets():
        wrong_s = -1e6 if true_s in (1.0, 3.0, 3.04, 3.08) else 0.0
        clock.packet(pts_ns, arrival_ns)
        sent_s = NOON.timestamp() + true_s + wrong_s
        clock.report(pts_ns, round(sent_s * 1e6), wall_at(arrival_ns, camera))
        told[true_s] = clock.note
    assert told[1.04] == ""
    assert "1000000 s behind" in told[3.08]
    assert told[5.0] == ""
