"""The picture shows what the truth says, checked on pixels that the renderer alone decides."""

import random
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from streamqa.scenes import draw, sample
from streamqa.scenes.world import COLOURS, HEIGHT, WIDTH, Scene, Thing

CAMERA = replace(
    sample.view(random.Random(3), always=True), gate_x=320.0, gate_w=150.0, lamp_x=520.0, shift=0.0
)
DAY = Scene(CAMERA, (), daylight=1.0, gate_open=0.0, light=0.0)


def pixels(scene: Scene) -> NDArray[np.uint8]:
    return np.asarray(draw.picture(scene))


def changed(a: Scene, b: Scene) -> NDArray[np.bool_]:
    return (np.abs(pixels(a).astype(int) - pixels(b)) > 12).any(axis=2)


def test_shape_and_determinism() -> None:
    scene = sample.scene(random.Random(5))
    assert pixels(scene).shape == (HEIGHT, WIDTH, 3)
    assert pixels(scene).dtype == np.uint8
    assert np.array_equal(pixels(scene), pixels(scene))


@pytest.mark.parametrize("kind", ["person", "car", "dog", "box", "fire"])
def test_a_thing_is_drawn_inside_its_box(kind: str) -> None:
    thing = Thing(kind, 320.0, 330.0, 60.0)  # type: ignore[arg-type]
    difference = changed(DAY, replace(DAY, things=(thing,)))
    x0, y0, x1, y1 = (round(v) for v in thing.box())
    inside = difference[y0:y1, x0:x1].mean()
    assert inside > 0.25
    margin = 60 if kind == "fire" else 8  # a fire glows
    outside = difference.copy()
    outside[max(0, y0 - margin) : y1 + margin, x0 - margin : x1 + margin] = False
    assert not outside.any()


@pytest.mark.parametrize("colour", list(COLOURS))
def test_cars_and_shirts_have_their_colour(colour: str) -> None:
    car = Thing("car", 160.0, 231.0, 56.0, colour)
    person = Thing("person", 420.0, 345.0, 126.0, colour)
    image = pixels(replace(DAY, things=(car, person)))
    assert tuple(image[231 - 25, 160]) == COLOURS[colour]
    assert tuple(image[345 - 80, 420]) == COLOURS[colour]


def test_a_fallen_person_is_wide_and_low() -> None:
    person = Thing("person", 320.0, 345.0, 126.0)
    rows, columns = np.nonzero(changed(DAY, replace(DAY, things=(replace(person, lying=1.0),))))
    assert np.ptp(columns) > 1.8 * np.ptp(rows)
    rows, columns = np.nonzero(changed(DAY, replace(DAY, things=(person,))))
    assert np.ptp(rows) > 1.8 * np.ptp(columns)


def test_night_is_darker_and_the_lamp_lights() -> None:
    night = replace(DAY, daylight=0.0)
    assert pixels(night).mean() < 0.65 * pixels(DAY).mean()
    lit = pixels(replace(night, light=1.0))
    y, x = round(CAMERA.lamp_y), round(CAMERA.lamp_x)
    assert lit[y - 10 : y + 10, x - 10 : x + 10].mean() > 180
    assert pixels(night)[y - 10 : y + 10, x - 10 : x + 10].mean() < 100


def test_the_open_gate_shows_the_sky() -> None:
    middle = np.s_[90:120, 300:340]
    assert pixels(DAY)[middle].mean() < pixels(replace(DAY, gate_open=1.0))[middle].mean() - 40


def test_flames_flicker_with_the_tick_only() -> None:
    burning = replace(DAY, things=(Thing("fire", 320.0, 334.0, 76.0),))
    assert changed(burning, replace(burning, tick=1)).any()
    assert not changed(DAY, replace(DAY, tick=1)).any()
