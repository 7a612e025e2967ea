import pytest

from streamqa.bench.answers_stats import Case, share, summary, wilson


def test_cases_by_themselves_have_wilsons_interval() -> None:
    found = share([(str(n), n % 10 != 0) for n in range(100)])
    assert (found.n, found.scenes, found.value) == (100, 100, 0.9)
    assert (found.low, found.high) == pytest.approx((0.8256, 0.9448), abs=1e-4)


def test_cases_that_go_wrong_together_are_worth_less() -> None:
    apart = share([(f"{n % 20}", n >= 10) for n in range(100)])
    together = share([(f"{n // 10}", n >= 10) for n in range(100)])
    assert apart.value == together.value == 0.9
    assert together.low < apart.low
    assert together.high > apart.high
    # Ten whole scenes, of which one is wrong, are worth ten cases.
    assert (together.low, together.high) == pytest.approx(wilson(0.9, 10))


@pytest.mark.parametrize("right", [True, False])
def test_where_nothing_scatters_a_scene_counts_once(right: bool) -> None:
    found = share([(f"{n // 10}", right) for n in range(100)])
    assert found.value == right
    assert (found.low, found.high) == pytest.approx(wilson(float(right), 10))
    assert found.high - found.low > 0.2


def test_no_case_is_no_share() -> None:
    with pytest.raises(ValueError, match="no case"):
        share([])


def test_a_summary_counts_what_was_off_the_list_as_wrong_and_unsure_of_nothing() -> None:
    cases = [
        Case("q", "a", True, 0.95, 0.005),
        Case("q", "b", False, 0.75, 1.1),
        Case("q", "c", False, None, None),
    ]
    found = summary(cases)
    assert (found["n"], found["scenes"], found["off_list"]) == (3, 3, 1)
    assert found["right"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["ece"] == pytest.approx((0.05 + 0.75) / 2)
    assert found["brier"] == pytest.approx(1.105 / 2)
    alone = summary(cases[2:])
    assert (alone["ece"], alone["brier"]) == (None, None)
