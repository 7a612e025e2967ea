from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.capture.region import Cut, Look, masked
from streamqa.types import Box, Point, Zone


def rectangle(left: float, top: float, right: float, bottom: float) -> Zone:
    return Zone((Point(left, top), Point(right, top), Point(right, bottom), Point(left, bottom)))


def picture(height: int = 40, width: int = 60) -> Any:
    """No pixel is black, and each is different from its neighbours."""
    return (
        (np.arange(height * width * 3, dtype=np.uint32) % 251 + 1).astype(np.uint8).reshape(height, width, 3)
    )


def test_without_zone_and_masks_a_picture_is_handed_on_as_it_is() -> None:
    image = picture()
    assert Look().apply(image) is image
    assert Look(rectangle(0, 0, 1, 1)).apply(image) is image


def test_a_mask_is_black_and_the_rest_as_it_was() -> None:
    image, before = picture(), picture()
    seen = Look(None, [Box(0.1, 0.5, 0.5, 1.0)]).apply(image)
    expected = picture()
    expected[20:40, 6:30] = 0
    np.testing.assert_array_equal(seen, expected)
    np.testing.assert_array_equal(image, before)
    assert not np.shares_memory(seen, image)


def test_a_mask_grows_to_whole_and_even_pixels() -> None:
    assert masked(Box(0.26, 0.1, 0.55, 0.99), 100, 10) == Cut(2, 10, 6, 100)
    assert masked(Box(0.3, 0.3, 0.5, 0.5), 11, 11) == Cut(2, 2, 6, 6)
    assert masked(Box(0.9, 0.9, 1.0, 1.0), 11, 11) == Cut(8, 8, 11, 11)  # no further than the picture


def test_a_zone_is_cut_out_in_full_resolution() -> None:
    image = picture()
    seen = Look(rectangle(0.25, 0.1, 0.75, 0.6)).apply(image)
    np.testing.assert_array_equal(seen, image[4:24, 15:45])
    assert seen.flags["C_CONTIGUOUS"]
    assert seen.base is None  # the whole picture is not kept alive


def test_masks_are_of_the_whole_picture_also_where_a_zone_is_cut_out() -> None:
    seen = Look(rectangle(0.5, 0.5, 1, 1), [Box(0.0, 0.0, 0.6, 0.6), Box(0.9, 0.9, 1, 1)]).apply(picture())
    expected = picture()[20:, 30:]
    expected[:4, :6] = 0
    expected[16:, 24:] = 0
    np.testing.assert_array_equal(seen, expected)


def test_a_polygon_is_its_bounding_box_with_the_outside_black() -> None:
    triangle = Zone((Point(0.0, 0.0), Point(1.0, 0.0), Point(0.0, 1.0)))
    image = picture(10, 10)
    seen = Look(triangle).apply(image)
    for y in range(10):
        for x in range(10):
            inside = (x + 0.5) + (y + 0.5) < 10
            assert seen[y, x].tolist() == (image[y, x].tolist() if inside else [0, 0, 0])


def test_the_hole_of_a_polygon_that_crosses_itself_is_outside() -> None:
    bow = Zone((Point(0, 0), Point(1, 1), Point(1, 0), Point(0, 1)))
    seen = Look(bow).apply(picture(20, 20))
    assert seen[10, 1].any()
    assert not seen[1, 10].any()


@pytest.mark.parametrize("zone", [rectangle(0.501, 0.501, 0.502, 0.502), rectangle(0.999, 0.999, 1, 1)])
def test_the_smallest_zone_is_a_pixel(zone: Zone) -> None:
    seen = Look(zone).apply(picture(10, 10))
    assert seen.shape == (1, 1, 3)
    assert seen.all()


def test_a_look_follows_a_change_of_resolution() -> None:
    look = Look(Zone((Point(0.0, 0.0), Point(1.0, 0.0), Point(0.0, 0.5))), [Box(0, 0, 0.1, 0.1)])
    for height, width in ((40, 60), (100, 20), (40, 60)):
        seen = look.apply(picture(height, width))
        np.testing.assert_array_equal(seen, Look(look._zone, look._masks).apply(picture(height, width)))
        assert seen.shape == (height // 2, width, 3)


sides = st.integers(1, 33)
fractions = st.floats(0, 1, allow_subnormal=False)
spans = st.tuples(fractions, fractions).map(sorted).filter(lambda span: span[0] < span[1])
boxes = st.builds(lambda x, y: Box(x[0], y[0], x[1], y[1]), spans, spans)
corners = st.lists(st.builds(Point, fractions, fractions), min_size=3, max_size=6)


def zones() -> st.SearchStrategy[Zone]:
    def fits(points: list[Point]) -> bool:
        return len({p.x for p in points}) > 1 and len({p.y for p in points}) > 1

    polygons = corners.filter(fits).map(lambda points: Zone(tuple(points)))
    return polygons | boxes.map(lambda b: rectangle(b.x_min, b.y_min, b.x_max, b.y_max))


@given(sides, sides, zones() | st.none(), st.lists(boxes, max_size=3))
def test_nothing_masked_is_seen_and_nothing_else_is_changed(
    height: int, width: int, zone: Zone | None, masks: list[Box]
) -> None:
    """The secret is whatever the masks touch: two pictures that differ only there look the same."""
    look = Look(zone, masks)
    public, secret = picture(height, width), picture(height, width)
    for mask in masks:
        # every pixel that the mask touches, straight from its corners
        rows = slice(int(mask.y_min * height), int(np.ceil(mask.y_max * height)))
        secret[rows, int(mask.x_min * width) : int(np.ceil(mask.x_max * width))] = 255
    seen = look.apply(secret)
    np.testing.assert_array_equal(seen, look.apply(public))
    assert not (seen == 255).any()
    cut = look.cut(height, width)
    assert seen.shape == (cut.height, cut.width, 3)
    assert seen.flags["C_CONTIGUOUS"]
    there = seen.any(axis=2)
    np.testing.assert_array_equal(seen[there], public[cut.top : cut.bottom, cut.left : cut.right][there])


@given(sides, sides, boxes)
def test_a_rectangle_has_no_black_corner(height: int, width: int, box: Box) -> None:
    seen = Look(rectangle(box.x_min, box.y_min, box.x_max, box.y_max)).apply(picture(height, width))
    assert seen.all()
