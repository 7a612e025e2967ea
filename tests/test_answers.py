import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.answers import (
    ANSWER_KINDS,
    clean_text,
    error_reading,
    number_word,
    prompt_for,
    read_answer,
)
from streamqa.types import NS_PER_S, Box, Generation, Kind, Option, Point, Question

SPECIAL = "<|endoftext|> <|md_reserved_0|> {question} %s \\n </s>"


def question(kind: str, **fields: Any) -> Question:
    if kind == "choice":
        fields.setdefault("choices", ("red", "dark blue", "green"))
    return Question(**{"id": "q", "ask": "What is it?", "kind": kind, "every_ns": NS_PER_S} | fields)


def scored(*probs: float, text: str = "") -> Generation:
    return Generation(text=text, tokens=0, finish="scored", option_probs=probs)


def said(text: str, **fields: Any) -> Generation:
    return Generation(**{"text": text, "tokens": 3, "finish": "eos", "logprob": math.log(0.5)} | fields)


def test_every_kind_has_an_entry() -> None:
    assert set(ANSWER_KINDS) == set(get_args(Kind))


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("text", "query"),
        ("yes_no", "query"),
        ("choice", "query"),
        ("number", "query"),
        ("caption", "caption"),
        ("points", "point"),
        ("boxes", "detect"),
    ],
)
def test_the_prompt_carries_the_question_as_it_is(kind: str, task: str) -> None:
    prompt = prompt_for(question(kind, ask=SPECIAL, max_tokens=7))
    assert (prompt.text, prompt.task) == (SPECIAL, task)
    assert bool(prompt.options) == (kind in ("yes_no", "choice", "number"))
    if task in ("query", "caption"):
        assert prompt.max_tokens == 7


def test_options_are_the_written_forms() -> None:
    assert prompt_for(question("yes_no")).options == (Option(True, ("Yes",)), Option(False, ("No",)))
    assert prompt_for(question("choice", choices=("red ", "Dark blue"))).options == (
        Option("red ", ("red",)),
        Option("Dark blue", ("Dark blue",)),
    )
    numbers = prompt_for(question("number", max=2)).options
    assert numbers == (Option(0, ("0", "zero")), Option(1, ("1", "one")), Option(2, ("2", "two")))
    assert len(prompt_for(question("number")).options) == 10
    assert prompt_for(question("number", max=101)).options[-1] == Option(101, ("101",))


def test_number_words() -> None:
    expected = {0: "zero", 13: "thirteen", 20: "twenty", 21: "twenty-one", 99: "ninety-nine"}
    assert {n: number_word(n) for n in expected} == expected
    assert (number_word(100), number_word(101), number_word(-1)) == ("one hundred", None, None)
    assert len({number_word(n) for n in range(101)}) == 101


def test_the_largest_score_is_the_value_and_the_confidence() -> None:
    reading = read_answer(question("yes_no"), scored(0.2, 0.6))
    assert (reading.value, reading.state, reading.reason, reading.text) == (False, "ok", "", "No")
    assert reading.mass == pytest.approx(0.8)
    assert dict(reading.scores) == pytest.approx({"yes": 0.25, "no": 0.75})
    assert reading.confidence == pytest.approx(0.75)


def test_choice_and_number_values() -> None:
    reading = read_answer(question("choice"), scored(0.1, 0.8, 0.05))
    assert (reading.value, reading.text) == ("dark blue", "dark blue")
    assert [name for name, _ in reading.scores] == ["red", "dark blue", "green"]
    number = read_answer(question("number", max=2), scored(0.0, 0.1, 0.9))
    assert (number.value, number.text) == (2, "2")
    assert [name for name, _ in number.scores] == ["0", "1", "2"]


def test_off_list_is_unsure_and_keeps_its_scores() -> None:
    reading = read_answer(question("yes_no"), scored(0.39, 0.1, text="A dog\x1b[31m "))
    assert (reading.value, reading.confidence, reading.state, reading.reason) == (
        None,
        None,
        "unsure",
        "off_list",
    )
    assert dict(reading.scores) == pytest.approx({"yes": 39 / 49, "no": 10 / 49})
    assert reading.mass == pytest.approx(0.49)
    assert reading.text == "A dog[31m"


def test_a_mass_of_exactly_half_is_on_the_list() -> None:
    assert read_answer(question("yes_no"), scored(0.5, 0.0)).state == "ok"
    assert read_answer(question("yes_no"), scored(math.nextafter(0.5, 0), 0.0)).state == "unsure"


def test_no_mass_at_all_is_unsure_without_scores() -> None:
    reading = read_answer(question("yes_no"), scored(0.0, -1e-9))
    assert (reading.state, reading.reason, reading.scores, reading.mass) == ("unsure", "off_list", (), 0.0)


def test_of_equal_scores_the_first_wins() -> None:
    assert read_answer(question("choice"), scored(0.2, 0.4, 0.4)).value == "dark blue"


@pytest.mark.parametrize(
    "probs", [(), (0.5,), (0.2, 0.3, 0.5), (math.nan, 0.5), (math.inf, 0.0), (-0.5, 1.0)]
)
def test_probabilities_that_are_none_are_an_error(probs: tuple[float, ...]) -> None:
    reading = read_answer(question("yes_no"), scored(*probs))
    assert (reading.value, reading.state) == (None, "error")
    assert reading.reason.startswith("model_error: 2 option probabilities expected")


@given(st.lists(st.floats(0, 0.1), min_size=10, max_size=10))
def test_the_rule_holds_for_any_probabilities(probs: list[float]) -> None:
    reading = read_answer(question("number"), scored(*probs))
    mass = math.fsum(probs)
    assert reading.mass == mass
    assert (reading.state == "ok") == (mass >= 0.5)
    if mass:
        assert math.fsum(score for _, score in reading.scores) == pytest.approx(1)
    if reading.state == "ok":
        assert isinstance(reading.value, int)
        assert probs[reading.value] == max(probs)
        assert probs.index(max(probs)) == reading.value
        assert reading.confidence == max(score for _, score in reading.scores)


@pytest.mark.parametrize("kind", sorted(ANSWER_KINDS))
def test_a_failed_prompt_is_an_error_of_one_line(kind: str) -> None:
    failed = Generation(text="", tokens=0, finish="error", error="too long:\n 3,000 tokens\x1b" + "x" * 300)
    reading = read_answer(question(kind), failed)
    assert (reading.value, reading.confidence, reading.state) == (None, None, "error")
    assert reading.reason.startswith("model_error: too long: 3,000 tokensx")
    assert len(reading.reason) == 200
    assert error_reading(" \n").reason == "model_error: no reason given"


@pytest.mark.parametrize("kind", ["text", "caption"])
def test_free_text_is_stripped_and_sure_by_its_mean_token_probability(kind: str) -> None:
    reading = read_answer(question(kind), said("  A man\x00 with\ta\n dog\x9b \x7f"))
    assert reading.value == reading.text == "A man with\ta\n dog"
    assert reading.confidence == pytest.approx(0.5)
    assert (reading.state, reading.scores, reading.mass) == ("ok", (), None)
    assert read_answer(question(kind), said("cut", finish="length")).state == "ok"


def test_a_model_that_says_nothing_is_unsure() -> None:
    reading = read_answer(question("text"), said(" \x07 "))
    assert (reading.value, reading.state, reading.reason) == (None, "unsure", "empty")


@pytest.mark.parametrize(("logprob", "confidence"), [(math.nan, None), (-math.inf, None), (1e-9, 1.0)])
def test_confidence_is_a_probability_or_none(logprob: float, confidence: float | None) -> None:
    assert read_answer(question("text"), said("x", logprob=logprob)).confidence == confidence


def test_points_and_boxes() -> None:
    point, box = Point(0.5, 0.25), Box(-0.1, 0.1, 0.4, 1.1)
    points = read_answer(question("points"), said("", points=(point,)))
    assert (points.value, points.state, points.confidence) == ((point,), "ok", pytest.approx(0.5))
    boxes = read_answer(question("boxes"), said("", boxes=(box, box), tokens=0))
    assert (boxes.value, boxes.state, boxes.confidence) == ((box, box), "ok", None)
    none = read_answer(question("boxes"), said(""))
    assert (none.value, none.state) == ((), "ok")


@pytest.mark.parametrize(
    ("kind", "found"),
    [("points", {"points": (Point(0.1, math.nan),)}), ("boxes", {"boxes": (Box(0, 0, math.inf, 1),)})],
)
def test_coordinates_that_are_not_finite_are_an_error(kind: str, found: dict[str, Any]) -> None:
    assert read_answer(question(kind), said("", **found)).state == "error"


@given(st.text())
def test_any_text_of_a_model_can_be_stored(text: str) -> None:
    clean = clean_text(text + "\ud800\x1b")
    clean.encode("utf-8")
    assert all(c >= " " or c in "\n\t" for c in clean)
    assert clean_text(clean) == clean


def test_a_family_of_models_is_told_what_it_needs_and_others_nothing() -> None:
    told = {
        kind: prompt_for(question(kind), "moondream2").text for kind in ("yes_no", "choice", "number", "text")
    }
    assert told == {
        "yes_no": "What is it?\nAnswer yes or no.",
        "choice": "What is it?\nChoose one of: red, dark blue, green.",
        "number": "What is it?\nAnswer with one number.",
        "text": "What is it?",
    }
    for kind in ("points", "boxes", "caption"):
        assert prompt_for(question(kind), "moondream2") == prompt_for(question(kind))
    assert prompt_for(question("choice"), "tiny").text == "What is it?"
    assert prompt_for(question("choice", choices=("{0}", "%s")), "moondream2").text.endswith("{0}, %s.")


def test_a_storyboard_is_introduced() -> None:
    asked = question("text", look="storyboard", window_ns=3 * NS_PER_S)
    assert prompt_for(asked).text == "What is it?"
    assert prompt_for(asked, "moondream2").text.endswith("taken. What is it?")


def test_max_words_bounds_what_is_generated_and_what_is_told() -> None:
    asked = question("text", max_words=3)
    prompt = prompt_for(asked, "moondream2")
    assert (prompt.text, prompt.max_tokens) == ("What is it?\nAnswer in at most 3 words.", 12)
    assert prompt_for(question("text", max_words=50)).max_tokens == 64
    assert prompt_for(question("caption", max_words=9)).length == "short"
    assert read_answer(asked, said("a red  car at night")).value == "a red car…"
    assert read_answer(asked, said("a red car")).value == "a red car"
