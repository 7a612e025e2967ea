from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from streamqa.answers import prompt_for, read_answer
from streamqa.testing import ScriptedModel, generate, make_frame
from streamqa.types import Box, Generation, Point, Question, Request, Value


def question(kind: Any) -> Question:
    return Question("q", "?", kind, 1, choices=("red", "blue") if kind == "choice" else ())


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", "a red car"),
        ("caption", "a road"),
        ("yes_no", True),
        ("yes_no", False),
        ("choice", "blue"),
        ("number", 3),
        ("points", (Point(0.1, 0.2),)),
        ("boxes", (Box(0, 0, 1, 1),)),
        ("boxes", ()),
    ],
)
def test_what_the_script_says_is_what_is_read(kind: str, value: Value) -> None:
    q = question(kind)
    model = ScriptedModel(lambda _image, _prompt: value)
    ((generation,),) = model.answer([Request(None, (prompt_for(q),))])
    reading = read_answer(q, generation)
    assert (reading.value, reading.state) == (value, "ok")


def test_none_is_off_the_list() -> None:
    q = question("number")
    assert read_answer(q, generate(prompt_for(q), None)).reason == "off_list"


def test_a_whole_generation_goes_through() -> None:
    mine = Generation("x", 1, "length")
    assert generate(prompt_for(question("text")), mine) is mine


@pytest.mark.parametrize(("kind", "said"), [("yes_no", "maybe"), ("text", None), ("text", 3)])
def test_a_script_that_no_model_could_follow_is_refused(kind: str, said: Value) -> None:
    with pytest.raises(ValueError, match=r"options|free prompt"):
        generate(prompt_for(question(kind)), said)


def test_the_model_sees_pictures_and_counts_its_batches() -> None:
    model = ScriptedModel(lambda image, prompt: f"{prompt.text} {image.mean():.0f}", delay_s=0.001)
    prompts = (prompt_for(question("text")),)
    said = model.answer([Request(make_frame(fill=n).image, prompts) for n in (1, 2)])
    assert [[g.text for g in gs] for gs in said] == [["? 1"], ["? 2"]]
    assert model.batches == [[1, 1]]
    assert model.info.label == "scripted@1"
    model.close()
    assert model.closed


def test_frames_are_recorded_or_live() -> None:
    now = datetime.now(UTC)
    frame = make_frame("gate", 0.1, index=3, fill=9, captured_at=now)
    assert (frame.source, frame.t_ns, frame.index, frame.clock) == ("gate", 100_000_000, 3, "arrival")
    assert frame.captured_at == now
    assert (frame.image == 9).all()
    assert make_frame().clock == "media"
    assert make_frame(image=np.ones((4, 4, 3), np.uint8)).image.shape == (4, 4, 3)


def test_what_is_refused_is_told_where_only_that_is_asked() -> None:
    model = ScriptedModel(lambda _image, _prompt: "never", refuses=lambda p: "too long", in_flight=2)
    ((generation,),) = model.answer([Request(None, (prompt_for(question("text")),), check_only=True)])
    assert (generation.finish, generation.error, generation.text) == ("error", "too long", "")
    assert (model.batches, model.info.in_flight) == ([], 2)
