import json

from streamqa.evaluate.choosing import Calibrated, calibrate
from streamqa.evaluate.report import as_json, described, panels, settings, table
from streamqa.evaluate.trials import Setting
from streamqa.question_settings import QuestionConfig
from streamqa.types import NS_PER_S
from tests.evaluate.labelled import as_said, person, track

TRUTHS = ("n" * 15 + "y" * 15) * 2


def unsure() -> Calibrated:
    """Yes at 40 %: another threshold is chosen."""
    return calibrate(
        person(), {"Anybody?": [track(TRUTHS, [0.4 if truth == "y" else 0.1 for truth in TRUTHS])]}
    )


def sure() -> Calibrated:
    return calibrate(person(id="car", max=3), {"Anybody?": [track(TRUTHS, as_said(TRUTHS, 0.92))]})


def test_the_table_has_single_frames_what_is_set_and_what_is_chosen_side_by_side() -> None:
    assert table([unsure(), sure()]) == [
        "question  setting     n  precision  recall     F1  right  Brier    ECE  flips/h  unsure",
        "person    one frame  60          –   0.000  0.000  0.500  0.370  0.350      0.0    0.0%",
        "          as set     60          –   0.000  0.000  0.500  0.370  0.350      0.0    0.0%",
        "          as set *   30          –   0.000  0.000  0.500  0.370  0.350      0.0    0.0%",
        "          chosen *   30      1.000   1.000  1.000  1.000  0.370  0.350      0.0    0.0%",
        "    chosen: one frame, yes from 0.3 (thresholds from 0.15 to 0.4 do as well), instead of "
        "one frame, yes from 0.5",
        "car       one frame  60      1.000   1.000  1.000  1.000  0.013  0.080      0.0    0.0%",
        "          as set     60      1.000   1.000  1.000  1.000  0.013  0.080      0.0    0.0%",
        "    kept: one frame, yes from 0.5 (thresholds from 0.1 to 0.9 do as well)",
        "    the readings never contradict the labels",
        "*  on the half of the ticks that nothing was chosen by",
    ]


def test_the_object_has_what_is_set_at_the_top_and_what_is_chosen_inside() -> None:
    found = json.loads(json.dumps(as_json([unsure(), sure()], 8)))
    assert found["labels"] == 8
    person = found["questions"]["person"]
    assert {
        key: person[key] for key in ("n", "precision", "recall", "f1", "brier", "ece", "flips_per_hour", "accuracy")
    } == {
        "n": 60, "precision": None, "recall": 0.0, "f1": 0.0, "brier": 0.37, "ece": 0.35, "flips_per_hour": 0.0,
        "accuracy": 0.5,
    }  # fmt: skip
    assert (person["threshold"], person["window_s"], person["decide"], person["wording"]) == (
        *(0.5, 0.0, "latest", "Anybody?"),
    )
    assert person["single"]["n"] == 60
    assert person["as_good"] == [0.15, 0.4]
    chosen = person["chosen"]
    assert (chosen["changed"], chosen["held_out"], chosen["threshold"], chosen["f1"]) == (
        True,
        True,
        0.3,
        1.0,
    )
    assert (chosen["n"], chosen["configured"]["n"], chosen["configured"]["f1"]) == (30, 30, 0.0)
    car = found["questions"]["car"]
    assert (car["chosen"]["changed"], car["chosen"]["held_out"], car["chosen"]["n"]) == (False, False, 60)
    assert car["note"] == "the readings never contradict the labels"


def test_settings_are_told_in_words() -> None:
    assert described(person(window_ns=5 * NS_PER_S, decide="mean", above=0.75)) == (
        "window 5s (mean), yes from 0.75, no up to 0.25"
    )
    assert described(person(decide="k_of_n", k_of_n=(2, 3), above=0.3)) == "2 of 3, yes from 0.3"
    assert described(person(kind="number", above=0.8)) == "one frame, from 0.8"


def test_each_diagram_is_of_the_answers_as_they_are_set() -> None:
    (panel,) = panels([unsure()])
    assert (panel.title, panel.error) == ("person", 0.35)
    assert [one.n for one in panel.bins] == [0, 0, 0, 0, 0, 0, 30, 0, 0, 30]


def test_only_what_was_chosen_changes_in_the_settings_and_no_wording_is_lost() -> None:
    item = QuestionConfig.model_validate(
        {"ask": "A?", "kind": "yes_no", "below": 0.1, "every": "500ms", "variants": ["B?", "C?"], "for": "1s"}
    )
    chosen = Setting("B?", 2_500_000_000, "mean", 0.7, None)
    assert settings(item, chosen).given() == {
        "ask": "B?", "kind": "yes_no", "every": "500ms", "variants": ["A?", "C?"], "for": "1s",
        "above": 0.7, "window": "2.5s", "decide": "mean",
    }  # fmt: skip
    windowed = QuestionConfig.model_validate(
        {"ask": "A?", "kind": "yes_no", "window": "3s", "decide": "majority"}
    )
    alone = Setting("A?", 0, "majority", None, None)
    assert settings(windowed, alone).given() == {**windowed.given(), "window": "0ms"}
    same = Setting("A?", 0, "latest", None, 0.1)
    assert settings(item, same) == item
