"""Questions and sources by HTTP, against a real server: the same code as the websocket's commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from streamqa.errors import Busy, ModelError, StreamQAError
from streamqa.records import Change
from streamqa.server.auth import Keyring
from streamqa.server.commands import execute
from streamqa.server.control_api import STATUS
from streamqa.server.locks import Locks
from streamqa.server.protocol import parse
from streamqa.server.visitor import Visitor
from streamqa.service_settings import TokenConfig
from tests.noted_line import ControlSite

TOKENS = {scope: f"{scope}-token-of-sixteen-characters" for scope in ("read", "ask", "admin")}
OPEN = {"ask": "Is it open?", "kind": "yes_no", "every": "2s"}
DOOR = {"url": "rtsp://u:secret@10.0.0.9/1"}


@pytest.fixture
def line(tmp_path: Path) -> ControlSite:
    (tmp_path / "line").mkdir()
    return ControlSite(tmp_path / "line")


@pytest.fixture
def http(site: Any, line: ControlSite, serving: Any) -> Iterator[httpx2.Client]:
    site.control = line.control
    with serving(site), httpx2.Client(base_url=site.http, trust_env=False, timeout=10) as client:
        yield client


def test_a_question_from_its_beginning_to_its_end(http: httpx2.Client, line: ControlSite) -> None:
    added = http.post("/api/questions", json={"id": "open", "settings": OPEN})
    assert (added.status_code, added.json()) == (201, {"id": "open", "paused": False, "settings": OPEN})
    assert http.get("/api/questions/open").json() == added.json()
    assert [q["id"] for q in http.get("/api/questions").json()["questions"]] == ["person", "cars", "open"]
    changed = http.put("/api/questions/open", json={**OPEN, "every": "500ms"})
    assert (changed.status_code, changed.json()["settings"]["every"]) == (200, "500ms")
    assert http.post("/api/questions/open/pause").json()["paused"] is True
    assert http.post("/api/questions/open/resume").json()["paused"] is False
    gone = http.delete("/api/questions/open")
    assert (gone.status_code, gone.content) == (204, b"")
    assert http.get("/api/questions/open").status_code == 404
    assert [c[2] for c in line.changes()] == ["added", "changed", "paused", "resumed", "removed"]


def test_a_source_from_its_beginning_to_its_end(http: httpx2.Client, line: ControlSite) -> None:
    added = http.post("/api/sources", json={"id": "door", "settings": DOOR})
    assert (added.status_code, added.json()["settings"]) == (
        201,
        {"url": "rtsp://***@10.0.0.9/1", "guarded": True},
    )
    assert added.json()["state"] == "live"
    short = http.put("/api/sources/yard", json="x.mp4")
    assert (short.status_code, short.json()["settings"]) == (200, {"url": "x.mp4"})
    again = http.put("/api/sources/door", json={**added.json()["settings"], "priority": 2})
    assert again.status_code == 200
    assert line.line.watched["door"] == DOOR["url"]
    assert http.post("/api/sources/door/pause").json()["paused"] is True
    assert http.post("/api/sources/door/resume").json()["paused"] is False
    assert http.delete("/api/sources/door").status_code == 204
    assert [s["id"] for s in http.get("/api/sources").json()["sources"]] == ["gate", "yard"]
    assert "hunter2" not in http.get("/api/sources").text


BOTH: list[tuple[str, str, Any, dict[str, Any]]] = [
    ("POST", "/api/questions", {"id": "a", "settings": OPEN}, {"type": "ask", "question": "a", "settings": OPEN}),
    ("PUT", "/api/questions/cars", OPEN, {"type": "update", "question": "cars", "settings": OPEN}),
    ("POST", "/api/questions/cars/pause", None, {"type": "pause", "question": "cars"}),
    ("DELETE", "/api/questions/cars", None, {"type": "remove", "question": "cars"}),
    ("POST", "/api/sources", {"id": "door", "settings": DOOR}, {"type": "add", "source": "door", "settings": DOOR}),
    ("PUT", "/api/sources/gate", DOOR, {"type": "update", "source": "gate", "settings": DOOR}),
    ("POST", "/api/sources/gate/pause", None, {"type": "pause", "source": "gate"}),
    ("DELETE", "/api/sources/gate", None, {"type": "remove", "source": "gate"}),
]  # fmt: skip


def test_each_change_leaves_the_same_record_as_over_the_websocket(
    http: httpx2.Client, line: ControlSite, tmp_path: Path
) -> None:
    other = ControlSite(tmp_path)
    for method, path, body, message in BOTH:
        response = http.request(method, path, json=body) if body else http.request(method, path)
        assert response.status_code in (200, 201, 204), response.text
        reply: Any = execute(parse(json.dumps(message)), Visitor("local", "admin"), other.control)  # type: ignore[arg-type]
        if response.content:
            assert response.json() == reply.result

    def without_time(site: ControlSite) -> list[Any]:
        return [(r.what, r.id, r.action, r.by, r.settings) for r in site.records if isinstance(r, Change)]

    assert len(line.records) == len(BOTH)
    assert without_time(line) == without_time(other)
    assert line.path.read_text() == other.path.read_text()


@pytest.mark.parametrize(
    "body",
    [
        {"source": "gate", "ask": "Is there a person?", "kind": "yes_no"},
        {"source": "gate", "settings": {"ask": "Is there a person?", "kind": "yes_no"}},
        {"source": "gate", "ask": "Which?", "kind": "choice", "choices": ["open", "closed"], "ago_s": 2},
        {"source": "gate", "ask": "How many?", "kind": "number", "max": 3, "t_s": 4.5},
        {"source": "gate", "ask": "What is there?", "at": "2026-11-22T03:22:34+01:00"},
    ],
)
def test_asking_once(http: httpx2.Client, line: ControlSite, body: dict[str, Any]) -> None:
    response = http.post("/api/ask", json=body)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert (answer["type"], answer["seq"], answer["source"], answer["state"]) == (
        "answer",
        None,
        "gate",
        "ok",
    )
    assert answer["kind"] == (body.get("settings") or body).get("kind", "text")
    assert line.records == []


WRONG: list[tuple[str, str, Any, int, str]] = [
    ("GET", "/api/questions/x", None, 404, "not_there"),
    ("GET", "/api/questions/a%20b", None, 422, "bad_message"),
    ("POST", "/api/questions", {"id": "person", "settings": OPEN}, 409, "taken"),
    ("POST", "/api/questions", {"id": "a b", "settings": OPEN}, 422, "bad_message"),
    ("POST", "/api/questions", {"id": "q", "settings": OPEN, "x": 1}, 422, "bad_message"),
    ("POST", "/api/questions", {"id": "q", "settings": {**OPEN, "every": 2}}, 422, "bad_message"),
    ("POST", "/api/questions", {"id": "q", "settings": {"ask": "?", "kind": "choice"}}, 422, "bad_message"),
    ("POST", "/api/questions", [], 422, "bad_message"),
    ("PUT", "/api/questions/x", OPEN, 404, "not_there"),
    ("DELETE", "/api/sources/yard", None, 422, "bad_message"),
    ("POST", "/api/sources", {"id": "s", "settings": {"url": "http://169.254.169.254/"}}, 403, "not_allowed"),
    ("POST", "/api/sources", {"id": "s", "settings": {"url": "gopher://u:secret@h"}}, 422, "bad_message"),
    ("POST", "/api/ask", {"source": "gate"}, 422, "bad_message"),
    ("POST", "/api/ask", {"source": "gate", "ask": "?", "settings": OPEN}, 422, "bad_message"),
    ("POST", "/api/ask", {"source": "gate", "settings": OPEN, "kind": "text"}, 422, "bad_message"),
    ("POST", "/api/ask", {"source": "gate", "ask": "?", "t_s": 1, "ago_s": 1}, 422, "bad_message"),
    ("POST", "/api/ask", {"source": "gate", "ask": "?", "kind": "choice"}, 422, "bad_message"),
    ("POST", "/api/ask", {"source": "gate", "ask": " "}, 422, "bad_message"),
    ("POST", "/api/ask", {"source": "x", "ask": "?"}, 404, "not_there"),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong[0]} {wrong[1]} {wrong[4]}")
def test_refusals(http: httpx2.Client, line: ControlSite, wrong: tuple[str, str, Any, int, str]) -> None:
    method, path, body, status, code = wrong
    line.refused.add("http://169.254.169.254/")
    response = http.request(method, path, json=body) if body is not None else http.request(method, path)
    assert response.status_code == status, response.text
    assert response.json().keys() == {"detail", "code"}
    assert response.json()["code"] == code
    assert "\n" not in response.json()["detail"]
    assert "secret" not in response.text
    assert line.records == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"\xff\xfe", b"null", b"[" * 100_000, b"1e999"])
def test_bodies_that_are_no_json_object(http: httpx2.Client, content: bytes) -> None:
    for path in ("/api/questions", "/api/ask"):
        response = http.post(path, content=content, headers={"content-type": "application/json"})
        assert (response.status_code, response.json()["code"]) == (422, "bad_message"), response.text


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (Busy("8 are being asked"), 503, "busy"),
        (ModelError("no such task"), 502, "model"),
        (StreamQAError("the line has stopped"), 503, "unavailable"),
    ],
)
def test_failures_of_the_line(
    http: httpx2.Client, line: ControlSite, failure: StreamQAError, status: int, code: str
) -> None:
    line.line.fails = failure
    for path, body in (
        ("/api/ask", {"source": "gate", "ask": "?"}),
        ("/api/questions", {"id": "q", "settings": OPEN}),
    ):
        response = http.post(path, json=body)
        assert (response.status_code, response.json()["code"]) == (status, code)
        assert response.headers.get("retry-after") == ("1" if code == "busy" else None)


def test_who_may_do_what(site: Any, line: ControlSite, serving: Any) -> None:
    site.control = line.control
    tokens = [TokenConfig(name=scope, scope=scope, token=token) for scope, token in TOKENS.items()]  # type: ignore[arg-type]
    site.locks = Locks(Keyring(tokens))
    wanted = {
        ("GET", "/api/questions", None): ("read", "ask", "admin"),
        ("GET", "/api/sources/gate", None): ("read", "ask", "admin"),
        ("POST", "/api/ask", '{"source": "gate", "ask": "?"}'): ("ask", "admin"),
        ("POST", "/api/questions/person/pause", None): ("admin",),
        ("PUT", "/api/questions/person", json.dumps(OPEN)): ("admin",),
        ("POST", "/api/sources/gate/pause", None): ("admin",),
        ("DELETE", "/api/sources/gate", None): ("admin",),
    }
    with serving(site), httpx2.Client(base_url=site.http, trust_env=False, timeout=10) as client:
        for (method, path, body), allowed in wanted.items():
            assert client.request(method, path).status_code == 401
            for scope, token in TOKENS.items():
                headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
                response = client.request(method, path, content=body, headers=headers)
                assert (response.status_code < 300) == (scope in allowed), (
                    method,
                    path,
                    scope,
                    response.text,
                )
                if scope not in allowed:
                    assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert {change[3] for change in line.changes()} == {"admin"}


def test_a_method_that_a_path_has_not_names_those_that_it_has(http: httpx2.Client) -> None:
    for path, methods in (("/api/questions", "GET, POST"), ("/api/sources/gate", "DELETE, GET, PUT")):
        response = http.patch(path, json={})
        assert (response.status_code, response.headers["allow"]) == (405, methods)


def test_without_a_control_nothing_can_be_changed(get: Any) -> None:
    response = get("/api/questions")
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")


def test_the_description_names_every_route_its_errors_and_examples(http: httpx2.Client) -> None:
    described = http.get("/openapi.json").json()
    paths = {path: set(methods) for path, methods in described["paths"].items()}
    for what in ("questions", "sources"):
        assert paths[f"/api/{what}"] == {"get", "post"}
        assert paths[f"/api/{what}/{{id}}"] == {"get", "put", "delete"}
        assert paths[f"/api/{what}/{{id}}/pause"] == paths[f"/api/{what}/{{id}}/resume"] == {"post"}
    for path in ("/api/questions", "/api/sources", "/api/ask"):
        post = described["paths"][path]["post"]
        assert post["requestBody"]["content"]["application/json"]["examples"]
        assert post["responses"]["422"]["content"]["application/json"]["schema"]["$ref"].endswith("/Problem")
        assert post["tags"]
    assert set(STATUS) == set(described["components"]["schemas"]["Problem"]["properties"]["code"]["enum"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"alert": {"when": ""}}, "settings.alert.when: empty; write yes, no, a choice, >= 3, or changed"),
        ({"alert": [{"when": "yes"}, {"when": ""}]}, "settings.alert.1.when: empty; "),
        ({"alert": {"when": "yes", "k_of_n": [3, 2]}}, "settings.alert: k_of_n [3, 2] can never hold; "),
        ({"alert": [{"when": "yes", "above": 3}]}, "settings.alert.0.above: Input should be less than"),
        ({"decide": {"k_of_n": [3, 2, 1]}}, "settings.decide.k_of_n: List should have at most 2 items"),
        ({"decide": "often"}, "settings.decide: Input should be 'latest', "),
        ({"alert": {"when": "maybe"}}, "question 'open': alert: when: 'maybe' is no answer to a yes_no question"),
        ({"if": "nobody"}, "question 'open': if: there is no question 'nobody'; there are: person, cars, open"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_as_it_would_be_written(
    http: httpx2.Client, given: dict[str, Any], said: str
) -> None:
    """Without the names of our classes, and of the form that the value was written in."""
    added = http.post("/api/questions", json={"id": "open", "settings": {**OPEN, **given}})
    assert added.status_code == 422
    assert added.json()["detail"].startswith(said)
    changed = http.put("/api/questions/person", json={**OPEN, **given})
    assert (
        changed.json()["detail"].partition(":")[2] == added.json()["detail"].partition(":")[2]
        or "if" in given
    )
