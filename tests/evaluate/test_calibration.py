import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.evaluate.calibration import (
    Tick,
    answer_of,
    bins,
    brier,
    calibration_error,
    extra_flips,
    figures,
)
from streamqa.evaluate.labels import Truth
from streamqa.types import NS_PER_S, Value

SHARES = st.floats(0, 1)


def yes_no(truth: bool, said: Value, yes: float = 0.5) -> Tick:
    return Tick("a", truth, said, (("yes", yes), ("no", 1 - yes)))


def run(truths: str, saids: str, source: str = "a") -> list[Tick]:
    """Ticks one after the other: `y`, `n`, and `-` for unsure."""
    values = {"y": True, "n": False, "-": None}
    ticks, stretch, last = [], 0, None
    for at, (true, said) in enumerate(zip(truths, saids, strict=True)):
        turned = at > 0 and truths[at - 1] != true
        stretch += turned
        flipped = said != "-" and last is not None and said != last
        last = last if said == "-" else said
        truth = values[true]
        assert truth is not None
        ticks.append(Tick(source, truth, values[said], turned=turned, flipped=flipped, stretch=stretch))
    return ticks


def test_the_brier_score_is_the_sum_over_options() -> None:
    assert brier((("yes", 0.8), ("no", 0.2)), True) == pytest.approx(0.08)
    assert brier((("yes", 0.8), ("no", 0.2)), False) == pytest.approx(1.28)
    assert brier((("0", 0.5), ("1", 0.3), ("2", 0.2)), 1) == pytest.approx(0.78)
    assert brier((("red", 1.0), ("blue", 0.0)), "blue") == 2.0


def test_the_calibration_error_is_the_mean_distance_by_the_sizes_of_the_bins() -> None:
    found = bins([(0.95, True), (0.91, False), (0.65, True), (0.62, True), (1.0, True)])
    assert [one.n for one in found] == [0, 0, 0, 0, 0, 0, 2, 0, 0, 3]
    assert found[6] == pytest.approx((2, 0.635, 1.0))
    assert found[9] == pytest.approx((3, 2.86 / 3, 2 / 3))
    # 2/5 · 0.365 + 3/5 · (2.86 - 2)/3
    assert calibration_error(found) == pytest.approx(0.146 + 0.172)
    assert calibration_error(bins([])) is None


def test_precision_and_recall_of_yes_where_unsure_is_no_yes() -> None:
    ticks = [
        *[yes_no(True, True)] * 6, yes_no(True, False), yes_no(True, None),
        *[yes_no(False, True)] * 3, yes_no(False, None),
    ]  # fmt: skip
    found = figures("yes_no", ticks, NS_PER_S)
    assert (found.n, found.precision, found.recall) == (12, 6 / 9, 6 / 8)
    assert found.f1 == pytest.approx(12 / 17)
    assert found.accuracy == 0.5
    assert found.unsure == pytest.approx(2 / 12)


def test_without_a_yes_there_is_no_f1_and_accuracy_counts() -> None:
    found = figures("yes_no", [yes_no(False, False, 0.1), yes_no(False, False, 0.3)], NS_PER_S)
    assert (found.precision, found.recall, found.f1) == (None, None, None)
    assert found.objective == found.accuracy == 1.0
    assert found.brier == pytest.approx((2 * 0.01 + 2 * 0.09) / 2)
    assert found.ece == pytest.approx((0.1 + 0.3) / 2)


def test_other_closed_kinds_are_averaged_over_their_values() -> None:
    said: list[tuple[Truth, Value]] = [("red", "red"), ("red", "blue"), ("blue", "blue"), ("blue", "green")]
    found = figures("choice", [Tick("a", truth, value) for truth, value in said], NS_PER_S)
    # red 1/1 and 1/2, blue 1/2 and 1/2, green 0/1 and none
    assert found.precision == pytest.approx((1 + 0.5 + 0) / 3)
    assert found.recall == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert found.f1 == pytest.approx((2 / 3 + 0.5 + 0) / 3)
    assert (found.accuracy, found.brier, found.ece) == (0.5, None, None)


def test_a_mean_counts_as_the_nearest_number_and_a_yes_as_none() -> None:
    assert [answer_of(value) for value in (1.4, 1.5, 2.5, 3, True)] == [1, 2, 3, 3, True]
    assert Tick("a", 2, 1.6).is_right
    assert not Tick("a", 1, True).is_right
    assert figures("number", [Tick("a", 2, 1.6), Tick("a", 1, 1.6)], NS_PER_S).accuracy == 0.5


def test_free_kinds_have_exact_accuracy_and_no_retrieval() -> None:
    ticks = [Tick("a", "a dog", "a dog", confidence=0.9), Tick("a", "a dog", "A dog.", confidence=0.7)]
    found = figures("text", ticks, NS_PER_S)
    assert (found.accuracy, found.precision, found.f1, found.brier) == (0.5, None, None, None)
    assert found.ece == pytest.approx((0.1 + 0.7) / 2)


@pytest.mark.parametrize(
    ("truths", "saids", "beyond", "in_all"),
    [
        ("nnnyyynnn", "nnnyyynnn", 0, 2),
        ("nnnyyynnn", "nnnnyyynn", 0, 2),  # late, once for each change
        ("nnnyyynnn", "nynyyynnn", 2, 4),
        ("nnnyyynnn", "nnnyn-ynn", 2, 4),
        ("nnnyyynnn", "nnnnnnnnn", 0, 0),  # a miss is no flip
        ("nnnnnnnn", "nynnnynn", 4, 4),
        ("nnnn", "n-n-", 0, 0),
        ("yyyy", "nyyy", 1, 1),  # without a change of the truth none is owed
    ],
)
def test_flips_beyond_one_for_each_change_of_the_truth(
    truths: str, saids: str, beyond: int, in_all: int
) -> None:
    found = figures("yes_no", run(truths, saids), NS_PER_S)
    assert (found.flips, found.flips_in_all) == (beyond, in_all)
    assert found.flips_per_hour == pytest.approx(beyond * 3600 / len(truths))


def test_a_missed_event_in_one_recording_does_not_hide_flips_in_another() -> None:
    assert extra_flips([*run("nynn", "nnnn"), *run("nnnn", "nyyn", "b")]) == 2


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing"):
        figures("yes_no", [], NS_PER_S)


def test_the_object_is_rounded_and_whole() -> None:
    found = figures("yes_no", [yes_no(True, True, 2 / 3), yes_no(False, False, 1 / 3)], NS_PER_S).as_json()
    assert found["brier"] == 0.2222
    assert found["ece"] == 0.3333
    assert (found["n"], found["f1"], found["flips_per_hour"], found["unsure"]) == (2, 1.0, 0.0, 0.0)
    assert [one["n"] for one in found["bins"]] == [0, 0, 0, 0, 0, 0, 2, 0, 0, 0]


@given(st.lists(st.tuples(SHARES, st.booleans()), min_size=1))
def test_calibration_errors_are_shares_and_every_tick_is_in_one_bin(tops: list[tuple[float, bool]]) -> None:
    found = bins(tops)
    assert sum(one.n for one in found) == len(tops)
    error = calibration_error(found)
    assert error is not None
    assert 0 <= error <= 1
    mean = sum(right - sure for sure, right in tops) / len(tops)
    assert error >= abs(mean) - 1e-9  # no bin hides more than all of them together


@given(st.text("yn", min_size=1, max_size=30), st.data())
def test_figures_keep_their_bounds(truths: str, data: st.DataObject) -> None:
    saids = data.draw(st.text("yn-", min_size=len(truths), max_size=len(truths)))
    found = figures("yes_no", run(truths, saids), NS_PER_S)
    assert 0 <= found.flips <= found.flips_in_all < len(truths) + 1
    for share in (found.accuracy, found.unsure, found.precision, found.recall, found.f1):
        assert share is None or 0 <= share <= 1
    assert found.accuracy + found.unsure <= 1 + 1e-9
    if truths == saids:
        assert found.accuracy == 1.0
        assert found.flips == 0
