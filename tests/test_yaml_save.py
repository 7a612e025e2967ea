"""Changes in the configuration's own text: what they are not about stays as it was written."""

from __future__ import annotations

import difflib
import os
import random
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamqa.config import load_config, parse_config
from streamqa.errors import ConfigError, StreamQAError
from streamqa.question_settings import QuestionConfig
from streamqa.settings import SourceConfig
from streamqa.standing import ChangesFile, Entry, Standing, as_configured
from streamqa.yaml_save import ConfigurationFile, save_questions, with_changes

ENVIRON = {"PASSWORD": "hunter2"}
TEXT = """\
# what we watch
model: tiny   # the small one
sources:
  # the gate, since May
  gate: rtsp://viewer:${PASSWORD}@h/1   # new camera
  # the yard
  yard:
    url: "scene:gate"   # made up
    priority: 2
    # after the yard

# what we ask
questions:
  # somebody?
  person: {ask: 'Is there a person?', kind: yes_no, every: 500ms}   # often
  # cars, on weekdays
  cars:
    ask: "How many cars?"   # not lorries
    kind: number
    # below the cars
  # the last one
  open: {ask: "Is it open?", sources: [gate]}   # always

# where
serve: {port: 0}
# end
"""
Changed = Mapping[str, dict[str, Any] | None]


def changed(text: str = TEXT, *, questions: Changed = {}, sources: Changed = {}) -> str:  # noqa: B006 - read only
    """The text after these entries were given these settings; None: removed."""
    config = parse_config(text, environ=ENVIRON)
    standing = as_configured(config)
    new_questions, new_sources = dict(standing.questions), dict(standing.sources)
    for name, settings in questions.items():
        new_questions.pop(name, None) if settings is None else new_questions.update(
            {name: Entry(QuestionConfig.model_validate(settings))}
        )
    for name, settings in sources.items():
        new_sources.pop(name, None) if settings is None else new_sources.update(
            {name: Entry(SourceConfig.model_validate(settings))}
        )
    wanted = Standing(new_questions, new_sources)
    result = with_changes(text, config, wanted, "c.yaml", ENVIRON)
    assert as_configured(parse_config(result, environ=ENVIRON)) == wanted
    return result


def lines(before: str, after: str) -> list[str]:
    """What a person would see of the change. Comments keep their column, so how far they are off says nothing."""
    before, after = (re.sub(r" +#", "  #", text) for text in (before, after))
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [line for line in diff if not line.startswith(("---", "+++", "@@"))]


def test_without_a_change_the_text_is_the_same() -> None:
    assert changed() == TEXT


def test_a_question_that_is_added_is_one_line_more() -> None:
    after = changed(questions={"new": {"ask": "No smoke: is it?", "kind": "yes_no", "zone": [0, 0, 0.5, 1]}})
    assert lines(TEXT, after) == [
        '+  new: {ask: "No smoke: is it?", kind: yes_no, zone: [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]}'
    ]
    assert after.index("always") < after.index("  new:") < after.index("# where")


def test_a_question_that_is_removed_takes_its_own_lines_with_it() -> None:
    assert lines(TEXT, changed(questions={"cars": None})) == [
        "-  cars:", '-    ask: "How many cars?"  # not lorries', "-    kind: number",
    ]  # fmt: skip
    assert lines(TEXT, changed(questions={"open": None})) == [
        '-  open: {ask: "Is it open?", sources: [gate]}  # always'
    ]


def test_comments_stay_when_the_first_entry_goes() -> None:
    after = changed(questions={"person": None})
    assert lines(TEXT, after) == [
        "-  person: {ask: 'Is there a person?', kind: yes_no, every: 500ms}  # often"
    ]


def test_only_what_differs_of_an_entry_is_written() -> None:
    person = {"ask": "Is there a person?", "kind": "yes_no", "every": "2s"}
    assert lines(TEXT, changed(questions={"person": person})) == [
        "-  person: {ask: 'Is there a person?', kind: yes_no, every: 500ms}  # often",
        "+  person: {ask: 'Is there a person?', kind: yes_no, every: 2s}  # often",
    ]
    cars = {"ask": "How many cars?", "kind": "number", "max": 4}
    assert lines(TEXT, changed(questions={"cars": cars})) == ["+    max: 4"]


def test_the_name_of_a_variable_stays_in_an_address() -> None:
    gate = {"url": "rtsp://viewer:hunter2@h/1", "priority": 5}
    assert lines(TEXT, changed(sources={"gate": gate})) == [
        "-  gate: rtsp://viewer:${PASSWORD}@h/1  # new camera",
        '+  gate: {url: "rtsp://viewer:${PASSWORD}@h/1", priority: 5}  # new camera',
    ]
    yard = {"url": "scene:gate", "priority": 3}
    assert lines(TEXT, changed(sources={"yard": yard})) == ["-    priority: 2", "+    priority: 3"]


def test_sources_are_added_in_their_short_form_where_that_says_it_all() -> None:
    after = changed(sources={"door": {"url": "scene:gate"}, "desk": {"url": "webcam:0", "fps": 5}})
    assert [line for line in lines(TEXT, after) if line != "+"] == [
        "+  door: scene:gate",
        "+  desk: {url: webcam:0, fps: 5.0}",
    ]


def test_all_of_a_section_may_go_and_come_back() -> None:
    empty = changed(questions={"person": None, "cars": None, "open": None})
    assert parse_config(empty, environ=ENVIRON).questions == {}
    for comment in ("# somebody?", "# cars, on weekdays", "# the last one", "# where", "# end"):
        assert comment in empty
    again = changed(empty, questions={"a": {"ask": "b?"}})
    assert list(parse_config(again, environ=ENVIRON).questions) == ["a"]


@pytest.mark.parametrize("text", ["sources: {a: 'scene:gate'}\n", "sources:\n    a: scene:gate\n", "{}\n"])
def test_sections_that_are_not_there_are_begun(text: str) -> None:
    after = changed(text, questions={"q": {"ask": "Is it?"}}, sources={"b": {"url": "x.mp4"}})
    assert 'q: {ask: "Is it?"}' in after


@pytest.mark.parametrize(
    "ask",
    [
        "no",
        "12:30:45",
        "2026-01-01",
        "null",
        "1e3",
        "0x1F",
        "a # b",
        "'",
        '"',
        "\\n",
        "a: b",
        "é\n中",
        "-",
        "~",
    ],
)
def test_texts_are_read_as_they_were_said(ask: str) -> None:
    changed(questions={"q": {"ask": ask}, "person": {"ask": ask}})


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_changes_leaves_what_they_are_not_about(seed: int) -> None:
    """`changed` compares all that the text says with what it should; here the comments are looked at."""
    chance, text, free = random.Random(seed), TEXT, iter(range(1000))
    for _ in range(25):
        config = parse_config(text, environ=ENVIRON)
        names = [*config.questions, f"q{next(free)}"]
        settings: dict[str, Any] = {"ask": f"Is it {chance.random()}?", "every": f"{chance.randrange(1, 9)}s"}
        if chance.random() < 0.5:
            settings |= {
                "zone": [0, 0, round(chance.uniform(0.1, 1), 6), 1],
                "gate": {"threshold": chance.random()},
            }
        text = changed(text, questions={chance.choice(names): None if chance.random() < 0.4 else settings})
        source = {"url": "scene:gate", "priority": chance.randrange(9)} if chance.random() < 0.7 else None
        if not any("gate" in (item.sources or ()) for item in config.questions.values()):
            text = changed(text, sources={chance.choice([*config.sources, f"s{next(free)}"]): source})
        for comment in ("# what we watch", "# the small one", "# what we ask", "# where", "# end"):
            assert text.count(comment) == 1, text


def test_small_numbers_are_read_as_numbers() -> None:
    after = changed(questions={"q": {"ask": "b?", "zone": [0, 0.00001, 0.5, 1], "gate": 1e-7}})
    assert "0.00001" in after
    assert "0.0000001" in after


def test_a_file_that_would_be_too_large_to_load_is_not_written() -> None:
    with pytest.raises(ConfigError, match="larger than"):
        changed(questions={f"q{number}": {"ask": f"{number}" * 700} for number in range(100, 700)})


@pytest.mark.parametrize("name", ["1", "1.50", "null", "true", "0x1F", "2026-01-01", "no", "1_000"])
def test_names_that_look_like_something_else(name: str) -> None:
    after = changed(questions={name: {"ask": "Is it?"}})
    again = changed(after, questions={name: {"ask": "Is it now?"}})
    changed(again, questions={name: None})


def test_a_variable_in_a_text_that_came_over_the_network_is_refused() -> None:
    for known in ("${PASSWORD}", "${UNKNOWN_TO_ALL}"):
        with pytest.raises(ConfigError) as caught:
            changed(questions={"q": {"ask": f"Is it {known}?"}})
        assert "hunter2" not in str(caught.value)


def test_an_alias_is_not_changed_with_what_it_stands_for() -> None:
    text = "sources: {a: 'scene:gate'}\nquestions:\n  a: &all {ask: 'b?', every: 1s}\n  b: *all\n"
    with pytest.raises(ConfigError, match="alias"):
        changed(text, questions={"a": {"ask": "b?", "every": "2s"}})


def store_in(folder: Path, text: str = TEXT) -> ConfigurationFile:
    (folder / "c.yaml").write_text(text)
    config = load_config(folder / "c.yaml")
    return ConfigurationFile(folder / "c.yaml", config, ChangesFile(folder / "changes.json", config))


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "hunter2")


def with_question(standing: Standing, name: str, **settings: Any) -> Standing:
    entry = Entry(QuestionConfig.model_validate({"ask": "Is it?", **settings}))
    return replace(standing, questions={**standing.questions, name: entry})


def test_changes_go_into_the_file_and_pauses_beside_the_log(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    with store.saving(with_question(store.standing, "new")):
        assert (tmp_path / "c.yaml").read_text() == TEXT
    assert sorted(os.listdir(tmp_path)) == ["c.yaml"]
    paused = {**store.standing.questions, "new": replace(store.standing.questions["new"], is_paused=True)}
    with store.saving(replace(store.standing, questions=paused)):
        pass
    assert sorted(os.listdir(tmp_path)) == ["c.yaml", "changes.json"]
    config = load_config(tmp_path / "c.yaml")
    again = ChangesFile(tmp_path / "changes.json", config)
    assert (again.standing, len(again.notes)) == (store.standing, 1)
    assert "hunter2" not in (tmp_path / "c.yaml").read_text() + (tmp_path / "changes.json").read_text()


def test_what_somebody_edits_while_it_runs_stays(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    edited = TEXT.replace("every: 500ms", "every: 3s").replace("# end", "# the end")
    (tmp_path / "c.yaml").write_text(edited)
    with store.saving(with_question(store.standing, "new")):
        pass
    assert lines(edited, (tmp_path / "c.yaml").read_text()) == ['+  new: {ask: "Is it?"}']
    again = ChangesFile(tmp_path / "changes.json", load_config(tmp_path / "c.yaml"))
    assert again.notes == []
    assert again.standing.questions["person"].settings.every == 3 * 10**9


def test_earlier_changes_move_into_the_file_with_the_next_one(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    config = load_config(tmp_path / "c.yaml")
    changes = ChangesFile(tmp_path / "changes.json", config)
    with changes.saving(with_question(store.standing, "earlier")):
        pass
    store = ConfigurationFile(tmp_path / "c.yaml", config, ChangesFile(tmp_path / "changes.json", config))
    with store.saving(with_question(store.standing, "later")):
        pass
    assert list(load_config(tmp_path / "c.yaml").questions)[-2:] == ["earlier", "later"]
    assert os.listdir(tmp_path) == ["c.yaml"]


@pytest.mark.parametrize(
    "broken", ["questions: [", "questions: {a: {ask: b?, sources: [gone]}}\nsources: {}"]
)
def test_a_file_that_is_wrong_by_now_takes_no_change(tmp_path: Path, broken: str) -> None:
    store = store_in(tmp_path)
    before = store.standing
    (tmp_path / "c.yaml").write_text(broken)
    with pytest.raises(ConfigError, match=r"c\.yaml:"), store.saving(with_question(before, "new")):
        pytest.fail("the block was entered")
    assert store.standing == before
    assert (tmp_path / "c.yaml").read_text() == broken


def test_after_an_exception_nothing_is_written(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    before = store.standing
    with pytest.raises(ZeroDivisionError), store.saving(with_question(before, "new")):
        _ = 1 // 0
    assert (store.standing, (tmp_path / "c.yaml").read_text()) == (before, TEXT)
    (tmp_path / "c.yaml").unlink()
    with pytest.raises(StreamQAError, match="cannot be read"), store.saving(with_question(before, "new")):
        pytest.fail("the block was entered")


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_settings_of_questions_are_written_where_they_stand(tmp_path: Path, line_end: str) -> None:
    path = tmp_path / "c.yaml"
    read = TEXT.replace("${PASSWORD}", "p").replace("\n", line_end).encode()
    path.write_bytes(read)
    path.chmod(0o640)
    config = load_config(path)
    person = {**config.questions["person"].given(), "above": 0.35, "window": "1.5s", "decide": "mean"}
    save_questions(path, read, config, {"person": QuestionConfig.model_validate(person)})
    after = path.read_bytes().decode()
    assert lines(read.decode(), after) == [
        "-  person: {ask: 'Is there a person?', kind: yes_no, every: 500ms}  # often",
        "+  person: {ask: 'Is there a person?', kind: yes_no, every: 500ms, window: 1.5s, decide: mean, above: 0.35}"
        "  # often",
    ]
    assert after.count("\r\n") == read.count(b"\r\n")
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("other", [TEXT + "# more\n", None])
def test_a_configuration_that_was_edited_meanwhile_is_left_alone(tmp_path: Path, other: str | None) -> None:
    path = tmp_path / "c.yaml"
    read = TEXT.replace("${PASSWORD}", "p").encode()
    path.write_bytes(read)
    config = load_config(path)
    path.unlink() if other is None else path.write_text(other)
    item = QuestionConfig(ask="Other?")
    with pytest.raises(ConfigError, match="changed meanwhile, so nothing has been written"):
        save_questions(path, read, config, {"person": item})
    assert (path.read_text() if path.exists() else None) == other
    assert list(tmp_path.iterdir()) == ([path] if other else [])
