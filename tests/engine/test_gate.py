import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamqa.engine.gate import Seen, agrees, change, thumbnail, verdict
from streamqa.types import NS_PER_S, Box, Gate, Point, Reading, Value

GATE = Gate(threshold=0.02, refresh_ns=30 * NS_PER_S, audit=0.0)
GREY = np.full((720, 1280, 3), 90, np.uint8)


def noisy(seed: int, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, sigma, GREY.shape)
    return np.clip(GREY + noise, 0, 255).astype(np.uint8)


def reading(value: Value) -> Reading:
    return Reading(value, 0.9, "ok")


def seen(image: np.ndarray, t_s: float = 0, value: Value = True) -> Seen:
    return Seen(round(t_s * NS_PER_S), thumbnail(image), reading(value))


# the measure


def test_the_measure_is_a_part_of_full_scale() -> None:
    black, white = np.zeros((48, 64, 3), np.uint8), np.full((48, 64, 3), 255, np.uint8)
    assert change(thumbnail(black), thumbnail(black)) == 0
    assert change(thumbnail(black), thumbnail(white)) == pytest.approx(1)
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 255
    assert change(thumbnail(black), thumbnail(red)) == pytest.approx(0.299, abs=1e-4)


def test_a_person_far_away_is_seen_and_noise_is_not() -> None:
    person = GREY.copy()
    person[400:490, 900:935] = 30  # 90 px high
    assert change(thumbnail(GREY), thumbnail(person)) > 0.02
    assert change(thumbnail(noisy(1, 5)), thumbnail(noisy(2, 5))) < 0.006


@settings(max_examples=40)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 255))
def test_pictures_of_any_size_are_compared(height: int, width: int, level: int) -> None:
    small = thumbnail(np.full((height, width, 3), level, np.uint8))
    assert small.shape == (32, 32)
    assert np.allclose(small, level / 255, atol=1e-5)
    assert change(small, thumbnail(np.full((7, 9, 3), level, np.uint8))) < 1e-5


# the verdict


def test_nothing_seen_is_asked() -> None:
    assert verdict(GATE, None, thumbnail(GREY), 0, random.Random(0)) == "ask"


def test_the_same_picture_is_reused_until_the_refresh() -> None:
    before = seen(GREY, 10)
    chance = random.Random(0)
    assert verdict(GATE, before, thumbnail(GREY), 39 * NS_PER_S, chance) == "reuse"
    assert verdict(GATE, before, thumbnail(GREY), 40 * NS_PER_S, chance) == "ask"


def test_a_changed_picture_is_asked_about_and_slow_changes_add_up() -> None:
    before = seen(GREY)
    verdicts = [
        verdict(GATE, before, thumbnail(GREY + np.uint8(step)), NS_PER_S, random.Random(0))
        for step in range(8)
    ]
    assert verdicts == ["reuse"] * 6 + ["ask"] * 2  # 6 / 255 > 0.02


def test_audits_come_at_random_as_often_as_they_are_asked_for() -> None:
    gate, before, chance = Gate(0.02, 30 * NS_PER_S, 0.1), seen(GREY), random.Random(3)
    now = thumbnail(GREY)
    drawn = [verdict(gate, before, now, NS_PER_S, chance) for _ in range(2000)]
    assert 150 < drawn.count("audit") < 250
    assert drawn.count("audit") + drawn.count("reuse") == 2000


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [
        (True, True, True),
        (True, False, False),
        ("a dog", "a cat", False),
        ((Point(0, 0),), (Point(0.1, 0),), True),
        ((Point(0, 0),), (), False),
        ((Box(0, 0, 1, 1),), (Box(0, 0, 1, 0.9),), True),
    ],
)
def test_an_audit_agrees_or_not(before: Value, now: Value, same: bool) -> None:
    assert agrees(reading(now), seen(GREY, value=before)) is same


def test_an_unsure_audit_disagrees() -> None:
    assert not agrees(Reading(None, None, "unsure", "off_list"), seen(GREY))


@pytest.mark.parametrize("wrong", [{"threshold": 1.1}, {"audit": -0.1}, {"refresh_ns": 0}])
def test_a_gate_checks_itself(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Gate(**({"threshold": 0.1, "refresh_ns": 1, "audit": 0.1} | wrong))  # type: ignore[arg-type]  # of mixed types on purpose
