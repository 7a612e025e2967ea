import random
from collections.abc import Callable

import pytest

from streamqa.bench.slope import least_squares, typical

BOTH = pytest.mark.parametrize("slope", [least_squares, typical])
Slope = Callable[[list[float], list[float]], float]


@BOTH
def test_a_straight_line_is_found(slope: Slope) -> None:
    assert slope([1, 4, 16], [12.0, 18.0, 42.0]) == pytest.approx(2.0)
    assert slope([0, 2], [1.0, 5.0]) == 2.0


@BOTH
def test_noise_averages_out(slope: Slope) -> None:
    chance = random.Random(3)
    xs = [float(x) for x in range(100)]
    assert slope(xs, [3 * x + chance.gauss(0, 5) for x in xs]) == pytest.approx(3, abs=0.1)


def test_one_step_is_no_typical_slope() -> None:
    xs = [float(x) for x in range(50)]
    steps = [1000.0 * (x >= 30) for x in xs]
    assert typical(xs, steps) == 0
    assert least_squares(xs, steps) > 10


@BOTH
@pytest.mark.parametrize(("xs", "ys"), [([1, 1], [1.0, 2.0]), ([1], [1.0]), ([1, 2], [1.0])])
def test_too_little_for_a_slope_is_refused(slope: Slope, xs: list[float], ys: list[float]) -> None:
    with pytest.raises(ValueError, match="two different places"):
        slope(xs, ys)
