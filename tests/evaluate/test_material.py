from pathlib import Path

import numpy as np
import pytest

from streamqa.config import load_config
from streamqa.evaluate import material
from streamqa.evaluate.table import Case
from streamqa.scenes import draw
from streamqa.scenes.script import GateScene
from streamqa.testing import ScriptedModel

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"


def test_the_demo_asks_in_the_measured_words() -> None:
    standing = {q.id: (q.ask, q.kind, q.choices) for q in material.STANDING}
    for asked in load_config(DEMO).standing():
        assert standing[asked.id] == (asked.ask, asked.kind, asked.choices)


def test_there_is_truth_for_every_standing_question() -> None:
    assert {q.id for q in material.STANDING} == set(GateScene(1).truth(0.0))


def answer(question: str, t_s: float, value: object) -> dict[str, object]:
    return {"type": "answer", "question": question, "t_s": t_s, "reading": {"value": value}}


def test_answers_are_compared_with_the_truth_of_their_own_frame() -> None:
    truth = {0: {"gate": "open"}, 8: {"gate": None}, 15: {"gate": "closed"}}
    answers = [answer("gate", 0.0, "open"), answer("gate", 0.533333, "open"), answer("gate", 1.0, None)]
    found = list(material.compare(answers, lambda t_s: truth[round(t_s * 15)], fps=15))
    assert found == [Case("gate", "open", "open"), Case("gate", "closed", None)]


def test_a_clip_goes_through_the_whole_line(tmp_path: Path) -> None:
    model = ScriptedModel(lambda image, prompt: prompt.options[0].value)
    cases = list(material.clip_cases(model, 20_000_000, tmp_path / "a.mp4", seconds=2.0, fps=6))
    scene = GateScene(20_000_000)
    wanted = [(q, true) for n in range(4) for q, true in scene.truth(n / 2).items() if true is not None]
    assert sorted((case.type, str(case.truth)) for case in cases) == sorted((q, str(t)) for q, t in wanted)
    assert {case.said for case in cases if case.type == "gate"} == {"open"}
    assert {case.said for case in cases if case.type == "cars"} == {0}


def test_static_scenes_come_back_from_their_clip_in_order(tmp_path: Path) -> None:
    shown = material.scenes(20_000_000, 4)
    images = material.pictures(shown, tmp_path / "scenes.mp4")
    rendered = [np.asarray(draw.picture(scene)).astype(int) for scene in shown]
    for image, own in zip(images, rendered, strict=True):
        errors = [np.abs(image - other).mean() for other in rendered]
        assert np.abs(image - own).mean() == min(errors)
        assert 0 < min(errors) < 6  # a codec was between


def test_questions_are_reproducible_and_differ_between_scenes_and_wordings() -> None:
    shown = material.scenes(20_000_000, 3)
    trained = material.probes(shown, 20_000_000, "trained")
    assert trained == material.probes(shown, 20_000_000, "trained")
    assert trained[1:] == material.probes(shown[1:], 20_000_001, "trained")
    asked = {p.question.ask for of in trained for p in of}
    assert (
        len(asked & {p.question.ask for of in material.probes(shown, 20_000_000, "heldout") for p in of}) < 9
    )
    assert {p.question.kind for of in trained for p in of} == {"text"}


def test_only_yes_no_questions_are_scored() -> None:
    shown = material.scenes(20_000_000, 3)
    text = material.probes(shown, 20_000_000, "trained")
    closed = material.scored(text)
    wanted = [(p.question.ask, p.truth == "Yes") for of in text for p in of if p.truth in ("Yes", "No")]
    assert [(p.question.ask, p.truth) for of in closed for p in of] == wanted
    assert {p.question.kind for of in closed for p in of} == {"yes_no"}


@pytest.mark.parametrize("count", [1, 5])
def test_each_picture_gets_its_own_questions(count: int) -> None:
    images = [np.full((36, 64, 3), 10 * n, np.uint8) for n in range(count)]
    shown = material.scenes(20_000_000, count)
    model = ScriptedModel(lambda image, prompt: f"{image[0, 0, 0]} {prompt.task}")  # type: ignore[index]
    cases = material.ask(model, images, material.captions(shown))
    assert [case.said for case in cases] == [f"{10 * n} caption" for n in range(count)]
    assert all(isinstance(case.truth, str) and case.truth.endswith(".") for case in cases)
