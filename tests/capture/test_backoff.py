from hypothesis import given
from hypothesis import strategies as st

from streamqa.capture.backoff import Backoff, backoff_s


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_backoff_grows_from_half_a_second_to_thirty_and_never_further(attempt: int, jitter: float) -> None:
    delay = backoff_s(attempt, False, jitter)
    assert 0.5 <= delay <= 30
    assert delay <= backoff_s(attempt + 1, False, jitter)
    assert backoff_s(attempt, True, jitter) == 60


def test_backoff_is_spread() -> None:
    assert [backoff_s(n, False, 0.0) for n in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert backoff_s(0, False, 0.5) == 0.75


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60), st.floats(0, 1, exclude_max=True))
def test_tries_are_never_further_apart_than_thirty_seconds_or_a_minute_after_a_refusal(
    failures: list[tuple[bool, bool]], jitter: float
) -> None:
    backoff = Backoff(lambda: jitter)
    for refused, steady in failures:
        delay = backoff.after(refused=refused, steady=steady)
        assert delay == 60 if refused else 0.5 <= delay <= 30
        if steady and not refused:
            assert delay <= 1


def test_who_asks_for_a_connection_gets_the_next_tries_soon() -> None:
    backoff = Backoff(lambda: 0.0)
    assert [backoff.after(refused=False, steady=False) for _ in range(3)] == [0.5, 1, 2]
    backoff.forget()
    assert backoff.after(refused=False, steady=False) == 0.5
