import pytest

from streamqa.bench.stats import paired_ratio, percentile, slope_percent, spread


def test_percentiles_lie_between_ranks() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert percentile([1.0, 2.0, 3.0], 0.0) == 1.0
    assert percentile([1.0, 2.0, 3.0], 1.0) == 3.0
    assert percentile([7.0], 0.95) == 7.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_spread_is_the_interquartile_range_over_the_median() -> None:
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    assert spread([2.0, 2.0, 2.0]) == 0.0
    assert spread([1.0, 1.0, 1.0, 1.0, 100.0]) == 0.0  # one bad round says nothing


def test_what_slows_a_whole_round_down_leaves_its_ratio_alone() -> None:
    assert paired_ratio([30.0, 90.0, 33.0], [10.0, 30.0, 11.0]) == 3.0
    with pytest.raises(ValueError, match="zip"):
        paired_ratio([1.0], [1.0, 2.0])


def test_slope_is_in_percent_of_the_least_asked_frame() -> None:
    assert slope_percent([{1: 10.0, 16: 14.5}]) == pytest.approx(3.0)
    assert slope_percent([{1: 10.0, 4: 10.6, 16: 13.0}] * 3) == pytest.approx(2.0)
    assert slope_percent([{1: 1.0, 2: 1.1}, {1: 5.0, 2: 5.5}, {1: 1.0, 2: 9.0}]) == pytest.approx(10.0)
