from typing import Any

from streamqa.evaluate import card


def entry(right: int, n: int = 100) -> dict[str, Any]:
    return {
        "n": n,
        "accuracy": right / n,
        "majority": 0.5,
        "recall": {"No": [1.0, n // 2], "Yes": [0.94, n // 2]},
    }


def measured() -> dict[str, Any]:
    text = {"gate": entry(100), "gate_yes_no": entry(0), "describe": entry(0), "outside": entry(98)}
    yes_no = {
        "gate_yes_no": entry(96),
        "exist_car": entry(99),
        "exist_outside": entry(0),
        "fallen": entry(97),
    }
    return {
        "first_seed": 10_000_000,
        "clip_count": 2,
        "clip_s": 60.0,
        "scene_count": 100,
        "clips": {"person": entry(99), "fallen": entry(97)},
        "static": text,
        "static_scored": yes_no,
        "heldout": {"gate": entry(91), "describe": entry(0)},
        "heldout_scored": {"gate_yes_no": entry(90)},
        "shuffled": {"gate": entry(52)},
        "region": {"car, points": [0.951, 200]},
    }


def test_goals_pool_their_types_and_count_no_question_twice() -> None:
    found = {goal.what: goal for goal in card.goals(measured())}
    assert (
        found["gate"].measured == 0.98
    )  # the states as text, yes/no as scored; its yes/no as text does not count
    assert found["yes/no existence"].measured == 0.99  # without what no scene has
    assert found["unseen wordings, all but descriptions"].measured == 0.91
    assert found["unseen wordings, all but descriptions"].met
    assert not found["colour"].met  # nothing measured


def test_goals_hold_yes_and_no_recall_apart() -> None:
    found = {goal.what: goal for goal in card.goals(measured())}
    assert found["fallen person, No-recall, scenes"].met
    assert not found["fallen person, Yes-recall, clips"].met


def test_the_tables_name_every_number() -> None:
    text = card.markdown(measured())
    for line in (
        "| person | 100 | 99.0 | 50.0 | No 100.0 (50), Yes 94.0 (50) |",
        "| gate | 100 | 100.0 | – | 100 | 91.0 | – | 50.0 | 52.0 |",
        "| exist_car | 0 | – | 99.0 | 0 | – | – | 50.0 | – |",
        "| car, points | 200 | 95.1 |",
        "| fallen person, Yes-recall, scenes | 95.0 | 94.0 | **no** |",
    ):
        assert line in text.splitlines()
