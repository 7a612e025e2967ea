"""The window over scores: pooling, thresholds, how long a value has to hold, and when a run began."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.engine.window import Window, pooled, thresholds
from streamqa.types import Decision, Question, Reading, Value


def question(decide: str = "mean", window_ns: int = 10, **fields: Any) -> Question:
    known: dict[str, Any] = {"id": "q", "ask": "?", "kind": "yes_no", "every_ns": 1, "decide": decide}
    return Question(**known | {"window_ns": window_ns} | fields)


def yes(probability: float) -> Reading:
    """A reading whose probability of yes is this."""
    value = probability >= 0.5
    scores = (("yes", probability), ("no", 1 - probability))
    return Reading(value, max(probability, 1 - probability), "ok", scores=scores, mass=1.0)


def colour(**scores: float) -> Reading:
    best = max(scores, key=scores.__getitem__)
    return Reading(best, scores[best], "ok", scores=tuple(scores.items()), mass=1.0)


UNSURE = Reading(None, None, "unsure", "off_list", scores=(("yes", 0.6), ("no", 0.4)), mass=0.2)


def decisions(asked: Question, *readings: Reading, step_ns: int = 1) -> list[Decision]:
    window = Window(asked)
    return [window.add(n * step_ns, reading) for n, reading in enumerate(readings)]


def said(asked: Question, *readings: Reading) -> list[tuple[Value, str]]:
    return [(d.value, d.reason) for d in decisions(asked, *readings)]


def test_two_options_pool_to_the_logistic_of_the_mean_log_odds() -> None:
    found = dict(pooled([yes(0.9).scores, yes(0.6).scores, yes(0.3).scores]))
    odds = (math.log(0.9 / 0.1) + math.log(0.6 / 0.4) + math.log(0.3 / 0.7)) / 3
    assert found["yes"] == pytest.approx(1 / (1 + math.exp(-odds)))
    assert sum(found.values()) == pytest.approx(1)


def test_three_options_pool_by_their_geometric_means() -> None:
    found = dict(
        pooled([colour(red=0.6, blue=0.3, green=0.1).scores, colour(red=0.2, blue=0.7, green=0.1).scores])
    )
    weights = {"red": math.sqrt(0.6 * 0.2), "blue": math.sqrt(0.3 * 0.7), "green": 0.1}
    assert found == pytest.approx({name: w / sum(weights.values()) for name, w in weights.items()})


def test_one_reading_pools_to_itself_and_none_to_nothing() -> None:
    assert pooled([yes(1.0).scores]) == yes(1.0).scores
    assert pooled([(), ()]) == pooled([]) == ()
    assert pooled([(), yes(0.7).scores]) == yes(0.7).scores


def test_no_frame_is_so_sure_that_others_count_for_nothing() -> None:
    assert decisions(question(), yes(1.0), yes(0.05), yes(0.05), yes(0.01))[-1].value is False


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_pooled_scores_are_a_distribution_within_what_was_read(probabilities: list[float]) -> None:
    found = dict(pooled([yes(p).scores for p in probabilities]))
    assert sum(found.values()) == pytest.approx(1)
    assert min(probabilities) - 1e-3 <= found["yes"] <= max(probabilities) + 1e-3


def test_mean_decides_by_the_pooled_scores_and_says_how_sure() -> None:
    weak, strong = yes(0.55), yes(0.02)
    (*_, decision) = decisions(question(), weak, weak, weak, strong)
    assert decision.value is False  # three that are hardly sure do not outweigh one that is
    assert decision.confidence == dict(decision.scores)["no"]
    assert decision.agree == 1
    (*_, decision) = decisions(question("majority"), weak, weak, weak, strong)
    assert decision.value is True
    assert decision.confidence == pytest.approx(dict(decision.scores)["yes"])


def test_mean_of_choices_may_be_what_no_single_frame_said() -> None:
    frames = colour(red=0.5, blue=0.49, green=0.01), colour(red=0.01, blue=0.49, green=0.5)
    (*_, decision) = decisions(question(kind="choice", choices=("red", "blue", "green")), *frames)
    assert (decision.value, decision.agree) == ("blue", 0)


def test_mean_of_numbers_is_one_of_them() -> None:
    def count(*scores: float) -> Reading:
        best = max(range(len(scores)), key=scores.__getitem__)
        return Reading(
            best, scores[best], "ok", scores=tuple((str(n), p) for n, p in enumerate(scores)), mass=1.0
        )

    frames = count(0.05, 0.15, 0.8), count(0.05, 0.15, 0.8), count(0.9, 0.05, 0.05), count(0.05, 0.85, 0.1)
    decision = decisions(question(kind="number", max=2), *frames)[-1]
    assert decision.value == max(range(3), key=lambda n: dict(decision.scores)[str(n)])
    assert type(decision.value) is int
    assert decision.confidence == dict(decision.scores)[str(decision.value)]


def test_latest_has_its_own_scores() -> None:
    decision = decisions(question("latest"), yes(0.1), yes(0.9))[-1]
    assert (decision.value, decision.confidence, dict(decision.scores)) == (True, 0.9, dict(yes(0.9).scores))


def test_any_is_as_sure_as_those_that_say_so() -> None:
    decision = decisions(question("any"), yes(0.9), yes(0.01), yes(0.01))[-1]
    assert (decision.value, decision.confidence) == (True, pytest.approx(0.9))


@pytest.mark.parametrize(
    ("given", "applied"),
    [
        ({}, (None, None)),
        ({"above": 0.8}, (0.8, pytest.approx(0.2))),
        ({"above": 0.3}, (0.3, 0.3)),
        ({"below": 0.1}, (0.9, 0.1)),
        ({"above": 0.9, "below": 0.4}, (0.9, 0.4)),
        ({"kind": "number", "above": 0.6}, (0.6, None)),
    ],
)
def test_thresholds(given: dict[str, Any], applied: tuple[float | None, float | None]) -> None:
    assert thresholds(question("latest", **given)) == applied


def test_between_the_thresholds_nothing_is_decided_and_scores_stay() -> None:
    asked = question("latest", above=0.8)
    assert said(asked, yes(0.9), yes(0.6), yes(0.1), yes(0.3), yes(0.8)) == [
        (True, ""), (None, "between"), (False, ""), (None, "between"), (True, ""),
    ]  # fmt: skip
    assert dict(decisions(asked, yes(0.6))[0].scores) == {"yes": 0.6, "no": 0.4}


def test_a_plain_threshold_leaves_nothing_between() -> None:
    assert said(question("latest", above=0.3), yes(0.3), yes(0.29)) == [(True, ""), (False, "")]


def test_readings_between_the_thresholds_do_not_vote() -> None:
    asked = question("majority", above=0.8)
    assert said(asked, yes(0.9), yes(0.6), yes(0.6), yes(0.6))[-1] == (True, "")
    assert said(asked, yes(0.6), yes(0.6))[-1] == (None, "between")
    k_of_n = question("k_of_n", k_of_n=(2, 3), window_ns=0, above=0.8)
    assert said(k_of_n, yes(0.9), yes(0.7), yes(0.9))[-1] == (True, "")
    assert said(k_of_n, yes(0.9), yes(0.7), yes(0.7))[-1] == (None, "between")


def test_one_weak_reading_does_not_undo_what_k_of_n_decided() -> None:
    asked = question("k_of_n", k_of_n=(3, 5), window_ns=0, above=0.8)
    told = decisions(asked, *map(yes, [0.9, 0.9, 0.9, 0.1, 0.1, 0.6, 0.9, 0.9, 0.9]))
    assert [(d.value, d.reason) for d in told[4:]] == [
        (True, ""), (None, "between"), (None, "between"), (None, "between"), (True, ""),
    ]  # fmt: skip
    assert told[-1].since_ns == 0


def test_a_mirrored_threshold_is_what_one_would_write() -> None:
    asked = question("latest", above=0.8)
    assert thresholds(asked) == (0.8, 0.2)
    assert said(asked, yes(0.2)) == [(False, "")]


def test_a_choice_has_to_be_sure_enough() -> None:
    asked = question("latest", kind="choice", choices=("red", "blue"), above=0.7)
    assert said(asked, colour(red=0.6, blue=0.4), colour(red=0.3, blue=0.7)) == [
        (None, "between"),
        ("blue", ""),
    ]


def test_off_list_is_no_vote_and_keeps_its_scores() -> None:
    decision = decisions(question(window_ns=0), UNSURE)[0]
    assert (decision.state, decision.reason, decision.scores) == ("unsure", "off_list", UNSURE.scores)


def test_a_value_has_to_hold() -> None:
    asked = question("latest", window_ns=0, hold_ns=2)
    settling, there, gone = (None, "settling"), (True, ""), (False, "")
    found = said(asked, *map(yes, (0.9, 0.9, 0.9, 0.1, 0.9, 0.1, 0.1, 0.1)))
    assert found == [settling, settling, *[there] * 5, gone]
    runs = decisions(asked, *map(yes, (0.9, 0.9, 0.9, 0.1, 0.1, 0.1)))
    assert [d.since_ns for d in runs] == [None, None, 0, 0, 0, 3]


def test_what_is_not_sure_breaks_a_run_that_has_to_hold() -> None:
    asked = question("latest", window_ns=0, hold_ns=2, above=0.8)
    assert said(asked, *map(yes, (0.9, 0.5, 0.9, 0.9, 0.9)))[-2:] == [(None, "settling"), (True, "")]


@pytest.mark.parametrize(
    ("readings", "since"),
    [
        ("nnnnnnyyy", 6),
        ("nnnnynnyyy", 7),  # a slip before the change
        ("nnnnnynyy", 5),  # and one after it
        ("nnnnnyunyy", 5),
        ("yyyyy", 0),
    ],
)
def test_a_run_begins_where_the_change_came(readings: str, since: int) -> None:
    known = {"y": yes(0.9), "n": yes(0.1), "u": UNSURE}
    assert decisions(question("majority", window_ns=5), *(known[r] for r in readings))[-1].since_ns == since


def test_between_does_not_break_a_run_and_silence_does() -> None:
    asked = question("latest", window_ns=0, above=0.8)
    assert [d.since_ns for d in decisions(asked, *map(yes, (0.9, 0.5, 0.9)))] == [0, None, 0]
    assert [d.since_ns for d in decisions(asked, yes(0.9), UNSURE, yes(0.9))] == [0, None, 2]


@given(
    st.lists(st.floats(0.001, 0.999), min_size=1, max_size=40),
    st.sampled_from(["latest", "majority", "any", "all", "mean"]),
    st.integers(0, 6),
    st.integers(0, 4),
    st.none() | st.floats(0.5, 0.95),
)
def test_what_holds_of_every_decision(
    probabilities: list[float], decide: str, length: int, hold: int, above: float | None
) -> None:
    window = Window(question(decide, window_ns=length, hold_ns=hold, above=above))
    standing: Value = None
    changed_at = -(10**9)
    for t, p in enumerate(probabilities):
        decision = window.add(t, yes(p))
        assert (decision.value is None) == (decision.state != "ok")
        assert (decision.since_ns is None) == (decision.state != "ok")
        if decision.state != "ok":
            assert decision.reason in ("between", "settling")
            continue
        assert decision.since_ns is not None
        assert decision.since_ns <= t
        if decision.value != standing:
            if standing is not None:
                assert t - changed_at >= hold  # no value stands for less than it has to hold
            standing, changed_at = decision.value, t
