"""What was changed while it ran, kept beside the log and applied to the configuration at the next start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamqa.config import Config, parse_config
from streamqa.errors import ConfigError
from streamqa.question_settings import QuestionConfig
from streamqa.settings import SourceConfig
from streamqa.standing import ChangesFile, Entry, Standing, Unsaved, as_configured, difference, merged

TEXT = """
sources:
  gate: rtsp://viewer:${PASSWORD}@h/1
  yard: {url: scene:gate, priority: 2}
questions:
  person: {ask: "Is there a person?", kind: yes_no, every: 500ms}
  cars: {ask: "How many cars?", kind: number, sources: [yard]}
"""


def configured(text: str = TEXT, password: str = "hunter2") -> Config:
    return parse_config(text, environ={"PASSWORD": password})


def question(**settings: Any) -> Entry[QuestionConfig]:
    return Entry(QuestionConfig.model_validate({"ask": "Is it open?", **settings}))


def source(url: str, **settings: Any) -> Entry[SourceConfig]:
    return Entry(SourceConfig.model_validate({"url": url, **settings}))


def with_all_kinds_of_changes(standing: Standing) -> Standing:
    questions: Mapping[str, Entry[QuestionConfig]] = {
        "person": replace(question(kind="yes_no", every="2s"), is_paused=True),
        "open": question(zone=[0, 0, 0.5, 1], when="22:00-06:00 UTC", decide="majority", window="90s"),
    }
    sources: Mapping[str, Entry[SourceConfig]] = {
        "gate": replace(standing.sources["gate"], is_paused=True),
        "door": source("rtsp://u:secret@10.0.0.9/1", recent="off", stall_after="2500ms"),
    }
    return Standing(questions, sources)


def saved(path: Path, standing: Standing, config: Config | None = None) -> None:
    with ChangesFile(path, config or configured()).saving(standing):
        pass


def test_all_kinds_of_changes_are_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "answers.db.changes.json"
    wanted = with_all_kinds_of_changes(as_configured(configured()))
    saved(path, wanted)
    again = ChangesFile(path, configured())
    assert again.standing == wanted
    assert list(again.standing.questions) == ["person", "open"]
    (note,) = again.notes
    for change in (
        "question person changed",
        "question open added",
        "question cars removed",
        "source gate paused",
    ):
        assert change in note
    assert str(path) in note
    assert [(q.id, q.is_paused) for q in again.standing.asked()] == [("person", True), ("open", False)]


def test_without_changes_there_is_no_file_and_nothing_to_tell(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    plain = as_configured(configured())
    saved(path, with_all_kinds_of_changes(plain))
    assert path.stat().st_mode & 0o777 == 0o600
    saved(path, plain)
    assert os.listdir(tmp_path) == []
    store = ChangesFile(path, configured())
    assert (store.standing, store.notes) == (plain, [])


def test_a_password_of_the_environment_is_not_in_the_file_and_a_new_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    plain = as_configured(configured())
    gate = source(plain.sources["gate"].settings.url, priority=7)
    saved(path, replace(plain, sources={**plain.sources, "gate": gate}))
    assert "hunter2" not in path.read_text()
    changed = ChangesFile(path, configured(password="another")).standing.sources["gate"].settings
    assert (changed.url, changed.priority) == ("rtsp://viewer:another@h/1", 7)


def test_whoever_edits_an_entry_after_it_was_changed_meant_the_edit(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    saved(path, with_all_kinds_of_changes(as_configured(configured())))
    edited = configured(
        TEXT.replace("every: 500ms", "every: 4s").replace("kind: number", "kind: number, max: 3")
    )
    store = ChangesFile(path, edited)
    assert store.standing.questions["person"] == Entry(edited.questions["person"], is_paused=True)
    assert store.standing.questions["cars"] == Entry(edited.questions["cars"])
    assert "open" in store.standing.questions
    assert "question person, question cars" in store.notes[0]
    # It is told once, and the older change does not come back with the next edit.
    store = ChangesFile(path, configured())
    assert store.standing.questions["person"].settings == configured().questions["person"]
    assert not any("edited" in note for note in store.notes)


def test_what_leaves_the_configuration_is_gone_and_what_was_added_beside_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    saved(path, with_all_kinds_of_changes(as_configured(configured())))
    store = ChangesFile(path, configured("sources: {yard: {url: 'scene:gate', priority: 2}}\nquestions: {}"))
    assert list(store.standing.questions) == ["open"]
    assert list(store.standing.sources) == ["door"]


def test_a_name_that_is_added_in_both_places_is_the_configurations(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    saved(path, with_all_kinds_of_changes(as_configured(configured())))
    edited = configured(TEXT + '  open: {ask: "Is it?"}\n')
    store = ChangesFile(path, edited)
    assert store.standing.questions["open"].settings.ask == "Is it?"
    assert "question open" in store.notes[0]


def test_a_question_of_a_source_that_is_gone_is_told_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    plain = as_configured(configured())
    saved(path, replace(plain, questions={**plain.questions, "new": question(sources=["yard"])}))
    store = ChangesFile(path, configured("sources: {other: 'scene:gate'}\nquestions: {a: {ask: 'b?'}}"))
    assert "question new asks of yard" in store.notes[-1]
    assert "new" in store.standing.questions


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 2}',
        b'{"version": 1, "sources": {"entries": {"a": {"settings": {"url": "rtsp://u:hunter2@h", "x": 1}}}}}',
        b'{"version": 1, "questions": {"entries": {"../a": {"settings": {"ask": "b"}}}}}',
        b"\xff\xfe",
    ],
)
def test_a_file_that_cannot_be_read_stops_the_start_and_says_what_to_do(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(content)
    with pytest.raises(
        ConfigError, match=r"c\.json: these saved changes cannot be read .*move it away"
    ) as caught:
        ChangesFile(path, configured())
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_merging_the_difference_gives_what_stood() -> None:
    config = configured()
    wanted = with_all_kinds_of_changes(as_configured(config))
    assert merged(config, difference(config, wanted)) == (wanted, [])


def test_a_log_in_memory_keeps_its_changes_in_memory() -> None:
    store = Unsaved(as_configured(configured()))
    wanted = with_all_kinds_of_changes(store.standing)
    with store.saving(wanted):
        assert store.standing != wanted
    assert store.standing == wanted
