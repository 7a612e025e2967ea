from typing import Any

import pytest

from streamqa.server import thinning
from streamqa.server.thinning import Thinner


def answer(t_s: float, value: Any = True, *, source: str = "gate", state: str = "ok") -> dict[str, Any]:
    return {
        "type": "answer", "question": "person", "source": source, "t_s": t_s, "state": state, "value": value,
        "changed": False,
    }  # fmt: skip


def passed(thinner: Thinner, payloads: list[dict[str, Any]]) -> list[float]:
    return [payload["t_s"] for payload in payloads if thinner.wants(payload)]


def test_at_most_one_in_an_interval() -> None:
    every = [answer(n / 10) for n in range(40)]
    assert passed(Thinner(False, 1.0), every) == [0, 1, 2, 3]
    assert passed(Thinner(False, 0.3), every[:10]) == [0, 0.3, 0.6, 0.9]


def test_each_pair_has_its_own_interval() -> None:
    thinner = Thinner(False, 5.0)
    assert thinner.wants(answer(1))
    assert thinner.wants(answer(1, source="yard"))
    assert not thinner.wants(answer(2))
    assert thinner.wants({"type": "source", "source": "gate"})


def test_a_stream_that_begins_anew_passes() -> None:
    assert passed(Thinner(False, 10.0), [answer(100), answer(3), answer(4)]) == [100, 3]


def test_with_changes_only_what_differs_from_what_was_given() -> None:
    said = [
        answer(0, True),
        answer(1, False),
        answer(2, True),
        answer(10, True),
        answer(11, False),
        answer(21, False),
    ]
    # The changes at 1 and 2 fall into the interval; at 10 all is as it was told; 11 is the first to differ.
    assert passed(Thinner(True, 5.0), said) == [0, 11]


def test_a_change_within_the_interval_is_told_by_the_first_answer_after_it() -> None:
    said = [answer(0, True), *(answer(n, False) for n in range(1, 9))]
    assert passed(Thinner(True, 5.0), said) == [0, 5]


def test_between_the_thresholds_nothing_stands_after_an_error() -> None:
    error, between = answer(0, None, state="error"), answer(1, None, state="unsure") | {"reason": "between"}
    assert passed(Thinner(True, 0.0), [error, between, {**between, "t_s": 2}]) == [0, 1]


def test_between_the_thresholds_and_places_that_move_are_no_change() -> None:
    between = answer(6, None, state="unsure") | {"reason": "between"}
    assert passed(Thinner(True, 5.0), [answer(0), between, answer(12), answer(18, False)]) == [0, 18]
    places = [answer(6 * n, [{"x": n / 10, "y": 0.5}] * (1 + n // 2)) for n in range(4)]
    assert passed(Thinner(True, 5.0), places) == [0, 12]


def test_a_state_is_something_else_than_a_value() -> None:
    said = [answer(0, None, state="unsure"), answer(6, None, state="error"), answer(12, None, state="error")]
    assert passed(Thinner(True, 5.0), said) == [0, 6]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "_MOST", 3)
    thinner = Thinner(False, 100.0)
    for n in range(10):
        assert thinner.wants(answer(1, source=f"s{n}"))
    assert len(thinner._given) == 3
