from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.conditions import AlertRule, Condition, Follow, parse_condition, parse_follow
from streamqa.types import Point


@pytest.mark.parametrize(
    ("text", "holds", "not_of"),
    [
        ("yes", [True], [False, None, 1, "no"]),
        ("No", [False], [True, None, 0]),
        ("red", ["red", "Red "], ["blue", None]),
        ("dark  blue", ["dark blue"], ["blue"]),
        ("3", [3, 3.0], [2, None, "4"]),
        (">= 3", [3, 4, 3.5], [2, 2.9, True, None, "many"]),
        ("> 2", [3], [2]),
        ("<= 1", [0, 1], [2]),
        ("<1", [0], [1]),
        ("!= open", ["closed"], ["open", "Open", None]),
        ("!=0", [1], [0]),
        ("== 2", [2], [1]),
        (">= 2", [(Point(0, 0), Point(1, 1))], [(Point(0, 0),), ()]),
    ],
)
def test_conditions_hold(text: str, holds: list[Any], not_of: list[Any]) -> None:
    condition = parse_condition(text)
    assert [value for value in holds if not condition.holds(value)] == []
    assert [value for value in not_of if condition.holds(value)] == []


def test_changed_holds_at_a_change_only() -> None:
    condition = parse_condition(" Changed ")
    assert condition.holds("anything", changed=True)
    assert not condition.holds("anything", changed=False)
    assert not condition.holds(None, changed=True)


@pytest.mark.parametrize(
    ("text", "words"), [("", "empty"), ("  ", "empty"), (">= many", "no number"), (">=", "is no number")]
)
def test_conditions_that_are_none(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_condition(text)


@given(st.text(max_size=20))
def test_what_can_be_read_is_written_so_that_it_reads_the_same(text: str) -> None:
    try:
        condition = parse_condition(text)
    except ValueError:
        return
    assert parse_condition(str(condition)) == condition


def test_follow_ups() -> None:
    assert parse_follow("person") == Follow("person", Condition("is", "yes"))
    assert parse_follow(" cars  >= 2") == Follow("cars", Condition(">=", "2"))
    assert str(parse_follow("gate open")) == "gate open"
    for wrong in ("", "gate changed"):
        with pytest.raises(ValueError, match=r"empty|moment"):
            parse_follow(wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"above": 0.0}, "above"),
        ({"above": 1.1}, "above"),
        ({"hold_ns": -1}, "negative"),
        ({"cooldown_ns": -1}, "negative"),
        ({"k_of_n": (3, 2)}, "k_of_n"),
        ({"k_of_n": (0, 2)}, "k_of_n"),
        ({"name": ""}, "name"),
    ],
)
def test_rules_that_can_never_hold(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AlertRule(**{"name": "a", "when": Condition("is", "yes")} | wrong)
