import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.evaluate.table import Case, floor, overlap, places, score, scores, shares_as_json, tally
from streamqa.types import Box, Point

UNIT = st.floats(0, 1)


def test_scores_count_right_answers_the_majority_and_each_truth_apart() -> None:
    cases = [Case("fire", True, True), Case("fire", True, False), *[Case("fire", False, False)] * 6]
    found = score(cases)
    assert (found.n, found.accuracy, found.majority) == (8, 7 / 8, 6 / 8)
    assert found.recall == {"Yes": (0.5, 2), "No": (1.0, 6)}
    assert found.as_json()["recall"] == {"Yes": [0.5, 2], "No": [1.0, 6]}
    assert found.as_json()["accuracy"] == 0.875


def test_nothing_usable_is_wrong_and_a_yes_is_no_number() -> None:
    assert score([Case("cars", 1, None)]).accuracy == 0.0
    assert score([Case("cars", 1, True)]).accuracy == 0.0
    assert score([Case("car", True, 1)]).accuracy == 0.0


def test_types_are_scored_apart_in_the_order_of_their_names() -> None:
    found = scores([Case("b", 1, 1), Case("a", "open", "closed"), Case("b", 2, 1)])
    assert list(found) == ["a", "b"]
    assert [entry.accuracy for entry in found.values()] == [0.0, 0.5]


def test_types_with_many_truths_have_no_recall() -> None:
    found = score([Case("caption", f"{n} cars", "") for n in range(20)])
    assert found.recall == {}
    assert "recall" not in found.as_json()
    assert found.majority == 1 / 20


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing"):
        score([])
    assert scores([]) == {}


def test_floors_lie_three_standard_errors_below_and_never_above_97_percent() -> None:
    assert floor(1.0, 100) == 0.97
    assert floor(0.5, 100) == pytest.approx(0.35)
    assert floor(0.9, 100) == pytest.approx(0.81)


@given(UNIT, st.integers(1, 1000))
def test_more_scenes_make_floors_stricter(accuracy: float, scenes: int) -> None:
    assert floor(accuracy, scenes) <= floor(accuracy, scenes + 1) <= max(accuracy, 0.97)
    assert floor(accuracy, scenes) <= accuracy or accuracy >= 0.97


def test_overlap_is_intersection_over_union() -> None:
    square = (0.0, 0.0, 0.5, 0.5)
    assert overlap(square, square) == 1.0
    assert overlap(square, (0.25, 0.0, 0.75, 0.5)) == pytest.approx(1 / 3)
    assert overlap(square, (0.5, 0.0, 1.0, 0.5)) == 0.0


def test_points_hit_the_things_they_lie_in() -> None:
    wanted = [(0.0, 0.0, 0.2, 0.2), (0.6, 0.6, 0.8, 0.8)]
    found = tally(places("car", wanted, (Point(0.1, 0.1),), boxed=False))
    assert found == {"car, points": (0.5, 2), "car, points, how many": (0.0, 1)}


def test_boxes_hit_what_they_mostly_cover() -> None:
    wanted = [(0.0, 0.0, 0.2, 0.2)]
    hit, missed = Box(0.0, 0.0, 0.2, 0.22), Box(0.15, 0.0, 0.35, 0.2)
    assert list(places("car", wanted, (hit,), boxed=True)) == [
        ("car, boxes", True),
        ("car, boxes, how many", True),
    ]
    assert next(iter(places("car", wanted, (missed,), boxed=True))) == ("car, boxes", False)


def test_no_place_for_nothing_is_right_and_an_error_is_not() -> None:
    assert list(places("car", [], (), boxed=False)) == [("car, points, how many", True)]
    assert list(places("car", [], None, boxed=False)) == [("car, points, how many", False)]


def test_shares_are_plain_in_json() -> None:
    assert shares_as_json({"a": (1 / 3, 3)}) == {"a": [0.3333, 3]}
