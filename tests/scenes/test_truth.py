import random
from dataclasses import replace

import pytest

from streamqa.scenes import sample
from streamqa.scenes.truth import answers, facts, state
from streamqa.scenes.world import Scene, Thing

CAMERA = replace(sample.view(random.Random(1), always=True), gate_x=320.0, gate_w=150.0, shift=0.0)
EMPTY = Scene(CAMERA, (), daylight=1.0, gate_open=0.0, light=0.0)
PERSON = Thing("person", 200.0, 345.0, 125.0, "red")
CAR = Thing("car", 400.0, 231.0, 55.0, "blue")


def at(thing: Thing, x: float) -> Thing:
    return replace(thing, x=x)


def test_nothing_is_there_in_an_empty_scene() -> None:
    assert answers(EMPTY) == {
        "person": False, "people": 0, "car": False, "cars": 0, "gate": "closed",
        "light": False, "daytime": "day", "fire": False, "at_gate": False, "fallen": False,
    }  # fmt: skip


def test_counts_and_colours() -> None:
    known = facts(replace(EMPTY, things=(PERSON, at(PERSON, 300.0), CAR)))
    assert known.counts["person"] == 2
    assert known.counts["car"] == 1
    assert known.colours["car"] == ("blue",)
    assert known.colours["person"] == ("red", "red")


def test_half_in_the_picture_cannot_be_told() -> None:
    half = at(CAR, 0.0)
    assert state(half) is None
    truth = answers(replace(EMPTY, things=(half,)))
    assert truth["car"] is None
    assert truth["cars"] is None
    # A second car settles whether there is one, not how many.
    truth = answers(replace(EMPTY, things=(half, CAR)))
    assert truth["car"] is True
    assert truth["cars"] is None


@pytest.mark.parametrize(
    ("field", "value", "question", "expected"),
    [
        ("gate_open", 0.0, "gate", "closed"),
        ("gate_open", 0.5, "gate", None),
        ("gate_open", 1.0, "gate", "open"),
        ("light", 0.3, "light", None),
        ("light", 1.0, "light", True),
        ("daylight", 0.1, "daytime", "night"),
        ("daylight", 0.5, "daytime", None),
        ("daylight", 0.9, "daytime", "day"),
    ],
)
def test_transitions_cannot_be_told(
    field: str, value: float, question: str, expected: str | bool | None
) -> None:
    scene = replace(EMPTY, **{field: value})  # type: ignore[arg-type]
    assert answers(scene)[question] == expected


@pytest.mark.parametrize(("x", "expected"), [(320.0, True), (380.0, True), (420.0, None), (480.0, False)])
def test_at_the_gate_by_distance(x: float, expected: bool | None) -> None:
    person = Thing("person", x, 166.0, 92.0)
    assert answers(replace(EMPTY, things=(person,)))["at_gate"] is expected


def test_in_front_of_the_road_is_not_at_the_gate() -> None:
    assert answers(replace(EMPTY, things=(at(PERSON, 320.0),)))["at_gate"] is False


@pytest.mark.parametrize(("lying", "expected"), [(0.0, False), (0.5, None), (1.0, True)])
def test_fallen(lying: float, expected: bool | None) -> None:
    truth = answers(replace(EMPTY, things=(replace(PERSON, lying=lying),)))
    assert truth["fallen"] is expected
    assert truth["people"] == 1


def test_without_gate_or_lamp_their_state_is_unknown() -> None:
    known = facts(replace(EMPTY, view=replace(CAMERA, has_gate=False, has_lamp=False)))
    assert known.gate is None
    assert known.light is None
    assert known.at_gate is None


def test_a_dying_fire_cannot_be_told() -> None:
    fire = Thing("fire", 320.0, 334.0, 76.0)
    assert answers(replace(EMPTY, things=(fire,)))["fire"] is True
    assert answers(replace(EMPTY, things=(replace(fire, strength=0.3),)))["fire"] is None
    assert answers(replace(EMPTY, things=(replace(fire, strength=0.02),)))["fire"] is False
