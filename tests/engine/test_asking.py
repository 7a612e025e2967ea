from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.engine.asking import ask, lost, refuse_unanswerable
from streamqa.errors import ModelError, ModelLost
from streamqa.testing import ScriptedModel
from streamqa.types import NS_PER_S, Prompt, Question, Request


def request(number: int, prompts: int = 1) -> Request:
    return Request(np.full((2, 2, 3), number, np.uint8), tuple(Prompt(f"q{n}") for n in range(prompts)))


def failing(error: Callable[[], Exception], *bad: int) -> ScriptedModel:
    """A model that fails on every batch with one of the pictures `bad` in it."""

    def say(image: Any, _prompt: Prompt) -> str:
        if int(image.max()) in bad:
            raise error()
        return str(image.max())

    return ScriptedModel(say)


def texts(said: Sequence[Sequence[Any]]) -> list[list[str]]:
    return [["!" if g.finish == "error" else g.text for g in generations] for generations in said]


def test_what_goes_well_is_one_call() -> None:
    model = failing(ValueError)
    outcome = ask(model, [request(1, 2), request(2, 1)])
    assert texts(outcome.said) == [["1", "1"], ["2"]]
    assert model.batches == [[2, 1]]
    assert (outcome.failed, outcome.halved, outcome.fits) == (False, {}, None)


def test_nothing_to_ask_is_no_call() -> None:
    model = failing(ValueError)
    assert ask(model, []).said == []
    assert model.batches == []


def test_no_more_than_fit_are_handed_over_at_once() -> None:
    model = failing(ValueError, 4)
    outcome = ask(model, [request(n) for n in range(7)], most=3)
    assert texts(outcome.said) == [["0"], ["1"], ["2"], ["3"], ["!"], ["5"], ["6"]]
    assert [len(batch) for batch in model.batches] == [3, 3, 1, 2, 1, 1, 1]
    assert (outcome.failed, outcome.halved) == (True, {"error": 2})


@given(
    st.sets(st.integers(0, 15)), st.integers(1, 16), st.sampled_from([ValueError, ModelError, MemoryError])
)
def test_only_the_bad_frames_fail(bad: set[int], frames: int, error: type[Exception]) -> None:
    model = failing(lambda: error("no"), *bad)
    outcome = ask(model, [request(n) for n in range(frames)])
    assert texts(outcome.said) == [["!" if n in bad else str(n)] for n in range(frames)]
    assert outcome.failed == bool(bad & set(range(frames)))
    assert len(model.batches) <= 2 * frames - 1


def test_a_failure_names_its_cause() -> None:
    outcome = ask(failing(lambda: ModelError("no such device"), 1), [request(1)])
    assert outcome.said[0][0].error == "no such device"
    outcome = ask(failing(lambda: KeyError("x"), 1), [request(1)])
    assert outcome.said[0][0].error == "KeyError: 'x'"


def test_a_model_that_is_lost_is_not_asked_again() -> None:
    model = failing(lambda: ModelLost("the worker died"), 3)
    outcome = ask(model, [request(n, 2) for n in range(8)])
    assert texts(outcome.said) == [["!", "!"]] * 8
    assert len(model.batches) == 1
    assert (outcome.failed, outcome.halved) == (True, {})
    assert outcome.said[0][0].error == "the worker died"
    assert outcome.fits == 4  # it may have been killed for its memory
    assert ask(model, [request(3)]).fits is None


def test_a_model_that_dies_of_one_half_is_asked_about_the_other() -> None:
    def say(image: Any, _prompt: Prompt) -> str:
        if len(model.batches[-1]) == 4:
            raise ValueError("too many")
        if image.max() == 0:
            raise ModelLost("died")
        return "ok"

    model = ScriptedModel(say)
    assert texts(ask(model, [request(n) for n in range(4)]).said) == [["!"], ["!"], ["ok"], ["ok"]]
    assert [len(batch) for batch in model.batches] == [4, 2, 2]


class Small(ScriptedModel):
    """A model into which so many frames fit."""

    def __init__(self, fits: int, error: Exception) -> None:
        super().__init__(lambda image, prompt: "ok")
        self.fits, self.error = fits, error

    def answer(self, requests: Sequence[Request]) -> Any:
        if len(requests) > self.fits:
            raise self.error
        return super().answer(requests)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ModelError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
    ],
)
def test_memory_that_ran_out_says_how_many_fit(error: Exception) -> None:
    outcome = ask(Small(5, error), [request(n) for n in range(16)])
    assert texts(outcome.said) == [["ok"]] * 16
    assert outcome.fits == 4
    assert outcome.halved == {"memory": 3}


def test_a_frame_that_does_not_fit_alone_says_nothing_about_smaller_ones() -> None:
    outcome = ask(failing(lambda: MemoryError("no"), 2), [request(n) for n in range(4)])
    assert texts(outcome.said) == [["0"], ["1"], ["!"], ["3"]]
    assert outcome.fits is None
    assert outcome.halved == {"memory": 2}
    assert ask(failing(lambda: ValueError("no"), 2), [request(1), request(2)]).halved == {"error": 1}


def test_a_model_that_fails_slowly_is_given_up() -> None:
    seconds = count(0, 20)  # each look at the clock is 20 s later
    model = failing(lambda: ValueError("timeout"), *range(16))
    outcome = ask(model, [request(n) for n in range(16)], lambda: next(seconds) * NS_PER_S)
    assert texts(outcome.said) == [["!"]] * 16
    assert len(model.batches) == 2
    assert "given up" in outcome.said[-1][0].error


def test_lost_is_an_error_for_every_prompt() -> None:
    outcome = lost([request(1, 2), request(2)], "stopped")
    assert texts(outcome.said) == [["!", "!"], ["!"]]
    assert outcome.failed


# before anything starts


def question(id: str, ask: str = "What?") -> Question:
    return Question(id=id, ask=ask, kind="text", every_ns=NS_PER_S)


def test_questions_that_cannot_be_answered_are_named_with_their_reasons() -> None:
    def refuses(prompt: Prompt) -> str:
        return f"{len(prompt.text)} tokens,\nthe limit is 9" if len(prompt.text) > 9 else ""

    model = ScriptedModel(lambda image, prompt: "never asked", refuses=refuses)
    refuse_unanswerable(model, [question("a"), question("b")])
    refuse_unanswerable(model, [])
    with pytest.raises(ModelError) as caught:
        refuse_unanswerable(model, [question("a"), question("b", "x" * 10), question("c", "x" * 11)])
    assert str(caught.value) == (
        "scripted@1 cannot answer question 'b': 10 tokens, the limit is 9; question 'c': 11 tokens, the limit is 9"
    )
    assert model.batches == []


def test_a_check_that_comes_back_with_another_count_is_no_answer() -> None:
    class Careless(ScriptedModel):
        def answer(self, requests: Sequence[Request]) -> Any:
            return [*super().answer(requests), []]

    with pytest.raises(ModelError, match="another number"):
        refuse_unanswerable(Careless(lambda image, prompt: ""), [question("a")])
