"""`streamqa undelivered`: listed, sent again with the same key, and gone when it was taken."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from streamqa.cli import undelivered
from streamqa.errors import ConfigError, StreamQAError
from streamqa.sinks.letters import Letter, Letters
from tests.cli.process import streamqa
from tests.receiver import Answer, Receiver, free_port, receiver

__all__ = ["receiver"]

SECRET = "a secret of 16 or more"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def configured(folder: Path, *sinks: str, log: str | None = None) -> Path:
    path = folder / "c.yaml"
    lines = ["sources: {gate: scene:gate}", "questions: {}", f"log: {{path: '{log or folder / 'a.db'}'}}"]
    lines += ["serve: {add: {hosts: [127.0.0.1]}}", "sinks:", *sinks] if sinks else []
    path.write_text("\n".join(lines))
    return path


def given_up(folder: Path, *numbers: int, sink: str = "webhook") -> Letters:
    letters = Letters(folder / "a.db.undelivered.db")
    letters.put(
        [
            Letter(sink, f"e0:{n}", json.dumps({"seq": n}), "410 Gone", "2026-11-22T02:22:34.120Z")
            for n in numbers
        ]
    )
    return letters


def hook(url: str, id: str = "webhook") -> str:
    return f"  - {{webhook: '{url}', id: {id}, secret: '{SECRET}', timeout: 500ms}}"


def left(letters: Letters) -> list[str]:
    return [letter.key for letter in letters.read()]


def call(path: Path, replay: bool = False, sink: str | None = None, as_json: bool = False) -> None:
    undelivered.command(path, replay, sink, as_json)


def test_they_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configured(tmp_path)
    call(path)
    assert capsys.readouterr().out == ""
    given_up(tmp_path, 1, 2)
    given_up(tmp_path, 3, sink="other")
    call(path)
    told = capsys.readouterr()
    assert [line.split()[1:] for line in told.out.splitlines()] == [
        [sink, key, "410", "Gone"]
        for sink, key in (("webhook", "e0:1"), ("webhook", "e0:2"), ("other", "e0:3"))
    ]
    assert told.err.splitlines() == ["streamqa: other: 1 undelivered", "streamqa: webhook: 2 undelivered"]
    call(path, sink="other", as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "sink": "other", "key": "e0:3", "given_up_at": "2026-11-22T02:22:34.120Z", "reason": "410 Gone",
        "record": {"seq": 3},
    }  # fmt: skip


def test_they_are_sent_again_exactly(
    tmp_path: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    path = configured(tmp_path, hook(receiver.url()))
    letters = given_up(tmp_path, *range(1, 6))
    call(path, replay=True)
    assert capsys.readouterr().out == "webhook: 5 sent, 0 left\n"
    assert [(r.headers["idempotency-key"], r.json) for r in receiver.requests] == [
        (f"e0:{n}", {"seq": n}) for n in range(1, 6)
    ]
    for request in receiver.requests:
        signed = request.headers["x-streamqa-timestamp"].encode() + b"." + request.body
        expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        assert request.headers["x-streamqa-signature"] == f"sha256={expected}"
    assert left(letters) == []
    call(path, replay=True)
    assert len(receiver.requests) == 5


def test_one_that_is_refused_stays_and_the_others_go(
    tmp_path: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.answers = [Answer(), Answer(422)]
    letters = given_up(tmp_path, 1, 2, 3)
    with pytest.raises(StreamQAError, match="it answered 422"):
        call(configured(tmp_path, hook(receiver.url())), replay=True, as_json=True)
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (told["sink"], told["sent"], told["left"]) == ("webhook", 2, 1)
    assert left(letters) == ["e0:2"]


def test_one_that_is_not_there_costs_the_others_nothing(tmp_path: Path, receiver: Receiver) -> None:
    dead = hook(f"http://127.0.0.1:{free_port()}/", "dead")
    given_up(tmp_path, 1, 2, sink="dead")
    given_up(tmp_path, 3, sink="gone")
    letters = given_up(tmp_path, 4)
    with pytest.raises(StreamQAError, match=r"dead: http://127.*; gone: there is no webhook of this id"):
        call(configured(tmp_path, dead, hook(receiver.url())), replay=True)
    assert left(letters) == ["e0:1", "e0:2", "e0:3"]
    assert len(receiver.requests) == 1


def test_those_that_were_added_over_the_network(tmp_path: Path, receiver: Receiver) -> None:
    added = {"version": 1, "webhooks": {"far": {"webhook": receiver.url()}}}
    (tmp_path / "a.db.webhooks.json").write_text(json.dumps(added))
    letters = given_up(tmp_path, 1, sink="far")
    call(configured(tmp_path, "  - {webhook: 'http://127.0.0.1:9/'}"), replay=True)
    assert left(letters) == []
    added["webhooks"] = {"far": {"webhook": receiver.url(host="127.0.0.2")}}
    (tmp_path / "a.db.webhooks.json").write_text(json.dumps(added))
    given_up(tmp_path, 2, sink="far")
    with pytest.raises(StreamQAError, match="not a public one"):
        call(configured(tmp_path, "  - {webhook: 'http://127.0.0.1:9/'}"), replay=True)
    assert left(letters) == ["e0:2"]


def test_only_of_one(tmp_path: Path, receiver: Receiver) -> None:
    given_up(tmp_path, 1)
    letters = given_up(tmp_path, 2, sink="other")
    call(configured(tmp_path, hook(receiver.url()), hook(receiver.url(), "other")), replay=True, sink="other")
    assert left(letters) == ["e0:1"]


def test_a_log_in_memory_and_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="in memory"):
        call(configured(tmp_path, log=":memory:"))
    (tmp_path / "a.db.undelivered.db").write_text("no database " * 100)
    with pytest.raises(StreamQAError, match=r"cannot be used: .*move it away"):
        call(configured(tmp_path))


def test_as_a_command(tmp_path: Path) -> None:
    given_up(tmp_path, 1)
    done = streamqa("undelivered", str(configured(tmp_path)), "--json")
    assert (done.returncode, json.loads(done.stdout)["key"]) == (0, "e0:1"), done.stderr
