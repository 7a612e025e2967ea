import io
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from streamqa.cli.main import app
from streamqa.config import load_config
from streamqa.errors import ConfigError, ModelError, SourceError
from streamqa.model import pool
from streamqa.testing import ScriptedModel
from streamqa.types import Generation, Prompt
from tests.cli.process import COMMAND, ENVIRONMENT, ROOT, SAMPLES, streamqa
from tests.clips import bright_when, brightness

CONFIG = """\
# the door
model: tiny
sources: {door: scene:gate}
questions:
  # somebody?
  person: {ask: "A person?", kind: yes_no, every: 200ms, variants: ["Somebody?"]}  # often
  count: {ask: "How many?", kind: number, max: 2, every: 200ms}
"""
LABELS = "source,from,to,question,value\n"


def careful(image: Any, prompt: Prompt) -> Generation:
    """Yes at 40 % on a bright picture, at 10 % on a dark one; always one, where numbers are asked for."""
    if len(prompt.options) == 3:
        return Generation("", 0, "scored", option_probs=(0.1, 0.8, 0.1))
    yes = 0.4 if brightness(image, prompt) else 0.1
    return Generation("", 0, "scored", option_probs=(yes, 1 - yes))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration, labels of a clip, and a model that follows a script."""
    monkeypatch.setattr(pool, "start_model", lambda choice, health: ScriptedModel(careful))
    monkeypatch.chdir(tmp_path)
    bright_when(tmp_path / "clip.mp4", lambda t_s: t_s % 8 >= 4, 16.0)
    (tmp_path / "c.yaml").write_text(CONFIG)
    rows = [(0, 4, "no"), (4, 8, "yes"), (8, 12, "no"), (12, 16, "yes")]
    text = "".join(f"clip.mp4,{begin},{end},person,{value}\n" for begin, end, value in rows)
    (tmp_path / "l.csv").write_text(LABELS + text)
    return tmp_path


def calibrate(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["calibrate", "c.yaml", "--labels", "l.csv", *arguments])


def wrong(error: type[Exception], *arguments: str) -> str:
    result = calibrate(*arguments)
    assert type(result.exception) is error, result.output
    assert result.stdout == ""
    return str(result.exception)


def test_the_sample_clip_s_labels_are_met_by_the_embedded_model(tmp_path: Path) -> None:
    result = streamqa(
        *("calibrate", str(ROOT / "configs" / "demo.yaml"), "--labels", str(SAMPLES / "gate.labels.csv")),
        *("--json", "--png", "r.png", "-q", "person", "-q", "gate"),
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert "streamqa: replaying gate.mp4 (questions: 2, wordings: 2)" in result.stderr
    found = json.loads(result.stdout)
    assert found["labels"] == 3 + 7
    assert list(found["questions"]) == ["person", "gate"]
    for question in found["questions"].values():
        assert question["n"] >= 100
        assert question["single"]["accuracy"] >= 0.98
        assert question["single"]["ece"] <= 0.03
        assert question["f1"] >= 0.95
        assert question["flips_per_hour"] == 0.0
    person = found["questions"]["person"]
    assert (person["threshold"], person["window_s"], person["wording"]) == (0.5, 1.5, "Is there a person?")
    assert person["chosen"]["changed"] is False
    with Image.open(tmp_path / "r.png") as image:
        assert (image.format, image.size) == ("PNG", (680, 370))


def test_what_is_chosen_is_printed_and_nothing_is_written_unless_asked_for(folder: Path) -> None:
    result = calibrate()
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("question  setting     n  precision  recall")
    assert lines[1].startswith("person    one frame  80")
    assert "chosen: one frame, yes from 0.3 (thresholds from 0.15 to 0.4 do as well)" in result.stdout
    assert (folder / "c.yaml").read_text() == CONFIG


def test_what_is_chosen_is_written_into_the_file_with_its_comments(folder: Path) -> None:
    result = calibrate("--apply", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["questions"]["person"]["chosen"]["threshold"] == 0.3
    assert "streamqa: c.yaml: person: one frame, yes from 0.3" in result.stderr
    after = (folder / "c.yaml").read_text().replace("} #", "}  #")
    assert after == CONFIG.replace('"Somebody?"]}', '"Somebody?"], above: 0.3}')
    assert load_config(folder / "c.yaml").questions["person"].above == 0.3
    again = calibrate("--apply")
    assert "c.yaml is as it was: nothing better was found" in again.stderr


def test_a_file_that_is_edited_while_footage_is_replayed_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edited(*_: object) -> ScriptedModel:
        (folder / "c.yaml").write_text(CONFIG + "# more\n")
        return ScriptedModel(careful)

    monkeypatch.setattr(pool, "start_model", edited)
    result = calibrate("--apply")
    assert isinstance(result.exception, ConfigError)
    assert "c.yaml has been changed meanwhile" in str(result.exception)
    assert (folder / "c.yaml").read_text() == CONFIG + "# more\n"


def test_a_recording_stands_for_a_live_source(folder: Path) -> None:
    text = (folder / "l.csv").read_text()
    (folder / "l.csv").write_text(text.replace("clip.mp4", "door"))
    assert "door is live (scene:gate); name the recording" in wrong(ConfigError)
    result = calibrate("--footage", "door=clip.mp4")
    assert result.exit_code == 0, result.output
    assert "replaying door (questions: 1, wordings: 2)" in result.stderr
    assert "no such source; there are: door" in wrong(ConfigError, "--footage", "gate=clip.mp4")


def test_labels_without_a_tick_are_told(folder: Path) -> None:
    with (folder / "l.csv").open("a") as file:
        file.write("clip.mp4,50,60,count,1\n")
    result = calibrate()
    assert result.exit_code == 0
    assert "streamqa: l.csv:6: count was not read in this stretch of clip.mp4" in result.stderr
    assert "\ncount" not in result.stdout
    assert "no label covers a tick of its question" in wrong(ConfigError, "-q", "count")


def test_mistakes_are_all_told_before_anything_is_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(pool, "start_model")
    (folder / "l.csv").write_text(LABELS + "clip.mp4,0,1,persn,yes\nclip.mp4,2,1,person,maybe\n")
    assert wrong(ConfigError).splitlines() == [
        "l.csv:2:14: there is no question 'persn'; did you mean 'person'?",
        "l.csv:3:12: ends at 1, which is not after 2; a label goes from a time to a later one",
        "l.csv:3:21: 'maybe' is no answer to a yes_no question; write yes or no",
    ]
    (folder / "l.csv").write_text(LABELS + "none.mp4,0,1,person,yes\n")
    assert wrong(SourceError) == (
        "l.csv:2:1: none.mp4: no such file, and no source has this id (door); check the path"
    )
    assert "--question car: there is no such question; there are: person, count" in wrong(
        ConfigError, "-q", "car"
    )
    (folder / "l.csv").unlink()
    assert "l.csv: cannot be read" in wrong(ConfigError)
    (folder / "c.yaml").write_text("questions: {person: {ask: x, kind: yesno}}\n")
    assert "c.yaml:1:" in wrong(ConfigError)
    (folder / "c.yaml").unlink()
    assert "c.yaml: cannot be read" in wrong(ConfigError)


def test_a_recording_that_fails_is_exit_3_and_nothing_is_applied(folder: Path) -> None:
    (folder / "bad.mp4").write_text("no video")
    with (folder / "l.csv").open("a") as file:
        file.write("bad.mp4,0,1,person,yes\n")
    result = calibrate("--apply")
    assert result.exit_code == 3
    assert "bad.mp4: not a video that FFmpeg can read" in result.stderr
    assert "chosen: " in result.stdout  # of what could be read
    assert (folder / "c.yaml").read_text() == CONFIG
    (folder / "l.csv").write_text(LABELS + "bad.mp4,0,1,person,yes\n")
    assert calibrate().exit_code == 3


def test_a_model_that_cannot_answer_is_a_model_s_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ScriptedModel(careful, refuses=lambda _: "too long")
    monkeypatch.setattr(pool, "start_model", lambda choice, health: model)
    assert "too long" in wrong(ModelError)
    assert model.closed


def test_a_diagram_that_cannot_be_written_says_where(folder: Path) -> None:
    result = calibrate("--png", "none/r.png")
    assert isinstance(result.exception, ConfigError)
    assert "--png none/r.png: cannot be written" in str(result.exception)
    assert calibrate("--png", "r.png").exit_code == 0
    assert Image.open(io.BytesIO((folder / "r.png").read_bytes())).size == (340, 370)


def test_an_interrupt_ends_it_without_a_result() -> None:
    arguments = ("calibrate", "configs/demo.yaml", "--labels", "samples/gate.labels.csv")
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env=ENVIRONMENT,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        while "replaying gate.mp4" not in process.stderr.readline():
            assert process.poll() is None
        os.kill(process.pid, signal.SIGINT)
        began_s = time.monotonic()
        out, _ = process.communicate(timeout=20)
        assert (process.returncode, out) == (130, "")
        assert time.monotonic() - began_s < 10
