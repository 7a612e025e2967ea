import json
from dataclasses import replace
from pathlib import Path

import pytest

from streamqa.evaluate import card, embedded, material
from streamqa.evaluate.embedded import Extent, measure, places
from streamqa.model.tiny import pointing
from streamqa.testing import ScriptedModel
from streamqa.types import Box, Generation, Point, Prompt, Value

SMALL = Extent(first_seed=20_000_000, clips=1, scenes=3, clip_s=2.0, fps=6)


def yes_man(image: object, prompt: Prompt) -> Value:
    """Yes, the first choice, the middle of the picture."""
    if prompt.options:
        return prompt.options[0].value
    if prompt.task in ("point", "detect"):
        return (Point(0.5, 0.5),) if prompt.task == "point" else (Box(0.4, 0.4, 0.6, 0.6),)
    return "Yes"


def test_a_measurement_holds_every_table_and_fits_the_card(tmp_path: Path) -> None:
    measured = measure(ScriptedModel(yes_man), SMALL, tmp_path)
    assert measured == json.loads(json.dumps(measured))
    assert measured["model"] == "scripted@1"
    assert set(measured["clips"]) == {q.id for q in material.STANDING}
    assert measured["static_scored"]["exist_outside"]["recall"] == {"No": [0.0, 6]}
    assert measured["static"]["outside"] == {
        "n": 6,
        "accuracy": 0.0,
        "majority": 1.0,
        "recall": {"I can't tell.": [0, 6]},
    }
    assert measured["static"]["exist_fire"]["accuracy"] == measured["shuffled"]["exist_fire"]["accuracy"]
    assert set(measured["heldout"]) & {"gate", "light"}
    assert "person, points, how many" in measured["region"]
    assert card.markdown(measured).count("\n| ") > 60


def test_places_are_compared_with_the_scenes_own_boxes(tmp_path: Path) -> None:
    shown = [s for s in material.scenes(20_000_000, 12) if pointing.boxes(s)["car"]][:1]
    boxes = pointing.boxes(shown[0])["car"] or ()

    def knows_cars(image: object, prompt: Prompt) -> Value | Generation:
        if prompt.text != "car":
            return ()
        if prompt.task == "detect":
            return tuple(Box(*box) for box in boxes)
        return tuple(Point((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in boxes)

    images = material.pictures(shown, tmp_path / "scenes.mp4")
    found = list(places(ScriptedModel(knows_cars), images, shown))
    assert {right for what, right in found if what.startswith("car")} == {True}
    assert {what for what, _ in found} >= {"car, points", "car, boxes", "car, boxes, how many"}


def test_places_are_not_asked_of_a_model_that_claims_none(tmp_path: Path) -> None:
    class Blind(ScriptedModel):
        @property
        def info(self):  # type: ignore[no-untyped-def]
            return replace(super().info, tasks=frozenset({"query"}))

    shown = material.scenes(20_000_000, 1)
    images = material.pictures(shown, tmp_path / "scenes.mp4")
    assert list(places(Blind(yes_man), images, shown)) == []


def test_the_command_measures_the_shipped_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ScriptedModel(yes_man)
    monkeypatch.setattr(embedded, "open_model", lambda name, directory: model)
    out = tmp_path / "out.json"
    embedded.main(["--clips", "0", "--scenes", "2", "--seed", "20000000", "--json", str(out), "--card"])
    measured = json.loads(out.read_text())
    assert measured["scene_count"] == 2
    assert capsys.readouterr().out == card.markdown(measured) + "\n"
    assert model.closed


def test_one_scene_is_too_few_for_the_control(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        embedded.main(["--scenes", "1"])
    assert "--scenes" in capsys.readouterr().err
