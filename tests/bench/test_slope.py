import pytest

from streamqa.bench.slope import fit


def test_a_straight_line_is_found_without_an_error() -> None:
    line = fit([1, 4, 16], [12.0, 18.0, 42.0])
    assert (line.slope, line.start, line.error) == pytest.approx((2.0, 10.0, 0.0))


def test_the_error_of_a_slope_says_how_far_off_it_may_be() -> None:
    line = fit([0, 1, 2, 3], [0.0, 1.0, 0.0, 1.0])
    assert line.slope == pytest.approx(0.2)
    assert line.error == pytest.approx((0.8 / 2 / 5) ** 0.5)


def test_two_points_make_a_line() -> None:
    assert fit([0, 2], [1.0, 5.0]).slope == 2.0


@pytest.mark.parametrize(("xs", "ys"), [([1, 1], [1.0, 2.0]), ([1], [1.0]), ([1, 2], [1.0])])
def test_too_little_for_a_line_is_refused(xs: list[float], ys: list[float]) -> None:
    with pytest.raises(ValueError, match="two different places"):
        fit(xs, ys)
