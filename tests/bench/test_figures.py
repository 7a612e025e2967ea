import pytest

from streamqa.bench.figures import Figure, Target, Value, report, table
from streamqa.bench.quick import machine


def test_the_median_is_held_against_the_target() -> None:
    figure = Figure("latency", "ms", (8.0, 50.0, 9.0), Target("<=", 10.0))
    assert (figure.value, figure.reached) == (9.0, True)
    assert Figure("share", "percent", (94.9,), Target(">=", 95.0)).reached is False
    assert Figure("count", "", (3.0,)).reached is None


@pytest.mark.parametrize("target", [Target(">=", 5.0), Target("<=", 5.0)])
def test_a_target_itself_is_enough(target: Target) -> None:
    assert target.met_by(5.0)


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match="not measured"):
        Figure("nothing", "ms", ())


def test_a_figure_that_is_nought_or_less_has_a_spread_too() -> None:
    assert Figure("drops", "frames", (0.0, 0.0, 3.0)).row()["spread"] == 0
    assert Figure("slope", "ms", (-1.0, -2.0, -3.0)).row()["spread"] == 0.5


def test_rounds_are_gathered_by_name() -> None:
    target = Target("<=", 2.0)
    figure = Figure.over([Value("x", "ms", 1.0, target), Value("x", "ms", 3.0, target)])
    assert figure == Figure("x", "ms", (1.0, 3.0), target)
    with pytest.raises(ValueError, match="one name"):
        Figure.over([Value("x", "ms", 1.0), Value("y", "ms", 1.0)])


def test_a_report_holds_every_round_and_what_became_of_the_target() -> None:
    figures = [Figure("x", "ms", (1.0, 2.0, 4.0), Target("<=", 1.5)), Figure("y", "MiB", (7.0,))]
    result = report(machine(), {"cameras": 2}, figures, memory=[])
    assert result["settings"] == {"cameras": 2}
    assert result["memory"] == []
    x, y = result["figures"]
    assert (x["value"], x["spread"], x["rounds"]) == (2.0, 0.75, [1.0, 2.0, 4.0])
    assert (x["target"], x["reached"]) == ("<= 1.5", False)
    assert (y["target"], y["reached"]) == (None, None)
    _, *lines = table(result).splitlines()
    assert lines[0].endswith("target <= 1.5: MISSED")
    assert "7.000 MiB" in lines[1]
    assert "target" not in lines[1]
