from dataclasses import replace

import pytest

from streamqa.scenes.world import HEIGHT, WIDTH, Thing

STANDING = Thing("person", 300.0, 345.0, 125.0)


def test_box_of_a_person_is_tall_upright_and_wide_on_the_ground() -> None:
    x0, y0, x1, y1 = STANDING.box()
    assert y1 - y0 > 2 * (x1 - x0)
    x0, y0, x1, y1 = replace(STANDING, lying=1.0).box()
    assert x1 - x0 > 2 * (y1 - y0)


@pytest.mark.parametrize("facing", [-1, 1])
def test_people_fall_the_way_they_face(facing: int) -> None:
    x0, _, x1, _ = replace(STANDING, lying=1.0, facing=facing).box()
    assert ((x0 + x1) / 2 - STANDING.x) * facing > 0


def test_visible_is_the_share_of_the_box_inside_the_picture() -> None:
    assert STANDING.visible() == 1.0
    assert replace(STANDING, x=0.0).visible() == pytest.approx(0.5)
    assert replace(STANDING, x=-100.0).visible() == 0.0
    assert replace(STANDING, x=WIDTH + 100.0).visible() == 0.0
    assert replace(STANDING, y=HEIGHT + 62.5).visible() == pytest.approx(0.5)


def test_back_lane_is_above_the_road() -> None:
    assert Thing("person", 100.0, 166.0, 90.0).back
    assert not STANDING.back
