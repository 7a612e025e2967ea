import pytest

from streamqa.bench.statistics import fit, quantile, spread


def test_quantiles_lie_between_the_values() -> None:
    values = [4.0, 1.0, 3.0, 2.0]
    assert [quantile(values, share) for share in (0, 0.5, 1)] == [1.0, 2.5, 4.0]
    assert quantile([7.0], 0.99) == 7.0
    assert quantile(range(101), 0.95) == 95


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.1), ([1.0], -0.1)])
def test_no_quantile_of_nothing_and_none_outside(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        quantile(values, share)


def test_the_spread_is_relative_to_the_median() -> None:
    assert spread([9.0, 10.0, 12.0]) == pytest.approx(0.3)
    assert spread([-9.0, -10.0, -12.0]) == pytest.approx(0.3)
    assert spread([0.0, 0.0]) == 0


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
