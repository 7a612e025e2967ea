import hashlib
import json
import shutil
from pathlib import Path

import pytest

from streamqa.errors import ModelError
from streamqa.model.base import open_model
from streamqa.model.tiny.model import NOTE, WEIGHTS, load
from streamqa.scenes.script import GateScene
from streamqa.types import Generation, Option, Prompt, Request

YES_NO = (Option(True, ("Yes",)), Option(False, ("No",)))
LIMIT_BYTES = 12_000_000


def test_the_shipped_weights_are_those_of_the_measured_table_and_small() -> None:
    data = (WEIGHTS / "model.safetensors").read_bytes()
    measured = json.loads((WEIGHTS / "measured.json").read_text())
    assert hashlib.sha256(data).hexdigest() == measured["sha256"]["model.safetensors"]
    assert len(data) <= LIMIT_BYTES


def test_it_answers_through_the_backend_table_and_says_what_it_is() -> None:
    model = open_model("tiny")
    try:
        assert model.info.name == "tiny"
        assert model.info.note == NOTE
        scene = GateScene(20_000_001)
        times = [t_s for t_s in range(60) if scene.truth(t_s)["person"] is not None][::6]
        prompt = Prompt("Is there a person?", options=YES_NO)
        answers = model.answer([Request(scene.image(t_s), (prompt,)) for t_s in times])
        said = [says_yes(generations[0]) for generations in answers]
        truth = [scene.truth(t_s)["person"] for t_s in times]
        assert sum(one == other for one, other in zip(said, truth, strict=True)) >= len(times) - 1
    finally:
        model.close()


def says_yes(generation: Generation) -> bool:
    yes, no = generation.option_probs
    assert yes + no > 0.5
    return yes > no


def test_weights_that_are_not_the_measured_ones_are_refused(tmp_path: Path) -> None:
    shutil.copytree(WEIGHTS, tmp_path / "weights")
    with (tmp_path / "weights" / "model.safetensors").open("r+b") as file:
        file.seek(100_000)
        file.write(b"\xff")
    with pytest.raises(ModelError, match="install streamqa again"):
        load("tiny", tmp_path / "weights")


def test_a_folder_of_something_else_is_refused_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load("tiny", tmp_path)
    assert "\n" not in str(caught.value)
