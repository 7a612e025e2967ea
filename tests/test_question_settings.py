from typing import Any

import pytest
from pydantic import ValidationError

from streamqa.conditions import Condition, Follow
from streamqa.question_settings import QuestionConfig
from streamqa.types import NS_PER_S


def config(**given: Any) -> QuestionConfig:
    return QuestionConfig.model_validate({"ask": "?", "kind": "yes_no", **given})


def test_everything_comes_through() -> None:
    question = config(
        above=0.8, below=0.3, window="5s", decide="mean", look="storyboard",
        **{"for": "2s", "if": "cars >= 2"},
        alert={
            "when": "yes", "above": 0.9, "for": "3s", "k_of_n": [3, 5], "cooldown": "1m", "severity": "critical",
            "hours": "22:00-06:00 Europe/Rome",
        },
    ).question("person")  # fmt: skip
    assert (question.above, question.below, question.hold_ns, question.look) == (
        0.8,
        0.3,
        2 * NS_PER_S,
        "storyboard",
    )
    assert question.only_if == Follow("cars", Condition(">=", "2"))
    (rule,) = question.alerts
    assert (rule.name, rule.when, rule.above, rule.severity) == (
        "person",
        Condition("is", "yes"),
        0.9,
        "critical",
    )
    assert (rule.hold_ns, rule.cooldown_ns, rule.k_of_n) == (3 * NS_PER_S, 60 * NS_PER_S, (3, 5))
    assert str(rule.hours) == "22:00-06:00 Europe/Rome"


def test_several_alerts_have_names_of_their_own() -> None:
    rules = config(alert=[{"when": "yes"}, {"when": "no", "name": "away"}, {"when": "changed"}]).rules(
        "person"
    )
    assert [rule.name for rule in rules] == ["person", "away", "person-3"]
    assert config().rules("person") == ()


@pytest.mark.parametrize(
    ("written", "when"), [(True, "yes"), (False, "no"), (3, "3"), (2.5, "2.5"), (">= 3", ">= 3")]
)
def test_conditions_as_json_would_write_them(written: Any, when: str) -> None:
    assert str(config(alert={"when": written}).rules("q")[0].when) == when


@pytest.mark.parametrize(
    "wrong",
    [
        {"above": 0}, {"above": 1}, {"below": -0.1}, {"alert": {}}, {"alert": []}, {"alert": {"when": None}},
        {"alert": {"when": "yes", "k_of_n": [5, 3]}}, {"alert": {"when": "yes", "severity": "bad"}},
        {"alert": [{"when": "yes"}] * 17}, {"if": 3}, {"if": ""}, {"max_words": 0}, {"look": "film"}, {"hold": "3s"},
        {"variants": ["x"] * 17},
    ],
)  # fmt: skip
def test_what_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**wrong)


def test_what_was_given_makes_it_again() -> None:
    first = config(**{"if": "gate open", "for": "3s"}, alert={"when": ">= 3", "for": "1m"}, above=0.7)
    given = first.given()
    assert given["if"] == "gate open"
    assert given["for"] == "3s"
    assert given["alert"] == {"when": ">= 3", "for": "1m"}
    assert QuestionConfig.model_validate(given) == first
