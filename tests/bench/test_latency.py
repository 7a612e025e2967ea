import pytest

from streamqa.bench.fixed import Call
from streamqa.bench.latency import Busy
from streamqa.bench.subscriber import Seen

MS = 1_000_000
OFFSET = 1_000_000_000 * MS  # wall clock - monotonic clock


def seen(received_ms: float, answered_ms: float, parsed_ms: float) -> Seen:
    """As it comes over the wire, where `answered_at` has whole milliseconds."""
    answered_utc_ns = OFFSET + int(answered_ms) * MS
    return Seen(round(parsed_ms * MS), "cam", "q", 0, 0, answered_utc_ns, answered_ms - received_ms, "ok")


def beyond_ms(calls: list[tuple[float, float]], answer: Seen) -> float:
    busy = Busy((Call(round(a * MS), round(b * MS), 1) for a, b in calls), OFFSET)
    return busy.beyond_ns(answer) / MS


def test_an_idle_model_s_own_time_does_not_count() -> None:
    assert beyond_ms([(102, 122.7)], seen(100, 122.7, 125)) == pytest.approx(2 + 2.3)


def test_waiting_for_frames_before_is_the_model_s_time_too() -> None:
    """Busy from 90 to 110 with others while the frame, here at 100, waits; 1 ms passes before its own batch."""
    assert beyond_ms([(50, 80), (90, 110), (111, 131.4)], seen(100, 131.4, 134.4)) == pytest.approx(1 + 3)


def test_what_the_model_does_after_the_answer_counts_against_us() -> None:
    calls = [(100, 120), (120.5, 140)]
    assert beyond_ms(calls, seen(100, 120, 130)) == pytest.approx(10)


def test_a_model_that_costs_nothing_takes_nothing_off() -> None:
    assert beyond_ms([(101, 101), (300, 300)], seen(100, 101, 103)) == pytest.approx(3)


def test_no_call_no_answer() -> None:
    with pytest.raises(ValueError, match="never called"):
        Busy([], 0)
