import time

import numpy as np
import pytest

from streamqa.answers import prompt_for, read_answer
from streamqa.bench.fixed import Cost, FixedCostModel
from streamqa.types import Question, Request

IMAGE = np.zeros((4, 4, 3), np.uint8)
CLOSED = Question("closed", "Is there a dog?", "yes_no", 10**9)
FREE = Question("free", "What is it?", "text", 10**9)


def request(*questions: Question, check_only: bool = False) -> Request:
    return Request(IMAGE, tuple(prompt_for(question) for question in questions), check_only=check_only)


def test_a_batch_takes_its_time_and_not_the_cpu() -> None:
    model = FixedCostModel(Cost(0.02, per_batch_s=0.03))
    began_s = time.process_time()
    model.answer([request(CLOSED), request(FREE)])
    (call,) = model.calls
    assert call.end_ns - call.begin_ns >= 70_000_000
    assert call.frames == 2
    assert time.process_time() - began_s < 0.05


def test_every_prompt_has_a_reading() -> None:
    model = FixedCostModel(Cost(0.0))
    ((closed, free),) = model.answer([request(CLOSED, FREE)])
    assert read_answer(CLOSED, closed).state == "ok"
    assert read_answer(FREE, free).value == free.text


def test_what_is_only_checked_is_free_and_no_call() -> None:
    model = FixedCostModel(Cost(60.0))
    assert len(model.answer([request(FREE, check_only=True)])[0]) == 1
    assert not model.calls


def test_the_calls_that_are_kept_are_bounded() -> None:
    model = FixedCostModel(Cost(0.0), keep=2)
    for _ in range(5):
        model.answer([request(FREE)])
    assert len(model.calls) == 2


def test_no_cost_is_negative() -> None:
    with pytest.raises(ValueError, match="negative"):
        Cost(-1.0)
