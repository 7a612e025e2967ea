from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.engine.batching import Work
from streamqa.engine.gate import thumbnail
from streamqa.engine.views import Views, work_of
from streamqa.testing import make_frame
from streamqa.types import NS_PER_S, Box, Frame, Generation, Point, Prompt, Question, Request, Zone


def rectangle(left: float, top: float, right: float, bottom: float) -> Zone:
    return Zone((Point(left, top), Point(right, top), Point(right, bottom), Point(left, bottom)))


RIGHT, CORNER = rectangle(0.5, 0, 1, 1), rectangle(0.25, 0.5, 0.75, 1)


def question(zone: Zone | None = None) -> Question:
    return Question("q", "?", "yes_no", NS_PER_S, zone=zone)


def frame(height: int = 40, width: int = 60, **fields: Any) -> Frame:
    image = np.random.default_rng(1).integers(1, 256, (height, width, 3), dtype=np.uint8)
    return make_frame(image=image, **fields)


def test_a_view_is_the_zones_part_of_the_frame_cut_out_once() -> None:
    shown = frame()
    view = Views().of(shown, CORNER)
    np.testing.assert_array_equal(view.image, shown.image[20:40, 15:45])
    assert view.image is view.image
    np.testing.assert_array_equal(view.thumbnail, thumbnail(shown.image[20:40, 15:45]))
    assert Views().of(shown, None).image is shown.image


def test_points_and_boxes_come_back_as_parts_of_the_frame() -> None:
    said = Generation("", 2, "eos", points=(Point(0.0, 0.0), Point(0.5, 1.0)), boxes=(Box(0.2, 0, 1.0, 0.5),))
    placed = Views().of(frame(), CORNER).in_frame(said)
    assert placed.points == (Point(0.25, 0.5), Point(0.5, 1.0))
    assert placed.boxes == (Box(pytest.approx(0.35), 0.5, 0.75, 0.75),)
    assert (placed.tokens, placed.finish) == (2, "eos")
    assert Views().of(frame(), None).in_frame(said) == said
    words = Generation("a dog", 2, "eos")
    assert Views().of(frame(), CORNER).in_frame(words) is words


@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    box=st.builds(rectangle, st.floats(0, 0.4), st.floats(0, 0.4), st.floats(0.5, 1), st.floats(0.5, 1)),
    data=st.data(),
)
def test_a_pixel_of_the_view_is_named_where_it_is_in_the_frame(
    height: int, width: int, box: Zone, data: st.DataObject
) -> None:
    shown = frame(height, width)
    view = Views().of(shown, box)
    rows, columns, _ = view.image.shape
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    said = Generation("", 1, "eos", points=(Point((column + 0.5) / columns, (row + 0.5) / rows),))
    (point,) = view.in_frame(said).points
    named = shown.image[int(point.y * height), int(point.x * width)]
    np.testing.assert_array_equal(named, view.image[row, column])


def test_work_counts_a_picture_for_each_zone() -> None:
    views, shown = Views(), frame(1000, 2000)
    questions = [question(), question(RIGHT), question(), question(CORNER), question(RIGHT), question(RIGHT)]
    assert views.work(shown, questions) == Work(3, 6, 1.0 + 1.0 + 0.5)
    assert views.work(shown, []) == Work(0, 0, 0)
    assert views.work(frame(1000, 2000, detail="fast"), questions) == Work(3, 6, 0)


def test_what_is_expected_of_a_frame_is_what_its_requests_ask() -> None:
    views, shown, prompt = Views(), frame(500, 700), Prompt("?")
    questions = [question(), question(CORNER), question(CORNER)]
    requests = [
        Request(views.of(shown, None).image, (prompt,)),
        Request(views.of(shown, CORNER).image, (prompt, prompt)),
    ]
    assert work_of(requests) == views.work(shown, questions)
    assert work_of([Request(None, (prompt,))]) == Work(0, 0, 0)
