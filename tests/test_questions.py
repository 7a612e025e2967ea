from dataclasses import replace
from typing import Any, get_args

import pytest

from streamqa.conditions import AlertRule, parse_condition, parse_follow
from streamqa.errors import ConfigError
from streamqa.questions import ASK_LIMIT, check_question, check_together, question_problems, together_problems
from streamqa.types import NS_PER_S, Kind, Question

SPECIAL = "<|endoftext|> <|md_reserved_0|> {question} %s \\n </s>"


def question(kind: str, **fields: Any) -> Question:
    if kind == "choice":
        fields.setdefault("choices", ("red", "dark blue", "green"))
    return Question(**{"id": "q", "ask": "What is it?", "kind": kind, "every_ns": NS_PER_S} | fields)


# check_question


@pytest.mark.parametrize("kind", sorted(get_args(Kind)))
def test_good_questions_pass(kind: str) -> None:
    check_question(question(kind, ask=SPECIAL))
    check_question(question(kind, ask="Two\nlines\tand a tab é 人 🙂 " + "x" * 1900))


def test_a_caption_needs_no_words() -> None:
    check_question(question("caption", ask=""))


@pytest.mark.parametrize(
    ("wrong", "field", "part"),
    [
        ({"ask": " \n"}, "ask", "empty"),
        ({"ask": "x" * 10_000}, "ask", f"10,000 characters, the limit is {ASK_LIMIT:,}"),
        ({"ask": "a\x00b"}, "ask", "U+0000"),
        ({"ask": "a\x9bb"}, "ask", "U+009B"),
        ({"ask": "a\udc80b"}, "ask", "U+DC80"),
        ({"choices": ("a", "b")}, "choices", "not for kind text"),
        ({"kind": "choice", "choices": ()}, "choices", "0 given"),
        ({"kind": "choice", "choices": ("one",)}, "choices", "1 given"),
        ({"kind": "choice", "choices": tuple(map(str, range(101)))}, "choices", "101 given"),
        (
            {"kind": "choice", "choices": ("Dark  blue", "red", " dark Blue")},
            "choices",
            "the same as 'Dark  blue'",
        ),
        ({"kind": "choice", "choices": ("red", " ")}, "choices", "blank"),
        ({"kind": "choice", "choices": ("red", "x" * 201)}, "choices", "201 characters"),
        ({"kind": "choice", "choices": ("red", "b\x1blue")}, "choices", "U+001B"),
        ({"kind": "number", "max": 0}, "max", "1…100"),
        ({"kind": "number", "max": 101}, "max", "1…100"),
        ({"max_tokens": 0}, "max_tokens", "no room"),
        ({"decide": "mean"}, "decide", "'mean' says nothing of kind text; use one of latest, majority"),
        ({"decide": "any"}, "decide", "kind text"),
        ({"kind": "boxes", "decide": "majority"}, "decide", "kind boxes"),
        ({"kind": "number", "decide": "all"}, "decide", "kind number"),
        ({"kind": "caption", "decide": "k_of_n", "k_of_n": (1, 2)}, "decide", "kind caption"),
        ({"kind": "yes_no", "decide": "k_of_n", "k_of_n": (3, 2)}, "k_of_n", "1 <= k <= n"),
        ({"kind": "yes_no", "decide": "k_of_n", "k_of_n": (0, 2)}, "k_of_n", "1 <= k <= n"),
        (
            {"kind": "yes_no", "decide": "k_of_n", "k_of_n": (1, 3), "window_ns": 2 * NS_PER_S},
            "window",
            "the 3",
        ),
    ],
)
def test_mistakes_are_named(wrong: dict[str, Any], field: str, part: str) -> None:
    bad = Question(**{"id": "q", "ask": "What?", "kind": "text", "every_ns": NS_PER_S} | wrong)
    (problem,) = question_problems(bad)
    assert problem.field == field
    assert part in problem.message
    with pytest.raises(ConfigError) as caught:
        check_question(bad)
    assert str(caught.value) == f"question 'q': {field}: {problem.message}"
    assert "\n" not in str(caught.value)


def test_all_mistakes_come_at_once() -> None:
    bad = question("number", ask="", choices=("a",), decide="any", max=1000)
    assert {p.field for p in question_problems(bad)} == {"ask", "choices", "decide", "max"}


def test_k_of_n_needs_no_window_or_one_long_enough() -> None:
    good = question("yes_no", decide="k_of_n", k_of_n=(3, 5))
    check_question(good)
    check_question(replace(good, window_ns=5 * NS_PER_S))


def rule(when: str, **fields: Any) -> AlertRule:
    return AlertRule(**{"name": "a", "when": parse_condition(when)} | fields)


@pytest.mark.parametrize(
    ("wrong", "field", "part"),
    [
        ({"kind": "text", "above": 0.5}, "above", "no scores"),
        ({"kind": "choice", "below": 0.5}, "below", "`above` alone"),
        ({"kind": "yes_no", "above": 0.4, "below": 0.6}, "above", "less than below"),
        ({"kind": "yes_no", "max_words": 5}, "max_words", "text and captions"),
        ({"kind": "yes_no", "look": "storyboard"}, "look", "window of 2 slides"),
        ({"kind": "points", "look": "storyboard", "window_ns": 5 * NS_PER_S}, "look", "one picture"),
        ({"kind": "yes_no", "alerts": (rule("red"),)}, "alert", "write yes or no"),
        ({"kind": "yes_no", "alerts": (rule(">= 3"),)}, "alert", "compares sizes"),
        ({"kind": "choice", "alerts": (rule("pink"),)}, "alert", "none of the choices"),
        ({"kind": "choice", "alerts": (rule("!= pink"),)}, "alert", "none of the choices"),
        ({"kind": "number", "alerts": (rule("many"),)}, "alert", "no number"),
        ({"kind": "number", "max": 4, "alerts": (rule("> 4"),)}, "alert", "never holds of 0…4"),
        ({"kind": "boxes", "alerts": (rule(">= 1", above=0.5),)}, "alert", "no confidence"),
        ({"kind": "yes_no", "alerts": (rule("changed", hold_ns=1),)}, "alert", "a moment"),
        ({"kind": "yes_no", "alerts": (rule("changed", k_of_n=(2, 3)),)}, "alert", "a moment"),
        ({"kind": "yes_no", "alerts": (rule("yes"), rule("no"))}, "alert", "two are called 'a'"),
    ],
)
def test_thresholds_looks_and_alerts(wrong: dict[str, Any], field: str, part: str) -> None:
    (problem,) = question_problems(question(**wrong))
    assert problem.field == field
    assert part in problem.message


@pytest.mark.parametrize(
    ("kind", "when"),
    [
        ("text", "on fire"),
        ("points", ">= 2"),
        ("number", "<= 0"),
        ("choice", "Dark Blue"),
        ("caption", "changed"),
    ],
)
def test_alerts_that_can_be(kind: str, when: str) -> None:
    check_question(question(kind, alerts=(rule(when),)))


def follow(name: str, after: str | None, kind: str = "yes_no", **fields: Any) -> Question:
    return question(kind, id=name, only_if=parse_follow(after) if after else None, **fields)


def test_follow_ups_that_are_right() -> None:
    check_together([follow("b", "a"), follow("a", None), follow("c", "n >= 2"), follow("n", "b", "number")])


@pytest.mark.parametrize(
    ("questions", "wrong", "part"),
    [
        ([follow("a", "b")], {"a"}, "no question 'b'; there are: a"),
        ([follow("a", "a")], {"a"}, "a circle, a -> a"),
        ([follow("a", "b"), follow("b", "c"), follow("c", "a")], {"a", "b", "c"}, "a circle"),
        ([follow("d", "a"), follow("a", "b"), follow("b", "a")], {"a", "b", "d"}, "a circle"),
        ([follow("a", "n"), follow("n", None, "number")], {"a"}, "is a number; say which value"),
        ([follow("a", "n red"), follow("n", None, "number")], {"a"}, "no number"),
        ([follow("a", "b", sources=("x",)), follow("b", None, sources=("y",))], {"a"}, "none of its sources"),
    ],
)
def test_follow_ups_that_would_never_be_asked(questions: list[Question], wrong: set[str], part: str) -> None:
    found = together_problems(questions)
    assert {name for name, _ in found} == wrong
    assert any(part in problem.message for _, problem in found)
    with pytest.raises(ConfigError, match="if: "):
        check_together(questions)
