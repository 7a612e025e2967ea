import shutil
from pathlib import Path

import pytest

from streamqa.bench import capture_recorded
from streamqa.bench.capture_clips import RECORDED, make_clip
from streamqa.bench.capture_exact import Exactness
from streamqa.bench.capture_recorded import Row, as_json, baseline_name, ffmpeg_command, figures, measure

KIND = RECORDED[0].scaled((160, 96))
RIGHT = Exactness(20, 20, 20, 0)


def row(exact: Exactness = RIGHT) -> Row:
    return Row(KIND, (1.0, 2.0, 9.0), (1.5, 2.5, 9.5), (4.0, 4.0, 2.0), (8.0, 8.0, 8.0), exact)


def test_a_row_is_of_medians() -> None:
    told = as_json(row())
    assert row().ratio == told["ratio"] == 0.5
    assert told["ratio_with_imports"] == 0.625
    assert told["ratio_to_pyav"] == 0.25
    assert told["ratio_paired"] == 0.5
    assert told["exact"] == {"due": 20, "luma_equal": 20, "rgb_equal": 20, "extra": 0}


@pytest.mark.parametrize(
    ("exact", "wrong"),
    [
        (RIGHT, 0),
        (Exactness(20, 18, 19, 0), 2),
        (Exactness(20, None, 19, 0), 1),
        (Exactness(20, 20, 20, 3), 3),
    ],
)
def test_what_is_not_exact_is_a_figure(exact: Exactness, wrong: int) -> None:
    ratio, pictures = figures([row(exact)])
    assert (ratio.value, ratio.reached) == (0.5, True)
    assert (pictures.value, pictures.reached) == (wrong, wrong == 0)


def test_a_clip_of_references_only_has_no_target() -> None:
    kind = next(kind for kind in RECORDED if kind.share is None)
    ratio, _ = figures([Row(kind, (1.0,), (1.0,), (1.0,), (1.0,), Exactness(1, 1, 1, 0))])
    assert ratio.reached is None


def test_the_baseline_is_one_thread_of_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    command = ffmpeg_command(Path("a.mp4"))
    assert command is not None
    assert command[0] == "/usr/bin/ffmpeg"
    assert " ".join(command).endswith("-threads 1 -i a.mp4 -f null -")
    assert baseline_name().startswith("ffmpeg")


def test_a_small_run_has_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)  # as on a machine without ffmpeg
    assert ffmpeg_command(Path("a.mp4")) is None
    told: list[str] = []
    (found,), imports = measure({KIND: make_clip(tmp_path, KIND, 2.2)}, 1, told.append)
    assert len(imports) == len(found.ours) == len(found.baseline) == 1
    assert 0 < found.ours[0] < found.ours_whole[0]
    assert found.baseline[0] > 0
    assert found.pyav[0] > 0
    assert found.exact == Exactness(3, 3, 3, 0)
    assert "no ffmpeg here" in baseline_name()
    assert baseline_name() in told[-1]
    assert capture_recorded.as_json(found)["baseline"] == baseline_name()
