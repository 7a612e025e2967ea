"""Line, file and records agree after each change, whatever fails in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from streamqa.config import parse_config
from streamqa.control import LineControl
from streamqa.errors import Busy, ConfigError, ModelError, NotAllowed, NotThere, StreamQAError, TakenId
from streamqa.question_settings import QuestionConfig
from streamqa.records import Change, Record
from streamqa.settings import SourceConfig
from streamqa.standing import ChangesFile
from streamqa.types import NEWEST, Request
from tests.noted_line import TEXT, ControlSite

OPEN = QuestionConfig.model_validate({"ask": "Is it open?", "kind": "yes_no", "every": "2s"})
DOOR = SourceConfig(url="rtsp://u:secret@10.0.0.9/1")


@pytest.fixture
def site(tmp_path: Path) -> ControlSite:
    return ControlSite(tmp_path)


def test_each_change_reaches_the_line_the_file_and_the_records(site: ControlSite) -> None:
    control = site.control
    control.add_question("open", OPEN, "ops")
    control.change_question("open", OPEN.model_copy(update={"every": 10**9}), "ops")
    control.pause_question("open", "ops")
    control.resume_question("open", "ops")
    control.remove_question("person", "ops")
    control.add_source("door", DOOR, "boss")
    control.change_source("yard", SourceConfig(url="scene:gate", priority=3), "boss")
    control.pause_source("door", "boss")
    control.resume_source("door", "boss")
    control.remove_source("gate", "boss")
    assert site.line.calls == [
        "add open", "change open", "pause open", "resume open", "remove person",
        "add door", "change yard", "pause door", "resume door", "remove gate",
    ]  # fmt: skip
    assert [change[:3] for change in site.changes()] == [
        ("question", "open", "added"), ("question", "open", "changed"), ("question", "open", "paused"),
        ("question", "open", "resumed"), ("question", "person", "removed"),
        ("source", "door", "added"), ("source", "yard", "changed"), ("source", "door", "paused"),
        ("source", "door", "resumed"), ("source", "gate", "removed"),
    ]  # fmt: skip
    assert [change[3] for change in site.changes()] == ["ops"] * 5 + ["boss"] * 5
    assert site.names() == (["cars", "open"], ["yard", "door"])
    before = site.control.describe()
    site.start()
    assert site.control.describe()["questions"] == before["questions"]
    assert [s["settings"] for s in site.control.describe()["sources"]] == [
        s["settings"] for s in before["sources"]
    ]


def test_records_and_descriptions_hold_no_password_and_the_file_is_private(site: ControlSite) -> None:
    site.control.add_source("door", DOOR, "local")
    (record,) = site.records
    assert isinstance(record, Change)
    assert record.settings == {"url": "rtsp://***@10.0.0.9/1", "guarded": True}
    described = json.dumps(site.control.describe())
    assert "secret" not in described
    assert "hunter2" not in described
    assert site.path.stat().st_mode & 0o777 == 0o600
    site.start()  # where it must be, or the camera would be lost with the restart
    assert site.store.standing.watched()["door"] == DOOR.model_copy(update={"guarded": True})


def test_what_is_described_is_what_was_given_and_how_it_is(site: ControlSite) -> None:
    site.control.pause_source("yard", "local")
    described = site.control.describe()
    assert described["questions"][0] == {
        "id": "person", "paused": False, "settings": {"ask": "Is there a person?", "kind": "yes_no"},
    }  # fmt: skip
    yard = described["sources"][1]
    assert (yard["id"], yard["paused"], yard["settings"]) == ("yard", True, {"url": "scene:gate"})
    assert (yard["state"], yard["facts"]["codec"]) == ("live", "h264")


def test_a_pause_survives_a_restart_and_a_change(site: ControlSite) -> None:
    site.control.pause_source("yard", "local")
    site.control.pause_question("cars", "local")
    site.control.change_question("cars", OPEN, "local")
    assert site.line.questions["cars"].is_paused
    site.start()
    assert site.line.paused == {"yard"}
    assert [(q.id, q.is_paused) for q in site.store.standing.asked()] == [("person", False), ("cars", True)]


def test_an_address_as_it_is_told_keeps_its_password(site: ControlSite) -> None:
    site.refused.add("rtsp://viewer:hunter2@10.0.0.7/1")  # of the configuration, so it stays allowed
    given = {**site.control.describe()["sources"][0]["settings"], "priority": 4}
    site.control.change_source("gate", SourceConfig.model_validate(given), "local")
    assert site.line.watched["gate"] == "rtsp://viewer:hunter2@10.0.0.7/1"
    assert "hunter2" not in site.path.read_text()
    with pytest.raises(ConfigError, match="never told"):
        site.control.add_source("new", SourceConfig(url="rtsp://***@10.0.0.7/2"), "local")
    with pytest.raises(ConfigError, match="never told"):
        site.control.change_source("yard", SourceConfig(url="rtsp://***@10.0.0.7/2"), "local")


def test_what_is_added_over_the_network_stays_guarded_and_what_is_configured_is_not(
    site: ControlSite,
) -> None:
    def guarded(name: str) -> bool:
        return site.store.standing.sources[name].settings.guarded

    site.control.add_source("door", DOOR.model_copy(update={"guarded": False}), "local")
    site.control.change_source("door", DOOR.model_copy(update={"guarded": False, "priority": 3}), "local")
    site.control.change_source("gate", SourceConfig(url="rtsp://***@10.0.0.7/1", priority=3), "local")
    assert (guarded("door"), guarded("gate")) == (True, False)
    site.control.change_source("gate", DOOR, "local")  # another camera in its place
    assert guarded("gate")
    site.start()
    assert (guarded("door"), guarded("gate")) == (True, True)


def test_what_changes_nothing_leaves_no_trace(site: ControlSite) -> None:
    site.control.resume_question("person", "local")
    site.control.resume_source("yard", "local")
    site.control.change_source("yard", SourceConfig(url="scene:gate"), "local")
    assert (site.line.calls, site.records, site.path.exists()) == ([], [], False)


WRONG: list[tuple[str, type[Exception], str, Callable[[LineControl], None]]] = [
    ("no such question", NotThere, "person, cars", lambda c: c.pause_question("x", "a")),
    ("no such source", NotThere, "gate, yard", lambda c: c.remove_source("x", "a")),
    ("a question there", TakenId, "person", lambda c: c.add_question("person", OPEN, "a")),
    ("a source there", TakenId, "gate", lambda c: c.add_source("gate", DOOR, "a")),
    (
        "a choice without choices",
        ConfigError,
        "choice needs",
        lambda c: c.add_question("x", QuestionConfig(ask="?", kind="choice"), "a"),
    ),
    (
        "an unknown source",
        ConfigError,
        "unknown source 'x'",
        lambda c: c.change_question("cars", QuestionConfig(ask="?", sources=["x"]), "a"),
    ),
    (
        "no source at all",
        ConfigError,
        "never be asked",
        lambda c: c.change_question("cars", QuestionConfig(ask="?", sources=[]), "a"),
    ),
    ("a source in use", ConfigError, "cars", lambda c: c.remove_source("yard", "a")),
    (
        "an unknown scheme",
        ConfigError,
        "unknown scheme",
        lambda c: c.add_source("x", SourceConfig(url="gopher://h"), "a"),
    ),
]


@pytest.mark.parametrize(("error", "words", "call"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_what_cannot_be_done_is_told_and_changes_nothing(
    site: ControlSite, error: type[Exception], words: str, call: Callable[[LineControl], None]
) -> None:
    with pytest.raises(error, match=words) as caught:
        call(site.control)
    assert "\n" not in str(caught.value)
    assert (site.line.calls, site.records, site.path.exists()) == ([], [], False)


def test_a_source_that_may_not_be_reached_is_refused_also_as_a_change(site: ControlSite) -> None:
    site.refused.add(DOOR.url)
    with pytest.raises(NotAllowed):
        site.control.add_source("door", DOOR, "a")
    with pytest.raises(NotAllowed):
        site.control.change_source("yard", DOOR, "a")
    assert site.line.calls == []


def test_before_the_model_is_loaded_it_says_so_and_describes_all_the_same(tmp_path: Path) -> None:
    control = LineControl(ChangesFile(tmp_path / "c.json", parse_config(TEXT)), lambda settings: None)
    assert [q["id"] for q in control.describe()["questions"]] == ["person", "cars"]
    assert control.describe()["sources"][0]["state"] is None
    for call in (
        lambda: control.add_question("open", OPEN, "a"),
        lambda: control.frame("gate", NEWEST),
        lambda: control.ask_once("gate", OPEN.question("q"), NEWEST),
        lambda: control.generate(Request(None, ())),
    ):
        with pytest.raises(StreamQAError, match="still being loaded"):
            call()
    assert os.listdir(tmp_path) == []


def test_a_line_that_refuses_leaves_the_file_as_it_was(site: ControlSite) -> None:
    site.control.pause_question("cars", "a")
    before, standing = site.path.read_bytes(), site.store.standing
    site.line.fails = ModelError("the model cannot answer this")
    with pytest.raises(ModelError):
        site.control.add_question("open", OPEN, "a")
    assert (site.path.read_bytes(), site.store.standing) == (before, standing)
    assert len(site.records) == 1
    assert os.listdir(site.path.parent) == [site.path.name]


def test_a_file_that_cannot_be_written_leaves_the_line_as_it_was(site: ControlSite) -> None:
    site.path.mkdir()  # what is written beside it cannot take its place
    standing = site.store.standing
    for call in (
        lambda: site.control.add_question("open", OPEN, "a"),
        lambda: site.control.change_question("person", OPEN, "a"),
        lambda: site.control.remove_question("person", "a"),
        lambda: site.control.pause_source("gate", "a"),
        lambda: site.control.remove_source("gate", "a"),
    ):
        with pytest.raises(StreamQAError, match="nothing has been changed"):
            call()
    assert site.store.standing == standing
    assert set(site.line.questions) == {"person", "cars"}
    assert site.line.questions["person"] == standing.asked()[0]
    assert site.line.watched == {name: item.url for name, item in standing.watched().items()}
    assert (site.line.paused, site.records) == (set(), [])


def test_a_log_that_has_failed_does_not_take_the_change_back(
    site: ControlSite, caplog: pytest.LogCaptureFixture
) -> None:
    def put(records: Sequence[Record]) -> None:
        raise StreamQAError("records cannot be written any more")

    site.control.attach(site.line, put)
    site.control.add_question("open", OPEN, "ops")
    assert "question open added by ops is not recorded" in caplog.text
    assert "open" in site.store.standing.questions


def test_changes_from_many_threads_come_one_after_the_other(site: ControlSite) -> None:
    def change(number: int) -> None:
        for turn in range(5):
            site.control.add_question(f"q{number}", OPEN, f"t{number}")
            site.control.pause_question(f"q{number}", f"t{number}")
            if turn < 4:
                site.control.remove_question(f"q{number}", f"t{number}")

    threads = [threading.Thread(target=change, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    added = {f"q{number}" for number in range(6)}
    assert set(site.names()[0]) == {"person", "cars"} | added == set(site.line.questions)
    assert [f"{c[2]} {c[1]}" for c in site.changes()] == [
        call.replace("add ", "added ").replace("pause ", "paused ").replace("remove ", "removed ")
        for call in site.line.calls
    ]
    site.start()
    assert set(site.names()[0]) == {"person", "cars"} | added


KILLED = """
import itertools, sys, threading
from pathlib import Path
from tests.noted_line import ControlSite
from tests.test_control import OPEN

site = ControlSite(Path(sys.argv[1]))
print("ready", flush=True)
for number in itertools.count():
    site.control.add_question(f"q{number}", OPEN, "a")
    print(f"q{number}", flush=True)
    site.control.remove_question(f"q{number}", "a")
"""


@pytest.mark.parametrize("after", [1, 3, 8])
def test_a_process_that_is_killed_while_changing_leaves_a_file_that_loads(tmp_path: Path, after: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout:
        told = [process.stdout.readline() for _ in range(after + 1)]
        process.kill()
    process.wait(10)
    site = ControlSite(tmp_path)
    last = int(told[-1][1:])
    # Whatever was told is done; of what came next, which nobody was told, all or nothing.
    left = set(site.names()[0]) - {"person", "cars"}
    assert len(left) <= 1
    assert all(int(name[1:]) >= last for name in left)
    site.control.add_question("after", OPEN, "a")
    assert "after" in site.names()[0]


def test_a_change_that_hangs_does_not_hold_up_the_others_for_ever(
    site: ControlSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamqa.control._TURN_S", 0.05)
    began, go_on = threading.Event(), threading.Event()

    def hangs(question: object) -> None:
        began.set()
        go_on.wait(20)

    monkeypatch.setattr(site.line, "add_question", hangs)
    thread = threading.Thread(target=lambda: site.control.add_question("open", OPEN, "local"))
    thread.start()
    assert began.wait(10)
    with pytest.raises(Busy, match="another change is being made"):
        site.control.pause_question("cars", "local")
    go_on.set()
    thread.join(10)
    site.control.pause_question("cars", "local")
