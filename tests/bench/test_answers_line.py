from pathlib import Path

import pytest

from streamqa.bench.answers_line import SOURCE, records
from streamqa.bench.clips import small_clip
from streamqa.errors import StreamQAError
from streamqa.testing import ScriptedModel
from streamqa.types import NS_PER_S, Question

ASKED = (Question("q", "Is it?", "yes_no", NS_PER_S),)


def test_everything_that_is_said_of_a_recording_is_kept(tmp_path: Path) -> None:
    found = records(ScriptedModel(lambda image, prompt: True), ASKED, small_clip(tmp_path / "a.mp4", 30, 10))
    answers = [one for one in found if one["type"] == "answer"]
    assert [(one["source"], one["t_s"], one["value"]) for one in answers] == [
        (SOURCE, n, True) for n in range(3)
    ]
    assert {one["type"] for one in found} == {"answer", "source"}


def test_a_recording_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("not a video")
    with pytest.raises(StreamQAError, match="bench answers"):
        records(ScriptedModel(lambda image, prompt: True), ASKED, tmp_path / "bad.mp4")
