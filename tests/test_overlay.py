from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.overlay import DARK, LIGHT, draw
from streamqa.types import Box, Point

if TYPE_CHECKING:
    from streamqa.types import Image

BACKGROUNDS = [(0, 0, 0), (255, 255, 255), LIGHT, DARK, (120, 130, 110)]
ANY = st.one_of(st.floats(), st.floats(-0.5, 1.5), st.integers(-(10**400), 10**400))


def plain(width: int = 640, height: int = 360, colour: tuple[int, int, int] = (90, 90, 90)) -> Image:
    return np.full((height, width, 3), colour, np.uint8)


def is_changed(before: Image, after: Image) -> np.ndarray:
    return (before != after).any(axis=2)


def colours(image: Image) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in image.reshape(-1, 3).tolist()}


@pytest.mark.parametrize("colour", BACKGROUNDS)
def test_a_box_is_seen_on_any_background_and_its_inside_is_left_alone(colour: tuple[int, int, int]) -> None:
    image = plain(colour=colour)
    drawn = draw(image, (Box(0.25, 0.25, 0.75, 0.75),))
    assert (image == colour).all()  # a copy was drawn on
    for y, x in ((90, 320), (269, 320), (180, 160), (180, 479)):  # the middle of each side
        near = drawn[y - 6 : y + 7, x - 6 : x + 7]
        assert {LIGHT, DARK} <= colours(near)
    assert (drawn[120:240, 200:440] == colour).all()
    assert not is_changed(image, drawn)[300:].any()


def test_a_point_is_where_it_was_said() -> None:
    image = plain()
    drawn = draw(image, (Point(0.5, 0.5),))
    ys, xs = np.nonzero(is_changed(image, drawn))
    assert {LIGHT, DARK} <= colours(drawn)
    assert tuple(drawn[180, 320]) == DARK
    assert abs(ys.mean() - 180) < 15
    assert abs(xs.mean() - 320) < 15


def test_each_place_has_its_number() -> None:
    boxes = tuple(Box(0.1 + 0.3 * n, 0.3, 0.3 + 0.3 * n, 0.6) for n in range(3))
    image = plain()
    drawn = draw(image, boxes)
    names = [drawn[86:106, round(640 * (0.1 + 0.3 * n)) :][:, :20] for n in range(3)]
    assert all({LIGHT, DARK} <= colours(name) for name in names)
    assert not np.array_equal(names[0], names[1])
    assert not np.array_equal(names[1], names[2])
    # One that cannot be drawn keeps its number.
    beside = draw(image, (Box(math.nan, 0, 1, 1), boxes[1]))
    alone = draw(image, (boxes[0], boxes[1]))
    right = np.s_[:, 250:420]
    assert np.array_equal(beside[right], alone[right])
    assert not is_changed(image, beside)[:, :250].any()


def test_lines_grow_with_the_picture() -> None:
    widths = []
    for width, height in ((160, 90), (640, 360), (1920, 1080)):
        drawn = draw(plain(width, height), (Box(0.2, 0.2, 0.8, 0.8),))
        column = drawn[height // 2 - 20 : height - 1, width // 2]
        widths.append(int((column == LIGHT).all(axis=1).sum()))
    assert widths == sorted(set(widths))


def test_what_leaves_the_picture_is_cut_off() -> None:
    image = plain()
    drawn = draw(image, (Box(-0.5, 0.5, 0.5, 1.5),))
    changed = is_changed(image, drawn)
    assert changed[180, :300].all()  # its upper side
    assert changed[200:, 319].all()  # its right one
    assert not changed[250:, :300].any()  # neither its left side nor its lower one
    whole = is_changed(image, draw(image, (Box(0, 0, 1, 1),)))
    assert whole[0].all()
    assert whole[-1].all()
    assert whole[:, 0].all()
    assert whole[:, -1].all()


def test_sides_in_the_wrong_order_make_the_same_box() -> None:
    image = plain()
    right, wrong = Box(0.2, 0.3, 0.7, 0.8), Box(0.7, 0.8, 0.2, 0.3)
    assert np.array_equal(draw(image, (right,)), draw(image, (wrong,)))


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 0.5, "red", (), (Point(math.nan, 0.5),), (Box(0, 0, math.inf, 1),), (Point(1.2, 0.5),),
     (Box(1.1, 0, 1.5, 1),)],
)  # fmt: skip
def test_nothing_to_draw_gives_the_same_picture(value: object) -> None:
    image = plain()
    assert draw(image, value) is image  # type: ignore[arg-type]  # of all types on purpose


def test_a_picture_that_may_not_be_written_to_is_drawn_on() -> None:
    image = plain()
    image.flags.writeable = False
    assert is_changed(image, draw(image, (Point(0.1, 0.1),))).any()


@given(
    points=st.lists(st.builds(Point, ANY, ANY), max_size=3),
    boxes=st.lists(st.builds(Box, ANY, ANY, ANY, ANY), max_size=3),
    width=st.integers(1, 80),
    height=st.integers(1, 80),
)
def test_no_number_breaks_it(points: list[Point], boxes: list[Box], width: int, height: int) -> None:
    image = plain(width, height)
    for value in (tuple(points), tuple(boxes)):
        drawn = draw(image, value)
        assert (drawn.shape, drawn.dtype) == (image.shape, image.dtype)
    assert (image == 90).all()
