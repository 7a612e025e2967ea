import random

import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from streamqa.evaluate.choosing import GRID, LEAST_TICKS, calibrate, settings
from streamqa.evaluate.trials import Setting, setting_of
from streamqa.types import NS_PER_S, Question
from tests.evaluate.labelled import as_said, person, track

TRUTHS = ("n" * 15 + "y" * 15) * 2


def now(question: Question, **fields: object) -> Setting:
    return Setting(**({name: getattr(setting_of(question), name) for name in Setting.__slots__} | fields))  # type: ignore[arg-type]


def test_a_threshold_is_found_in_the_middle_of_those_that_do_as_well() -> None:
    question = person()
    found = calibrate(question, {"Anybody?": [track(TRUTHS, as_said(TRUTHS, 0.9))]})
    assert not found.is_changed
    yes = [0.4 if truth == "y" else 0.1 for truth in TRUTHS]
    found = calibrate(question, {"Anybody?": [track(TRUTHS, yes)]})
    assert found.is_changed
    assert found.chosen == now(question, above=0.3)
    assert found.as_good == (0.15, 0.4)
    assert found.configured.recall == 0.0
    assert found.there is not None
    configured, chosen = found.there
    assert (configured.n, chosen.n, chosen.f1) == (30, 30, 1.0)
    assert configured.f1 == 0.0
    assert found.note == ""


def test_a_window_is_found_where_single_frames_slip() -> None:
    rng = random.Random(7)
    truths = ("n" * 40 + "y" * 40) * 4
    yes = [0.9 if (truth == "y") != (rng.random() < 0.12) else 0.1 for truth in truths]
    question = person()
    found = calibrate(question, {"Anybody?": [track(truths, yes)]})
    assert found.chosen == now(question, window_ns=5 * NS_PER_S, decide="mean")
    assert "is not taken" in found.note  # a threshold that fits one half
    assert found.single == found.configured
    assert found.there is not None
    configured, chosen = found.there
    assert chosen.accuracy > configured.accuracy
    assert chosen.flips < configured.flips / 3


def test_a_wording_is_found_and_of_equal_ones_the_first_listed() -> None:
    right, wrong = track(TRUTHS, as_said(TRUTHS)), track(TRUTHS, [0.1] * len(TRUTHS))
    question = person()
    found = calibrate(question, {"Anybody?": [wrong], "A person?": [right], "Someone?": [right]})
    assert found.chosen == now(question, ask="A person?")
    found = calibrate(question, {"Anybody?": [right], "A person?": [right]})
    assert not found.is_changed


def test_a_window_that_is_late_goes() -> None:
    question = person(window_ns=5 * NS_PER_S, decide="majority")
    found = calibrate(question, {"Anybody?": [track(TRUTHS, as_said(TRUTHS))]})
    assert found.configured.accuracy < found.single.accuracy == 1.0
    assert found.chosen == now(question, window_ns=0)


def test_nothing_is_changed_without_a_gain() -> None:
    truths = ("n" * 15 + "  " + "y" * 15 + "  ") * 2
    saids = ("n" * 15 + "yy" + "y" * 15 + "nn") * 2
    question = person(window_ns=3 * NS_PER_S, decide="majority", above=0.7)
    found = calibrate(question, {"Anybody?": [track(truths, as_said(saids))]})
    assert found.configured.accuracy == found.single.accuracy == 1.0
    assert found.chosen == setting_of(question)
    assert found.there is None


def test_readings_that_never_contradict_leave_the_threshold_open() -> None:
    found = calibrate(person(), {"Anybody?": [track(TRUTHS, as_said(TRUTHS, 0.99))]})
    assert found.note == "the readings never contradict the labels"
    assert found.as_good == (GRID[0], GRID[-1])
    assert found.chosen.above is None


def test_what_fits_one_half_only_is_not_taken() -> None:
    yes = [0.1] * 15 + [0.4] * 15 + [0.4] * 15 + [0.9] * 15
    question = person()
    found = calibrate(question, {"Anybody?": [track(TRUTHS, yes)]})
    assert found.chosen == setting_of(question)
    assert found.note.startswith("what is best on one half of the labels is worse on the other")


@pytest.mark.parametrize(
    ("truths", "why"),
    [
        ("n" * 15 + "y" * 15, f"30 ticks, and each half needs {LEAST_TICKS}"),
        ("n" * 60, "each half needs 3 ticks of at least two answers"),
        ("n" * 60 + "yyyy", "each half needs 3 ticks of at least two answers"),
    ],
)
def test_too_few_labels_are_no_reason_to_change_anything(truths: str, why: str) -> None:
    question = person()
    found = calibrate(question, {"Anybody?": [track(truths, [0.4] * len(truths))]})
    assert found.chosen == setting_of(question)
    assert found.note == f"too few labels to choose by: {why}"
    assert found.configured.n == len(truths)


def test_without_a_labelled_tick_there_is_nothing_to_score() -> None:
    with pytest.raises(ValueError, match="nothing"):
        calibrate(person(), {"Anybody?": [track("  ", [0.5, 0.5])]})


def windows(question: Question) -> set[tuple[int, str]]:
    return {(one.window_ns // NS_PER_S, one.decide) for one in settings(question, ["?"], thresholds=True)}


def test_windows_decide_as_fits_the_kind_and_what_is_set_stays_among_them() -> None:
    assert windows(person()) == {(0, "latest"), (3, "mean"), (5, "mean"), (9, "mean")}
    any_of = person(window_ns=4 * NS_PER_S, decide="any")
    assert windows(any_of) == {(4, "any"), (0, "any"), (3, "any"), (5, "any"), (9, "any")}
    assert windows(person(kind="number")) == {(0, "latest"), *((n, "mean") for n in (3, 5, 9))}
    assert windows(person(kind="text")) == {(0, "latest"), *((n, "majority") for n in (3, 5, 9))}
    assert windows(person(decide="k_of_n", k_of_n=(2, 3))) == {(0, "k_of_n")}
    board = person(window_ns=4 * NS_PER_S, look="storyboard")
    assert windows(board) == {(4, "latest")}


def test_only_yes_no_has_thresholds_to_choose_from() -> None:
    gate = person(kind="choice", choices=("a", "b"), above=0.8)
    assert {one.above for one in settings(gate, ["?"], thresholds=True)} == {0.8}
    tried = [one.above for one in settings(person(), ["?"], thresholds=True) if one.window_ns == 0]
    assert sorted(0.5 if above is None else above for above in tried) == list(GRID)
    assert {one.above for one in settings(person(), ["?"], thresholds=False)} == {None}


@example_settings(max_examples=8)
@given(st.lists(st.floats(0.01, 0.99), min_size=60, max_size=60))
def test_whatever_is_chosen_is_better_on_one_half_and_not_worse_on_the_other(yes: list[float]) -> None:
    question = person()
    found = calibrate(question, {"Anybody?": [track(TRUTHS, yes)]})
    assert found.is_changed == (found.there is not None)
    if found.there is not None:
        configured, chosen = found.there
        assert (chosen.objective, -chosen.flips) >= (configured.objective - 1e-9, -configured.flips)
    assert found.as_good is not None
    low, high = found.as_good
    assert low <= (0.5 if found.chosen.above is None else found.chosen.above) <= high
