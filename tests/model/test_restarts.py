import signal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.model.restarts import Backoff, Limits, Pace, how_it_died, last_words, work_units
from streamqa.types import Option, Prompt, Request


def test_waits_double_up_to_the_longest_and_begin_anew_after_a_steady_minute() -> None:
    backoff = Backoff(Limits())
    assert [backoff.after(1.0, 1.0) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert backoff.after(60.0, 1.0) == 0.5
    assert backoff.after(59.9, 1.0) == 1.0


@given(st.integers(1, 2000), st.floats(0, 1))
def test_a_wait_is_spread_over_its_upper_half(deaths: int, chance: float) -> None:
    backoff = Backoff(Limits())
    for _ in range(min(deaths, 40)):
        wait_s = backoff.after(0, chance)
    assert 0.25 <= wait_s <= 30


def test_patience_grows_with_the_load() -> None:
    assert Limits().patience(0) == 15
    assert Limits().patience(20) == 55
    assert Limits().patience(3000) == 300
    assert [Limits().reload(first_s) for first_s in (1, 20, 3000)] == [120, 400, 3600]


def test_a_hang_is_judged_by_the_slowest_answer_of_late() -> None:
    pace = Pace(Limits())
    pace.learn(units=0, took_s=0.001)  # a check
    assert pace.limit_s(1) == pace.limit_s(1000) == 600
    pace.learn(units=2, took_s=0.1)
    assert pace.limit_s(2) == 60
    pace.learn(units=5, took_s=50)  # 10 s a unit
    pace.learn(units=5, took_s=1)
    assert (pace.limit_s(0), pace.limit_s(5), pace.limit_s(50)) == (60, 1000, 10_000)
    for _ in range(32):
        pace.learn(units=5, took_s=1)
    assert pace.limit_s(50) == 200


def test_work_is_pictures_prompts_and_what_may_be_said() -> None:
    image = np.zeros((1, 1, 3), np.uint8)
    scored = Prompt("a", options=(Option(True, ("Yes",)),))
    assert work_units([]) == 0
    assert work_units([Request(image, (scored, scored)), Request(None, (scored,))]) == 4
    assert work_units([Request(image, (Prompt("a", max_tokens=768),))]) == 98
    assert work_units([Request(image, (scored,), check_only=True)]) == 0


@pytest.mark.parametrize(
    ("code", "told", "words"),
    [
        (-signal.SIGKILL, "CUDA error", "was killed (SIGKILL), probably out of memory"),
        (-signal.SIGABRT, "terminate\n  what(): CUDA error: x\nbye\n", "died of SIGABRT: what(): CUDA error: x"),
        (-signal.SIGSEGV, "", "died of SIGSEGV"),
        (-250, "", "died of signal 250"),
        (7, "Traceback\nMemoryError: too much\n", "ended with exit code 7: MemoryError: too much"),
        (0, "loading\rdone", "ended with exit code 0: done"),
        (None, "", "does not end, although it was killed"),
    ],
)  # fmt: skip
def test_how_a_process_died(code: int | None, told: str, words: str) -> None:
    assert how_it_died(code, told).startswith(words)


@given(st.text())
def test_last_words_are_one_short_line(told: str) -> None:
    words = last_words(told)
    assert len(words) <= 160
    assert len(words.splitlines()) <= 1
