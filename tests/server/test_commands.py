"""What clients say, carried out: who may, what comes back, and what is told when it cannot be done."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from streamqa.errors import Busy, ConfigError, ModelError, ModelLost, SourceUnavailable, StreamQAError
from streamqa.server.commands import execute, moment
from streamqa.server.messages import Error, Reply
from streamqa.server.protocol import parse
from streamqa.server.visitor import LOCAL, Scope, Visitor
from streamqa.testing import ScriptedModel
from streamqa.types import Moment, Prompt
from tests.noted_line import ControlSite

OPEN = {"ask": "Is it open?", "kind": "yes_no"}
CHANGES: list[dict[str, Any]] = [
    {"type": "ask", "question": "open", "settings": OPEN},
    {"type": "update", "question": "person", "settings": {"ask": "Is somebody there?"}},
    {"type": "pause", "question": "person"},
    {"type": "resume", "question": "person"},
    {"type": "remove", "question": "cars"},
    {"type": "add", "source": "door", "settings": {"url": "rtsp://u:secret@10.0.0.9/1"}},
    {"type": "update", "source": "gate", "settings": {"url": "scene:gate", "priority": 3}},
    {"type": "pause", "source": "gate"},
    {"type": "resume", "source": "gate"},
    {"type": "remove", "source": "gate"},
]


@pytest.fixture
def line(tmp_path: Path) -> ControlSite:
    return ControlSite(tmp_path)


def said(line: ControlSite, message: dict[str, Any], visitor: Visitor = LOCAL) -> Reply | Error:
    command = parse(json.dumps(message))
    assert command.type not in ("subscribe", "ping")
    return execute(command, visitor, line.control)


def result(line: ControlSite, **message: Any) -> dict[str, Any]:
    reply = said(line, message)
    assert isinstance(reply, Reply), reply
    json.dumps(reply.result)
    return reply.result


def error(line: ControlSite, **message: Any) -> Error:
    reply = said(line, message)
    assert isinstance(reply, Error), reply
    assert "\n" not in reply.message
    return reply


@pytest.mark.parametrize(
    "message", CHANGES, ids=lambda m: f"{m['type']} {'source' if 'source' in m else 'question'}"
)
def test_each_change_is_done_recorded_and_answered_by_what_is_there_then(
    line: ControlSite, message: dict[str, Any]
) -> None:
    if message["type"] == "resume":
        said(line, {**message, "type": "pause"})
    reply = said(line, {**message, "id": "7"}, Visitor("ops", "admin"))
    assert isinstance(reply, Reply)
    assert reply.id == "7"
    what = "question" if "question" in message else "source"
    assert line.changes()[-1][0] == what
    assert line.changes()[-1][3] == "ops"
    left = {entry["id"]: entry for entry in line.control.describe()[f"{what}s"]}
    assert reply.result == left.get(message[what], {"id": message[what]})
    assert (message[what] in left) == (message["type"] != "remove")
    if "settings" in message:
        assert "secret" not in json.dumps(reply.result)
        assert reply.result["settings"].keys() - {"guarded"} == message["settings"].keys()


@pytest.mark.parametrize(
    "message", CHANGES, ids=lambda m: f"{m['type']} {'source' if 'source' in m else 'question'}"
)
@pytest.mark.parametrize("scope", ["read", "ask"])
def test_only_admins_change_anything(line: ControlSite, message: dict[str, Any], scope: Scope) -> None:
    reply = said(line, message, Visitor("desk", scope))
    assert isinstance(reply, Error)
    assert reply.code == "forbidden"
    assert "admin" in reply.message
    assert "desk" in reply.message
    assert (line.line.calls, line.records) == ([], [])


def test_readers_list_and_askers_ask_once(line: ControlSite) -> None:
    once = {"type": "ask_once", "source": "gate", "settings": OPEN}
    for scope, may_list, may_ask in (("read", True, False), ("ask", True, True), ("admin", True, True)):
        visitor = Visitor("v", scope)  # type: ignore[arg-type]
        assert isinstance(said(line, {"type": "list"}, visitor), Reply) == may_list
        assert isinstance(said(line, once, visitor), Reply) == may_ask


def test_a_single_answer_is_as_on_the_wire_and_has_no_number(line: ControlSite) -> None:
    answer = result(line, type="ask_once", id="1", source="gate", settings=OPEN, ago_s=2.5)
    assert list(answer)[:4] == ["type", "seq", "source", "question"]
    assert (answer["type"], answer["seq"], answer["question"]) == ("answer", None, "ask_once")
    assert (answer["value"], answer["frame"], answer["t_s"]) == (True, 30, 7.5)
    assert line.line.calls == [f"frame gate {Moment(ago_ns=2_500_000_000)}"]
    assert line.records == []


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        ({"type": "pause", "question": "x"}, "not_there", "person, cars"),
        ({"type": "ask_once", "source": "x", "settings": OPEN}, "not_there", "no such source"),
        ({"type": "ask", "question": "person", "settings": OPEN}, "taken", "person"),
        ({"type": "update", "question": "person", "settings": {"ask": "?", "evry": "1s"}}, "bad_message", "evry"),
        ({"type": "update", "question": "person", "settings": {"ask": "?", "every": 2}}, "bad_message", "every: 2"),
        ({"type": "update", "source": "gate", "settings": {}}, "bad_message", "url"),
        ({"type": "update", "source": "gate", "settings": OPEN}, "bad_message", "url"),
        ({"type": "ask", "question": "q", "settings": {"ask": "?", "kind": "choice"}}, "bad_message", "choice"),
        ({"type": "add", "source": "s", "settings": {"url": "gopher://u:secret@h"}}, "bad_message", "scheme"),
        ({"type": "remove", "source": "yard"}, "bad_message", "cars"),
        ({"type": "ask_once", "source": "gate", "settings": OPEN, "at": "noon"}, "bad_message", "ISO 8601"),
        ({"type": "ask_once", "source": "gate", "settings": OPEN, "t_s": 1, "ago_s": 1}, "bad_message", "one of t"),
    ],
)  # fmt: skip
def test_errors_have_stable_codes_and_say_what_is_wrong(
    line: ControlSite, message: dict[str, Any], code: str, words: str
) -> None:
    found = error(line, **message, id="9")
    assert (found.code, found.id) == (code, "9")
    assert words in found.message
    assert "secret" not in found.message
    assert line.records == []


def test_a_source_that_may_not_be_reached(line: ControlSite) -> None:
    line.refused.add("http://169.254.169.254/")
    found = error(line, type="add", source="s", settings={"url": "http://169.254.169.254/"})
    assert found.code == "not_allowed"


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Busy("8 questions are being asked"), "busy"),
        (ModelError("no such task"), "model"),
        (ModelLost("its process is gone"), "model"),
        (StreamQAError("the line has stopped"), "unavailable"),
        (SourceUnavailable("rtsp://u:secret@h/ is\naway"), "unavailable"),
    ],
)
def test_failures_of_the_line(line: ControlSite, failure: StreamQAError, code: str) -> None:
    line.line.fails = failure
    for message in ({"type": "ask_once", "source": "gate", "settings": OPEN}, CHANGES[0]):
        found = error(line, **message)
        assert found.code == code
        assert "secret" not in found.message


def test_without_a_control_nothing_can_be_changed_or_asked() -> None:
    for message in ({"type": "list"}, CHANGES[0]):
        reply = execute(parse(json.dumps(message)), LOCAL, None)  # type: ignore[arg-type]
        assert isinstance(reply, Error)
        assert reply.code == "unavailable"


def test_a_mistake_of_ours_is_told_and_logged(
    line: ControlSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(line.control, "describe", lambda: 1 // 0)
    found = error(line, type="list", id="3")
    assert (found.code, found.id) == ("internal", "3")
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    "at", ["noon", "2026-11-22T02:22:34", "0001-01-01T00:00:00+14:00", "", "9999-12-31T23:59:59-14:00"]
)
def test_a_time_is_with_a_zone_and_within_reason(at: str) -> None:
    with pytest.raises(ConfigError):
        moment(None, at, None)


def test_questions_that_take_long_hold_up_nobody_who_comes_back(
    site: Any, join: Any, answer: Any, line: ControlSite
) -> None:
    asked, done = threading.Semaphore(0), threading.Event()

    def slow(image: Any, prompt: Prompt) -> str:
        asked.release()
        assert done.wait(20)
        return "at last"

    line.line.model = ScriptedModel(slow)
    site.control = line.control

    async def main() -> None:
        async with site.running(), AsyncExitStack() as stack:
            site.publish(*map(answer, range(5)))
            askers = [await stack.enter_async_context(join(site, subscription=None)) for _ in range(4)]
            for peer in askers:
                for number in range(4):
                    await peer.say(type="ask_once", id=str(number), source="gate", settings={"ask": "?"})
            try:
                for _ in range(16):  # all of them are being answered at once
                    assert await asyncio.to_thread(asked.acquire, timeout=10)
                back = await stack.enter_async_context(join(site, since=0))
                assert [record["seq"] for record in await back.hear_until(5)] == [1, 2, 3, 4, 5]
            finally:
                done.set()
            for peer in askers:
                replies = [await peer.hear() for _ in range(4)]
                assert {reply["result"]["value"] for reply in replies} == {"at last"}

    asyncio.run(main())
