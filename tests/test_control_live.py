"""Changes over the network to a line that runs, with real answers before and after, and after a restart."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.sync.client import ClientConnection, connect

from streamqa.config import parse_config
from streamqa.control import LineControl
from streamqa.metrics import Metrics
from streamqa.model.base import VisionModel, open_model
from streamqa.pipeline import Parts
from streamqa.server.chat import CHAT_PATH
from streamqa.server.listen import listen
from streamqa.service import Handles, run_service
from streamqa.settings import SourceConfig
from streamqa.sinks.log import AnswerLog
from streamqa.specs import source_specs
from streamqa.standing import ChangesFile
from streamqa.testing import ScriptedModel
from streamqa.types import Prompt, Value

TEXT = """
sources: {gate: 'scene:gate'}
questions:
  person: {ask: "Is there a person?", kind: yes_no, every: 200ms}
"""
LIGHT = {"ask": "Is the light on?", "kind": "yes_no", "every": "200ms"}


def said(image: Any, prompt: Prompt) -> Value:
    if prompt.options:
        return prompt.options[0].value
    return "nothing" if image is None else f"{image.shape[1]}x{image.shape[0]}"


class Live:
    """A service in a thread of its own, and a client of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.http: httpx2.Client
        self.notes: list[str] = []
        self._url = ""
        self.stop, self._is_up = threading.Event(), threading.Event()

    def serve(self, model: VisionModel) -> None:
        config = parse_config(TEXT)
        with closing(AnswerLog(self._folder / "answers.db")) as log:
            store = ChangesFile(self._folder / "answers.db.changes.json", config)
            self.notes = store.notes
            specs = source_specs(store.standing.watched())
            parts = Parts(store.standing.asked(), specs, model, log, (), Metrics())
            control = LineControl(store, self._allowed)
            door = listen("127.0.0.1", 0)
            asyncio.run(run_service(parts, door, self.stop, Handles(control), on_ready=self._up))

    def _allowed(self, settings: SourceConfig) -> None: ...

    def _up(self, url: str) -> None:
        self._url = url
        self._is_up.set()

    def wait(self) -> str:
        assert self._is_up.wait(20)
        return self._url

    def records(self, kind: str, after: int = 0, **query: str) -> list[dict[str, Any]]:
        response = self.http.get(
            "/api/records", params={"type": kind, "after": after, "limit": 1000, **query}
        )
        found: list[dict[str, Any]] = response.json()["records"]
        return found

    def last_seq(self) -> int:
        return int(self.http.get("/api/info").json()["last_seq"])

    def until(self, is_so: Callable[[], Any]) -> Any:
        deadline_s = time.monotonic() + 20
        while not (found := is_so()):
            assert time.monotonic() < deadline_s, "it did not come to that"
            time.sleep(0.02)
        return found

    def answers(self, question: str, source: str = "gate") -> list[dict[str, Any]]:
        """Some that come from now on."""
        after = self.last_seq()
        query = {"question": question, "source": source}
        return self.until(lambda: self.records("answer", after, **query))  # type: ignore[no-any-return]

    def assert_silent(self, question: str) -> None:
        """Nothing comes of it any more, but what was in the model."""
        self.answers("person")
        after = self.last_seq()
        for _ in range(2):
            self.answers("person")
        assert self.records("answer", after, question=question) == []


@contextmanager
def live(folder: Path, model: VisionModel | None = None) -> Iterator[Live]:
    line = Live(folder)
    thread = threading.Thread(target=line.serve, args=(model or ScriptedModel(said),))
    thread.start()
    try:
        with httpx2.Client(base_url=line.wait(), trust_env=False, timeout=20) as line.http:
            line.until(lambda: line.records("answer"))
            yield line
    finally:
        line.stop.set()
        thread.join(20)
    assert not thread.is_alive()


def test_a_question_comes_pauses_changes_and_goes_while_the_others_are_answered(tmp_path: Path) -> None:
    with live(tmp_path) as line:
        assert line.http.post("/api/questions", json={"id": "light", "settings": LIGHT}).status_code == 201
        assert line.answers("light")[0]["kind"] == "yes_no"

        line.http.post("/api/questions/light/pause").raise_for_status()
        line.assert_silent("light")

        line.http.post("/api/questions/light/resume").raise_for_status()
        line.answers("light")
        text = {"ask": "What is there?", "every": "200ms"}
        line.http.put("/api/questions/light", json=text).raise_for_status()
        assert {answer["kind"] for answer in line.answers("light")} == {"text"}

        line.http.delete("/api/questions/light").raise_for_status()
        line.assert_silent("light")
        assert [(c["id"], c["action"]) for c in line.records("change")] == [
            ("light", action) for action in ("added", "paused", "resumed", "changed", "removed")
        ]


def test_a_source_comes_pauses_and_goes(tmp_path: Path) -> None:
    with live(tmp_path) as line:
        line.http.post(
            "/api/sources", json={"id": "yard", "settings": {"url": "scene:gate"}}
        ).raise_for_status()
        line.answers("person", "yard")
        assert [s["id"] for s in line.http.get("/api/info").json()["sources"]] == ["gate", "yard"]
        line.http.post("/api/sources/yard/pause").raise_for_status()
        line.until(lambda: line.http.get("/api/sources/yard").json()["state"] == "paused")
        line.http.post("/api/sources/yard/resume").raise_for_status()
        line.answers("person", "yard")
        line.http.delete("/api/sources/yard").raise_for_status()
        assert line.http.get("/api/sources/yard").status_code == 404
        changes = [(c["what"], c["id"], c["action"], c["by"]) for c in line.records("change")]
        assert changes == [
            ("source", "yard", action, "local") for action in ("added", "paused", "resumed", "removed")
        ]


def test_changes_are_there_after_a_restart_and_so_are_their_records(tmp_path: Path) -> None:
    with live(tmp_path) as line:
        line.http.post("/api/questions", json={"id": "light", "settings": LIGHT}).raise_for_status()
        line.http.post(
            "/api/sources", json={"id": "yard", "settings": {"url": "scene:gate"}}
        ).raise_for_status()
        line.http.delete("/api/questions/person").raise_for_status()
        line.http.post("/api/sources/yard/pause").raise_for_status()
        line.answers("light")
        before = line.http.get("/api/questions").json()
        changes = line.until(lambda: len(line.records("change")) == 4 and line.records("change"))
    with live(tmp_path) as line:
        assert line.http.get("/api/questions").json() == before
        assert line.http.get("/api/sources/yard").json()["paused"] is True
        line.answers("light")
        assert line.records("change") == changes
        (note,) = line.notes
        for told in (
            "question light added",
            "source yard added",
            "question person removed",
            "source yard paused",
        ):
            assert told in note


class Socket:
    """The websocket of a line, command by command."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._ids = connection, count(1)

    def say(self, **message: Any) -> dict[str, Any]:
        """What comes back for it."""
        name = str(next(self._ids))
        self._connection.send(json.dumps({"id": name, **message}))
        while True:
            heard: dict[str, Any] = json.loads(self._connection.recv(20))
            if heard.get("id") == name:
                return heard


def by_rest(line: Live, message: dict[str, Any]) -> dict[str, Any]:
    """The same as a command of the websocket: what comes back, as the websocket says it."""
    what = "question" if "question" in message else "source"
    name, settings = message[what], message.get("settings")
    one = f"/api/{what}s/{name}"
    method, path, body = {
        "ask": ("POST", f"/api/{what}s", {"id": name, "settings": settings}),
        "add": ("POST", f"/api/{what}s", {"id": name, "settings": settings}),
        "update": ("PUT", one, settings),
        "pause": ("POST", f"{one}/pause", None),
        "resume": ("POST", f"{one}/resume", None),
        "remove": ("DELETE", one, None),
    }[message["type"]]
    response = line.http.request(method, path, json=body)
    assert response.status_code < 300, response.text
    return response.json() if response.content else {"id": name}


def test_the_websocket_and_rest_do_the_same_and_leave_the_same_records(tmp_path: Path) -> None:
    yard = {"url": "scene:gate"}
    messages: list[dict[str, Any]] = [
        {"type": "ask", "question": "light", "settings": LIGHT},
        {"type": "update", "question": "light", "settings": {**LIGHT, "every": "1s"}},
        *({"type": kind, "question": "light"} for kind in ("pause", "resume", "remove")),
        {"type": "add", "source": "yard", "settings": yard},
        {"type": "update", "source": "yard", "settings": {**yard, "priority": 3}},
        *({"type": kind, "source": "yard"} for kind in ("pause", "resume", "remove")),
    ]
    with live(tmp_path) as line, connect(f"ws{str(line.http.base_url)[4:]}ws", proxy=None) as connection:
        socket = Socket(connection)
        replies = [socket.say(**message) for message in messages]
        assert {reply["type"] for reply in replies} == {"reply"}, replies
        same = [by_rest(line, message) for message in messages]
        for reply, other in zip(replies, same, strict=True):
            for moving in ("state", "reason", "since", "facts"):  # of a source, from one moment to the next
                assert (moving in reply["result"]) == (moving in other)
                reply["result"].pop(moving, None)
                other.pop(moving, None)
            assert reply["result"] == other
        records = line.until(lambda: len(line.records("change")) == 20 and line.records("change"))
        plain = [{key: record[key] for key in record if key not in ("seq", "at")} for record in records]
        assert plain[:10] == plain[10:]
        listed = socket.say(type="list")["result"]
        assert listed["questions"] == line.http.get("/api/questions").json()["questions"]
        once = socket.say(type="ask_once", source="gate", settings={"ask": "Is it?", "kind": "yes_no"})
        assert (once["result"]["seq"], once["result"]["value"]) == (None, True)
        refused = socket.say(type="pause", question="light")
        assert (refused["type"], refused["code"]) == ("error", "not_there")


def test_a_single_question_about_now_and_about_a_moment_ago(tmp_path: Path) -> None:
    with live(tmp_path) as line:
        first = line.records("answer")[0]
        line.until(lambda: line.answers("person")[-1]["t_s"] > first["t_s"] + 1)
        once = {"source": "gate", "ask": "Is it open?", "kind": "yes_no"}
        now = line.http.post("/api/ask", json=once).json()
        assert (now["seq"], now["value"], now["state"]) == (None, True, "ok")
        ago = line.http.post("/api/ask", json={**once, "ago_s": 0.8}).json()
        assert ago["t_s"] < now["t_s"]
        at = line.http.post("/api/ask", json={**once, "at": ago["captured_at"]}).json()
        assert at["t_s"] <= ago["t_s"]
        long_ago = line.http.post("/api/ask", json={**once, "ago_s": 4000})
        assert (long_ago.status_code, long_ago.json()["code"]) == (404, "not_there")
        assert (
            line.http.get("/api/records", params={"question": "ask_once", "type": "answer"}).json()["records"]
            == []
        )


def chat(text: str, url: str = "streamqa://gate", model: str = "scripted") -> dict[str, Any]:
    content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    return {"model": model, "messages": [{"role": "user", "content": content}]}


def test_a_chat_about_what_the_camera_shows(tmp_path: Path) -> None:
    with live(tmp_path) as line:
        response = line.http.post(CHAT_PATH, json=chat("How large is it?"))
        assert response.status_code == 200, response.text
        completion = response.json()
        assert "x" in completion["choices"][0]["message"]["content"]
        assert completion["streamqa"]["source"] == "gate"
        assert completion["streamqa"]["captured_at"]


def test_the_embedded_model_chats_about_the_scene_that_it_knows(tmp_path: Path) -> None:
    with closing(open_model("tiny")) as model, live(tmp_path, model) as line:
        response = line.http.post(CHAT_PATH, json=chat("Is it day or night?", model="tiny"))
        assert response.status_code == 200, response.text
        completion = response.json()
        assert completion["usage"]["completion_tokens"] >= 1
        assert completion["choices"][0]["message"]["content"].lower() in ("day", "night")
        assert 0 < completion["streamqa"]["confidence"] <= 1
        pieces = line.http.post(CHAT_PATH, json={**chat("Is it day or night?", model="tiny"), "stream": True})
        assert pieces.text.endswith("data: [DONE]\n\n")
        assert (
            json.loads(pieces.text.split("\n\n")[0].removeprefix("data: "))["object"]
            == "chat.completion.chunk"
        )


def test_a_question_that_the_model_cannot_answer_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    model = ScriptedModel(said, refuses=lambda prompt: "too hard" if "hard" in prompt.text else "")
    with live(tmp_path, model) as line:
        response = line.http.post("/api/questions", json={"id": "x", "settings": {"ask": "A hard one?"}})
        assert (response.status_code, response.json()["code"]) == (502, "model")
        assert "too hard" in response.json()["detail"]
        assert [q["id"] for q in line.http.get("/api/questions").json()["questions"]] == ["person"]
        assert line.records("change") == []
    assert not (tmp_path / "answers.db.changes.json").exists()


@pytest.mark.parametrize("path", ["/api/questions", "/api/sources"])
def test_many_changes_at_once_leave_the_line_running(tmp_path: Path, path: str) -> None:
    settings: dict[str, Any] = LIGHT if path == "/api/questions" else {"url": "scene:gate"}
    failures: list[Any] = []

    def change(client: httpx2.Client, number: int) -> None:
        for response in (
            client.post(path, json={"id": f"n{number}", "settings": settings}),
            client.post(f"{path}/n{number}/pause"),
            client.delete(f"{path}/n{number}"),
        ):
            failures.extend([response.text] if response.status_code >= 300 else [])

    with live(tmp_path) as line:
        threads = [threading.Thread(target=change, args=(line.http, number)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert failures == []
        assert len(line.until(lambda: len(line.records("change")) == 12 and line.records("change"))) == 12
        line.answers("person")
