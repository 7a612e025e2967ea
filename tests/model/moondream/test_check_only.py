"""`Request.check_only`: what could not be answered is said when questions are configured, and nothing is computed."""

import re
from dataclasses import replace
from typing import Any

import pytest

from streamqa.model.moondream.model import Moondream
from streamqa.types import Generation, Option, Prompt, Request

ROOM = 96 - 17  # the toy's context less its image prefix
AROUND = 5  # ids around the words of a query: [1, 40, 2] before them, [3, 3] or [3, 4] after
FINE = Generation("", 0, "eos")
YES_NO = (Option(True, ("Yes",)), Option(False, ("No",)))


@pytest.fixture
def idle(toy: Moondream, monkeypatch: pytest.MonkeyPatch) -> Moondream:
    """A model that must not compute."""

    def computed(*_: Any, **__: Any) -> None:
        raise AssertionError("a check computes nothing")

    for part in (toy.network.vision, toy.network.text):
        monkeypatch.setattr(part, "forward", computed)
    monkeypatch.setattr(toy.network.text, "logits", computed)
    monkeypatch.setattr(toy.network.text, "embed", computed)
    return toy


def check(model: Moondream, *prompts: Prompt, image: Any = None) -> list[Generation]:
    (group,) = model.answer([Request(image, prompts, check_only=True)])
    assert len(group) == len(prompts)
    return group


def test_what_fits_is_an_empty_answer(idle: Moondream, toy_images: list[Any]) -> None:
    prompts = (
        Prompt("Is it?", options=YES_NO),
        Prompt("What is there?", max_tokens=20, draft="x" * 500),
        Prompt("", task="caption", max_tokens=20),
        Prompt("cat", task="detect"),
        Prompt("cat", task="point"),
        Prompt("Why?", task="reason", max_tokens=20),
    )
    # About a picture, also where none is given.
    for image in (None, toy_images[1]):
        assert check(idle, *prompts, image=image) == [FINE] * len(prompts)
    assert check(idle) == []


@pytest.mark.parametrize("words", [0, 10, 40])
def test_prompt_and_whole_answer_must_fit(idle: Moondream, words: int) -> None:
    most = ROOM - AROUND - words
    fits, over = (Prompt("u" * words, max_tokens=n) for n in (most, most + 1))
    good, bad = check(idle, fits, over)
    assert good == FINE
    assert (bad.finish, bad.text, bad.tokens) == ("error", "", 0)
    assert "\n" not in bad.error
    numbers = [int(n) for n in re.findall(r"\d+", bad.error)]
    assert ROOM in numbers
    assert {ROOM + 1} <= set(numbers) or {AROUND + words, most + 1} <= set(numbers)


def test_thoughts_and_answer_must_fit_with_the_suffix_between_them(idle: Moondream) -> None:
    words = (ROOM - AROUND - 1) % 2  # so that the rest is even
    most = (ROOM - AROUND - 1 - words) // 2
    good, bad = check(idle, *(Prompt("u" * words, task="reason", max_tokens=n) for n in (most, most + 1)))
    assert (good, bad.finish) == (FINE, "error")
    # One word more, and a thought or an answer of full length would be cut.
    assert check(idle, Prompt("u" * (words + 1), task="reason", max_tokens=most))[0].finish == "error"


def test_errors_are_of_their_own_prompt(idle: Moondream) -> None:
    long = Prompt("u" * 90, max_tokens=1)
    tasks: tuple[Any, ...] = ("query", "reason", "detect", "point")
    bad = [replace(long, task=task) for task in tasks]
    bad += [replace(long, options=YES_NO), Prompt("a", options=(Option(1, ("x",)), Option(2, ("X",))))]
    said = check(idle, Prompt("Is it?", max_tokens=3), *bad, Prompt("Is it?", options=YES_NO))
    assert [generation.finish for generation in said] == ["eos", *["error"] * len(bad), "eos"]
    assert all(generation.error for generation in said[1:-1])


def test_a_task_that_the_model_has_not(toy: Moondream) -> None:
    small = Moondream(toy.network, toy.tokenizer, replace(toy.info, tasks=frozenset({"query"})))
    good, bad = check(small, Prompt("Is it?", max_tokens=3), Prompt("cat", task="detect"))
    assert good == FINE
    assert "detect" in bad.error


def test_a_check_beside_answers(toy: Moondream, toy_images: list[Any]) -> None:
    prompt = Prompt("Is it?", max_tokens=3)
    alone = toy.answer([Request(toy_images[0], (prompt,))])[0]
    asked = toy.answer(
        [
            Request(None, (prompt, replace(prompt, max_tokens=500)), check_only=True),
            Request(toy_images[0], (prompt,)),
            Request(toy_images[1], (), check_only=True),
        ]
    )
    assert [g.finish for g in asked[0]] == ["eos", "error"]
    assert (asked[1][0].text, asked[1][0].tokens) == (alone[0].text, alone[0].tokens)
    assert asked[2] == []
