import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.evaluate.trials import (
    Setting,
    Track,
    halves,
    setting_of,
    single_frame,
    threshold_of,
    ticks_of,
)
from streamqa.types import NS_PER_S, Question
from tests.evaluate.labelled import as_said, person, track


def said(question: Question, truths: str, saids: str) -> str:
    values = {True: "y", False: "n", None: "-"}
    return "".join(values[tick.said] for tick in ticks_of(question, [track(truths, as_said(saids))]))  # type: ignore[index]


def test_the_product_s_own_window_decides_over_all_ticks_and_labelled_ones_count() -> None:
    assert said(person(), "nnnyyy", "nynyny") == "nynyny"
    three = person(window_ns=3 * NS_PER_S, decide="majority")
    assert said(three, "nnnyyy", "nnnyyy") == "nnnnyy"  # one late
    assert said(three, "  n  y", "yyynyy") == "yy"  # what no label covers is in the window all the same
    assert said(person(window_ns=3 * NS_PER_S, decide="mean"), "nnnnn", "nnynn") == "nnnnn"


def test_changes_are_counted_from_one_labelled_tick_to_the_next_in_each_recording() -> None:
    tracks = [track("nn yy", as_said("nnyny")), track("yyn", [0.9, None, 0.1], "b")]
    ticks = ticks_of(person(), tracks)
    assert [tick.source for tick in ticks] == ["a"] * 4 + ["b"] * 3
    assert [tick.turned for tick in ticks] == [False, False, True, False, False, False, True]
    assert [tick.stretch for tick in ticks] == [0, 0, 1, 1, 0, 0, 1]
    # over the unlabelled tick, and over the unsure one
    assert [tick.flipped for tick in ticks] == [False, False, False, True, False, False, True]
    assert ticks[5].said is None
    assert ticks[0].scores == (("yes", pytest.approx(0.1)), ("no", 0.9))


def test_a_setting_is_taken_from_a_question_and_put_on_it() -> None:
    question = person(window_ns=5, decide="k_of_n", k_of_n=(1, 2), above=0.8, hold_ns=3)
    assert setting_of(question).on(question) == question
    other = Setting("Somebody?", 7, "mean", 0.3, None).on(question)
    assert (other.ask, other.window_ns, other.decide, other.k_of_n, other.above) == (
        "Somebody?",
        7,
        "mean",
        None,
        0.3,
    )
    alone = single_frame(question)
    assert (alone.window_ns, alone.decide, alone.k_of_n, alone.hold_ns, alone.above) == (
        0,
        "latest",
        None,
        0,
        0.8,
    )


def test_thresholds_are_told_as_they_apply() -> None:
    assert threshold_of(person()) == (0.5, 0.5)
    assert threshold_of(person(above=0.8)) == (0.8, pytest.approx(0.2))
    assert threshold_of(person(above=0.3)) == (0.3, 0.3)
    gate = Question("gate", "?", "choice", NS_PER_S, choices=("a", "b"))
    assert threshold_of(gate) == (None, None)


def test_stretches_go_to_halves_whole_and_the_longest_in_two() -> None:
    def split(truths: str) -> str:
        ticks = ticks_of(person(), [track(truths, as_said(truths))])
        return "".join("B" if second else "A" for second in halves(ticks))

    assert split("yynnyynn") == "AAAABBBB"
    assert split("nnnnyynnnn") == "AAAAABBBBB"
    assert split("nnnnnnyynn") == "AAABBBABAA"
    assert split("") == ""


def test_a_track_checks_itself() -> None:
    with pytest.raises(ValueError, match="for each tick"):
        Track("a", (1,), (), ())
    assert track("y n ", as_said("nnnn")).labelled == 2


@given(st.lists(st.text("yn ", max_size=40), min_size=1, max_size=3))
def test_halves_share_every_value_about_evenly_and_ticks_do_not_depend_on_what_is_said(
    truths: list[str],
) -> None:
    tracks = [track(one, as_said(one), str(at)) for at, one in enumerate(truths)]
    ticks = ticks_of(person(), tracks)
    second = halves(ticks)
    assert len(ticks) == len(second) == sum(one.count("y") + one.count("n") for one in truths)
    wrong = [track(one, as_said("y" * len(one)), str(at)) for at, one in enumerate(truths)]
    assert halves(ticks_of(person(), wrong)) == second
    for value in (True, False):
        sizes = [
            sum(t.truth is value and s is half for t, s in zip(ticks, second, strict=True)) for half in (0, 1)
        ]
        assert sum(sizes) < 2 or min(sizes) >= sum(sizes) // 4
