from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import numpy as np
import pytest

from streamqa.testing import make_frame
from streamqa.types import (
    CLOSED_KINDS,
    KINDS,
    Box,
    Generation,
    Kind,
    ModelInfo,
    Option,
    Point,
    Prompt,
    Question,
    Reading,
    Task,
    Zone,
    iso_ms,
    utc_now,
)

MOMENT = datetime(2026, 11, 22, 2, 22, 34, 120_900, tzinfo=UTC)


def test_kinds() -> None:
    assert get_args(Kind) == KINDS
    assert set(CLOSED_KINDS) < set(KINDS)


# Frame


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"image": np.zeros((4, 4), np.uint8)}, r"uint8 \(H, W, 3\), got uint8 \(4, 4\)"),
        ({"image": np.zeros((4, 4, 4), np.uint8)}, r"got uint8 \(4, 4, 4\)"),
        ({"image": np.zeros((4, 4, 3), np.float32)}, r"got float32"),
        ({"image": np.zeros((0, 4, 3), np.uint8)}, r"empty"),
        ({"t_ns": -1}, r"negative, got -1, 0"),
        ({"index": -1}, r"negative, got 0, -1"),
        ({"captured_at": datetime(2026, 1, 1)}, r"time zone"),  # the mistake itself
        ({"delay_ns": -1}, r"delay_ns must not be negative"),
    ],
)
def test_a_frame_refuses_what_it_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_frame(**wrong)


def test_a_frame_shows_its_shape_and_not_its_pixels() -> None:
    frame = make_frame("gate", 1.25, index=3)
    assert frame.t_s == 1.25
    assert repr(frame) == "Frame('gate', #3, t=1.250 s, 32x24)"


def test_values_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        make_frame().index = 3  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Point(0.5, 0.5).x = 1.0  # type: ignore[misc]


# Zone


def test_a_zone_knows_its_bounding_box() -> None:
    assert Zone((Point(0.5, 0.1), Point(0.9, 0.8), Point(0.2, 0.8))).box == Box(0.2, 0.1, 0.9, 0.8)


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        (((0, 0), (1, 1)), "at least 3 corners, got 2"),
        (((0, 0), (1, 0), (1, 1.2)), "from 0 to 1"),
        (((0, 0), (-0.1, 0), (1, 1)), "from 0 to 1"),
        (((0, 0.5), (0.5, 0.5), (1, 0.5)), "must not be empty"),
    ],
)
def test_a_zone_lies_within_the_picture(corners: tuple[tuple[float, float], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Zone(tuple(Point(x, y) for x, y in corners))


# Question, Option, Prompt, Reading


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"every_ns": 0}, "every must be positive, got 0 ns"),
        ({"every_ns": -5}, "every must be positive"),
        ({"max_age_ns": 0}, "max_age must be positive, got 0 ns"),
        ({"window_ns": -1}, "window must not be negative, got -1 ns"),
        ({"decide": "k_of_n"}, "k_of_n is given exactly when"),
        ({"k_of_n": (1, 2)}, "k_of_n is given exactly when"),
    ],
)
def test_a_question_refuses_what_it_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Question(**{"id": "q", "ask": "?", "kind": "yes_no", "every_ns": 1} | wrong)


def test_a_question_knows_its_sources() -> None:
    everywhere = Question("q", "?", "text", 1)
    assert everywhere.asks("gate")
    gate = replace(everywhere, sources=("gate",))
    assert gate.asks("gate")
    assert not gate.asks("door")
    assert not replace(everywhere, sources=()).asks("gate")


@pytest.mark.parametrize("variants", [(), ("a", " ")])
def test_an_option_needs_a_text(variants: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="option 'a' needs"):
        Option("a", variants)


@pytest.mark.parametrize("task", [t for t in get_args(Task) if t != "query"])
def test_only_a_query_is_scored(task: Task) -> None:
    with pytest.raises(ValueError, match="only a query has options"):
        Prompt("?", task=task, options=(Option(True, ("Yes",)),))


@pytest.mark.parametrize("wrong", [{"max_tokens": 0}, {"max_objects": 0}])
def test_a_prompt_leaves_room_to_answer(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Prompt("?", **wrong)


@pytest.mark.parametrize("state", ["unsure", "stale", "error"])
def test_a_reading_that_is_not_ok_has_no_value(state: Any) -> None:
    with pytest.raises(ValueError, match="has no value, got False"):
        Reading(False, None, state)
    assert Reading(None, None, state).value is None


def test_the_label_of_a_model() -> None:
    assert ModelInfo("tiny", "3", "cpu", "fp32", frozenset({"query"})).label == "tiny@3"


def test_an_empty_generation_claims_nothing() -> None:
    generation = Generation("", 0, "eos")
    assert (generation.option_probs, generation.points, generation.boxes, generation.error) == (
        (),
        (),
        (),
        "",
    )


# time and records


def test_wall_time_is_utc_with_milliseconds() -> None:
    assert iso_ms(MOMENT) == "2026-11-22T02:22:34.120Z"
    assert iso_ms(MOMENT.astimezone(timezone(timedelta(hours=-5)))) == "2026-11-22T02:22:34.120Z"
    assert iso_ms(None) is None
    assert utc_now().tzinfo is UTC


def test_a_frame_is_old_after_two_slides_or_as_the_question_says() -> None:
    question = Question("q", "?", "yes_no", 3)
    assert (question.age_limit_ns, replace(question, max_age_ns=1).age_limit_ns) == (6, 1)
