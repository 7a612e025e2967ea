from collections import Counter
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.engine.window import Window
from streamqa.types import Decision, Question, Reading, Value


def window(decide: str = "latest", window_ns: int = 10, **fields: Any) -> Window:
    fields.setdefault("kind", "yes_no")
    fields.setdefault("every_ns", 1)
    return Window(Question(id="q", ask="?", window_ns=window_ns, decide=decide, **fields))  # type: ignore[arg-type]


def ok(value: Value, confidence: float | None = 0.8) -> Reading:
    return Reading(value, confidence, "ok")


UNSURE = Reading(None, None, "unsure", "off_list")
FAILED = Reading(None, None, "error", "model_error: x")
Y, N = ok(True, 0.9), ok(False, 0.6)


def add(w: Window, t_ns: int, reading: Reading) -> Decision:
    """What is decided, but for the beginning of the run."""
    return replace(w.add(t_ns, reading), since_ns=None)


def last(w: Window, *readings: Reading) -> Decision:
    return [add(w, t, reading) for t, reading in enumerate(readings)][-1]


def test_window_zero_is_the_frames_own_reading() -> None:
    w = window(window_ns=0)
    assert add(w, 5, Y) == Decision(True, 0.9, "ok", "", 5, 1, 1)
    assert add(w, 6, UNSURE) == Decision(None, None, "unsure", "off_list", 6, 1, 0)
    assert add(w, 6, N) == Decision(False, 0.6, "ok", "", 6, 2, 1)


def test_the_interval_is_open_at_its_old_end() -> None:
    w = window("any", window_ns=10)
    assert w.add(0, Y).value is True
    assert add(w, 9, N) == Decision(True, 0.9, "ok", "", 0, 2, 1)
    assert add(w, 10, N) == Decision(False, 0.6, "ok", "", 9, 2, 2)


def test_time_does_not_go_back() -> None:
    w = window()
    w.add(5, Y)
    with pytest.raises(ValueError, match="from 5 to 4 ns"):
        w.add(4, Y)


@pytest.mark.parametrize("decide", ["latest", "majority", "any", "all"])
def test_readings_that_are_not_ok_do_not_vote(decide: str) -> None:
    assert last(window(decide), Y, UNSURE, FAILED) == Decision(True, 0.9, "ok", "", 0, 3, 1)
    assert last(window(decide), N, UNSURE, FAILED) == Decision(False, 0.6, "ok", "", 0, 3, 1)
    assert last(window(decide), UNSURE, FAILED) == Decision(None, None, "error", "model_error: x", 0, 2, 0)
    assert last(window(decide), FAILED, UNSURE) == Decision(None, None, "unsure", "off_list", 0, 2, 0)


def test_latest() -> None:
    assert last(window(), Y, N, Y, N, N) == Decision(False, pytest.approx(0.6), "ok", "", 0, 5, 3)


def test_majority_and_its_ties() -> None:
    assert last(window("majority"), Y, Y, N).value is True
    assert last(window("majority"), N, Y).value is True
    assert last(window("majority"), Y, N).value is False
    red, blue, green = ok("red"), ok("blue"), ok("green")
    assert last(window("majority", kind="choice"), red, blue, red, blue, green).value == "blue"


def test_any_and_all() -> None:
    assert last(window("any"), N, Y, N) == Decision(True, 0.9, "ok", "", 0, 3, 1)
    assert last(window("any"), N, N).value is False
    assert last(window("all"), Y, N, Y) == Decision(False, 0.6, "ok", "", 0, 3, 1)
    assert last(window("all"), Y, Y) == Decision(True, 0.9, "ok", "", 0, 2, 2)


def test_mean() -> None:
    decision = last(window("mean", kind="number"), ok(1, 0.5), UNSURE, ok(4, 0.7))
    assert decision == Decision(2.5, pytest.approx(0.6), "ok", "", 0, 3, 2)
    assert isinstance(last(window("mean", kind="number"), ok(2)).value, float)


def test_confidence_is_of_the_readings_that_have_one() -> None:
    assert last(window(kind="text"), ok("a", None), ok("a", 0.5)).confidence == 0.5
    assert last(window(kind="text"), ok("a", None)).confidence is None


def test_k_of_n() -> None:
    def decided(*readings: Reading) -> tuple[Value, str, str, int, int]:
        d = last(window("k_of_n", k_of_n=(2, 3), window_ns=0), *readings)
        return d.value, d.state, d.reason, d.frames, d.agree

    assert decided(Y) == (None, "unsure", "too_few", 1, 0)
    assert decided(N) == (None, "unsure", "too_few", 1, 0)
    assert decided(Y, Y) == (True, "ok", "", 2, 2)
    assert decided(N, N) == (False, "ok", "", 2, 2)
    assert decided(N, Y, N) == (False, "ok", "", 3, 2)
    assert decided(Y, Y, N, N) == (False, "ok", "", 3, 2)
    assert decided(Y, UNSURE, N) == (None, "unsure", "too_few", 3, 0)
    assert decided(Y, UNSURE, Y) == (True, "ok", "", 3, 2)
    assert decided(Y, FAILED, FAILED, FAILED) == (None, "error", "model_error: x", 3, 0)


def test_k_of_n_without_a_window_looks_back_n_times_every() -> None:
    w = window("k_of_n", k_of_n=(2, 3), window_ns=0, every_ns=10)
    w.add(0, Y)
    assert w.add(29, Y).value is True
    w = window("k_of_n", k_of_n=(2, 3), window_ns=0, every_ns=10)
    w.add(0, Y)
    assert w.add(30, Y).state == "unsure"
    w = window("k_of_n", k_of_n=(2, 3), window_ns=60, every_ns=10)
    w.add(0, Y)
    assert w.add(30, Y).value is True


def test_memory_is_the_windows() -> None:
    w = window("majority", window_ns=10)
    assert max(w.add(t, Y).frames for t in range(1000)) == 10
    w = window("k_of_n", k_of_n=(2, 3), window_ns=1000)
    assert max(w.add(t, Y).frames for t in range(1000)) == 3


confidences = st.none() | st.floats(0, 1)
streams = st.lists(st.integers(0, 8), min_size=1, max_size=30).map(
    lambda steps: [sum(steps[: i + 1]) for i in range(len(steps))]
)


def naive(decide: str, history: list[tuple[int, Reading]], length: int) -> Decision:
    """The docstring's rules again, from the whole history and without any state."""
    t = history[-1][0]
    inside = [(at, r) for at, r in history if t - length < at <= t]
    valid = [r for _, r in inside if r.state == "ok"]
    value: Value
    if not valid:
        newest = inside[-1][1]
        return Decision(None, None, newest.state, newest.reason, inside[0][0], len(inside), 0)
    agreeing = valid
    if decide == "mean":
        value = fmean(r.value for r in valid)  # type: ignore[arg-type]
    else:
        values = [r.value for r in valid]
        value = {
            "latest": values[-1],
            "majority": max(values, key=lambda v: (values.count(v), len(values) - values[::-1].index(v))),
            "any": True in values,
            "all": False not in values,
        }[decide]
        agreeing = [r for r in valid if r.value == value]
    sure = [r.confidence for r in agreeing if r.confidence is not None]
    confidence = fmean(sure) if sure else None
    return Decision(value, confidence, "ok", "", inside[0][0], len(inside), len(agreeing))


@pytest.mark.parametrize("decide", ["latest", "majority", "any", "all", "mean"])
@given(data=st.data(), times=streams, length=st.integers(0, 20))
def test_equals_a_naive_computation(decide: str, data: st.DataObject, times: list[int], length: int) -> None:
    values = {
        "mean": st.integers(0, 9),
        "any": st.booleans(),
        "all": st.booleans(),
    }.get(decide, st.sampled_from(["red", "blue", "green"]))
    readings = st.builds(ok, values, confidences) | st.sampled_from([UNSURE, FAILED])
    w = window(decide, window_ns=length, kind="number")
    history: list[tuple[int, Reading]] = []
    for t in times:
        history.append((t, data.draw(readings)))
        assert add(w, *history[-1]) == naive(decide, history, max(length, 1))


@given(st.lists(st.sampled_from([Y, N, UNSURE, FAILED]), min_size=1, max_size=30), st.data())
def test_k_of_n_never_contradicts_itself(readings: list[Reading], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 6))
    k = data.draw(st.integers(1, n))
    w = window("k_of_n", k_of_n=(k, n), window_ns=0)
    for t, reading in enumerate(readings):
        decision = w.add(t, reading)
        counts = Counter(r.value for r in readings[max(0, t - n + 1) : t + 1])
        assert (decision.value is True) == (counts[True] >= k)
        assert (decision.value is False) == (counts[False] > n - k)
