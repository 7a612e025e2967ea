import os
from pathlib import Path

import pytest

from streamqa.capture.source import SourceSpec
from streamqa.errors import ConfigError, SourceError
from streamqa.evaluate.footage import Footage, parse_stand_ins
from streamqa.hours import parse_hours
from streamqa.types import Box, Point, Zone

ZONE = Zone((Point(0, 0), Point(1, 0), Point(1, 0.5)))
GATE = SourceSpec("gate", "rtsp://me:hunter2@h/1", zone=ZONE, masks=(Box(0, 0, 0.5, 0.5),), priority=3)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clips" / "gate.mp4"
    path.parent.mkdir()
    path.write_text("not opened here")
    return path


def test_a_file_lies_relative_to_the_labels_and_has_one_id_whatever_it_is_called(
    clip: Path, tmp_path: Path
) -> None:
    os.symlink(clip, tmp_path / "link.mp4")
    footage = Footage(tmp_path, [])
    names = ("clips/gate.mp4", "./clips/gate.mp4", str(clip), "link.mp4")
    assert {footage.find(name) for name in names} == {"gate.mp4"}
    (spec,) = footage.specs.values()
    assert (spec.id, Path(spec.url), spec.pace, spec.zone) == ("gate.mp4", clip, "fast", None)


def test_files_of_one_name_are_told_apart(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "gate.mp4").touch()
    footage = Footage(tmp_path, [SourceSpec("gate.mp4", "scene:gate")], {"gate.mp4": clip})
    assert footage.find("./gate.mp4") == "gate.mp4-2"
    assert footage.find("clips/gate.mp4") == "gate.mp4-3"
    assert footage.find("gate.mp4") == "gate.mp4-3"  # the source, whose recording has that file's name by now
    assert len(footage.specs) == 2


def test_a_recording_stands_for_a_live_source_with_its_zone_and_masks(clip: Path, tmp_path: Path) -> None:
    footage = Footage(tmp_path, [GATE], {"gate": clip})
    assert footage.find("gate") == "gate"
    spec = footage.specs["gate"]
    assert (spec.url, spec.zone, spec.masks, spec.pace) == (str(clip), ZONE, GATE.masks, "fast")
    assert footage.find("clips/gate.mp4") == "gate.mp4"  # the same file, seen whole


def test_a_live_source_without_a_recording_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gate is live \(rtsp://\*\*\*@h/1\).*--footage gate=FILE"):
        Footage(tmp_path, [GATE]).find("gate")
    with pytest.raises(ConfigError, match="s is live"):
        Footage(tmp_path, [SourceSpec("s", "scene:gate")]).find("s")


def test_a_recorded_source_is_its_own_footage_at_any_hour(clip: Path, tmp_path: Path) -> None:
    when = parse_hours("22:00-06:00 Europe/Rome")
    lobby = SourceSpec("lobby", str(clip), pace="realtime", loop=True, when=when, watch=True)
    footage = Footage(tmp_path, [lobby, SourceSpec("far", "https://h/a.mp4", tls_verify=False)])
    assert footage.find("lobby") == footage.find("clips/gate.mp4") == "lobby"
    assert footage.specs["lobby"] == SourceSpec("lobby", str(clip), pace="fast")
    assert footage.find("far") == "far"
    assert footage.specs["far"].tls_verify is False


def test_what_is_not_there_is_no_mistake_of_the_labels(tmp_path: Path) -> None:
    footage = Footage(tmp_path, [GATE, SourceSpec("lobby", "gone.mp4")], {"gate": Path("away.mp4")})
    for name, what in {
        "none.mp4": r"none.mp4: no such file, and no source has this id \(gate, lobby\); check the path",
        "lobby": "gone.mp4: no such file; check the path",
        "gate": "--footage gate=away.mp4: no such file; check the path",
        "x" * 5000: "no such file",
    }.items():
        with pytest.raises(SourceError, match=what):
            footage.find(name)


@pytest.mark.parametrize("name", ["", "rtsp://me:hunter2@h/1", "a\0b"])
def test_what_is_no_name_of_a_recording_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no recording") as caught:
        Footage(tmp_path, []).find(name)
    assert "hunter2" not in str(caught.value)


def test_stand_ins_are_given_as_id_and_file() -> None:
    assert parse_stand_ins(["gate=a=b.mp4", "lobby=c.mp4"]) == {
        "gate": Path("a=b.mp4"),
        "lobby": Path("c.mp4"),
    }
    for wrong in ("gate", "=a.mp4", "gate="):
        with pytest.raises(ConfigError, match="write ID=FILE"):
            parse_stand_ins([wrong])
    with pytest.raises(ConfigError, match="given twice"):
        parse_stand_ins(["a=b", "a=c"])
    with pytest.raises(ConfigError, match="--footage gtae: there is no such source; there are: gate"):
        Footage(Path(), [GATE], {"gtae": Path("a.mp4")})
