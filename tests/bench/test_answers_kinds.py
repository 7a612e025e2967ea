from pathlib import Path

import pytest

from streamqa.bench.answers_kinds import KINDS, case, figures, markdown, measure, questions, rows, truth
from streamqa.bench.answers_stats import Case
from streamqa.evaluate.material import scenes
from streamqa.questions import check_question
from streamqa.scenes.truth import Facts, facts
from streamqa.testing import ScriptedModel
from streamqa.types import Prompt


def test_there_is_truth_for_every_question_and_each_can_be_asked() -> None:
    assert set(truth(facts(scenes(0, 1)[0]))) == set(KINDS)
    for question in questions(1_000_000_000):
        check_question(question)


def known(colours: tuple[str, ...] | None) -> Facts:
    whole = facts(scenes(0, 1)[0])
    return Facts(
        whole.counts,
        whole.present,
        {"car": colours, "person": ("red",)},
        whole.has_gate,
        whole.has_lamp,
        None,
        None,
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("colours", "true"),
    [(("blue",), "blue"), (("blue", "blue"), "blue"), (("blue", "red"), None), ((), None), (None, None)],
)
def test_a_colour_is_true_only_where_there_is_one(colours: tuple[str, ...] | None, true: str | None) -> None:
    assert truth(known(colours))["car_colour"] == true
    assert truth(known(colours))["gate_open"] is None
    assert truth(known(colours))["night"] is None


def answer(
    question: str, value: object, scores: dict[str, float] | None, state: str = "ok"
) -> dict[str, object]:
    confidence = max(scores.values()) if scores else None
    reading = {"value": value, "state": state, "confidence": confidence, "scores": scores}
    return {"question": question, "reading": reading}


def test_a_reading_is_held_against_the_truth() -> None:
    yes = answer("person", True, {"yes": 0.9, "no": 0.1})
    assert list(case(yes, {"person": None}, "s")) == []
    (right,) = case(yes, {"person": True}, "s")
    assert (right.is_right, right.confidence) == (True, 0.9)
    assert right.brier == pytest.approx(0.02)
    (wrong,) = case(answer("people", 1, {"0": 0.2, "1": 0.8}), {"people": 0}, "s")
    assert (wrong.is_right, wrong.brier) == (False, pytest.approx(1.28))
    # True is no number, and who is off the list has no confidence.
    (other,) = case(answer("people", True, {"1": 1.0}), {"people": 1}, "s")
    assert not other.is_right
    (unsure,) = case(answer("car", None, {"yes": 0.6, "no": 0.4}, "unsure"), {"car": True}, "s")
    assert unsure == Case("car", "s", False, None, None)


def test_each_kind_has_its_rows_and_what_is_wanted_of_it() -> None:
    cases = [Case(name, "static 1", name != "cars", 0.9, 0.1) for name in KINDS]
    table = {row["what"]: row for row in rows(cases)}
    assert table["number up to 4"]["right"] == 0.5
    assert table["yes_no: fallen"]["n"] == 1
    assert "choice of colour, static scenes" in table
    assert "choice of colour, moving scenes" not in table
    found = {figure.name: figure for figure in figures(cases)}
    assert found["number up to 4: right"].reached is False
    assert found["yes or no: right"].reached is True
    assert found["closed kinds: expected calibration error"].value == pytest.approx(
        abs(0.9 - 12 / 13), abs=1e-4
    )
    assert "| number: cars | 1 | 1 | 0.00 |" in "\n".join(markdown(rows(cases)))


def test_static_and_moving_scenes_go_through_the_line(tmp_path: Path) -> None:
    pictures = []

    def script(image: object, prompt: Prompt) -> object:
        pictures.append(image)
        return prompt.options[0].value

    cases = measure(ScriptedModel(script), static=4, clips=1, clip_s=1.0, folder=tmp_path)
    assert {case.scene.split()[0] for case in cases} == {"static", "moving"}
    static = [case for case in cases if case.scene == "static 3" and case.question == "person"]
    assert [case.is_right for case in static] == [truth(facts(scenes(61_000_000, 4)[3]))["person"]]
    assert len(pictures) == (4 + 2) * len(KINDS)  # two ticks of 500 ms in the moving second
