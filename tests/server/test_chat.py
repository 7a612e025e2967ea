"""Chat completions as a program written for OpenAI's sends and reads them, against a real server."""

from __future__ import annotations

import base64
import io
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image as Pictures

from streamqa.errors import Busy, ModelError, StreamQAError
from streamqa.server.auth import Keyring
from streamqa.server.chat import CHAT_PATH
from streamqa.server.locks import Locks
from streamqa.service_settings import TokenConfig
from streamqa.testing import ScriptedModel
from streamqa.types import Generation, Moment
from tests.noted_line import ControlSite


@pytest.fixture
def line(tmp_path: Path) -> ControlSite:
    (tmp_path / "line").mkdir()
    return ControlSite(tmp_path / "line")


@pytest.fixture
def http(site: Any, line: ControlSite, serving: Any) -> Iterator[httpx2.Client]:
    site.control = line.control
    with serving(site), httpx2.Client(base_url=site.http, trust_env=False, timeout=10) as client:
        yield client


def asking(
    text: str = "What is there?", url: str | None = "streamqa://gate", **fields: Any
) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if url is not None:
        content.append({"type": "image_url", "image_url": {"url": url}})
    return {"model": "fake", "messages": [{"role": "user", "content": content}], **fields}


def jpeg(level: int) -> str:
    buffer = io.BytesIO()
    Pictures.fromarray(np.full((20, 30, 3), level, np.uint8)).save(buffer, "JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def test_a_question_about_what_a_source_shows_now(http: httpx2.Client, line: ControlSite) -> None:
    response = http.post(CHAT_PATH, json=asking(temperature=0, max_tokens=20))
    assert response.status_code == 200, response.text
    said = response.json()
    assert said["id"].startswith("chatcmpl-")
    assert (said["object"], said["model"]) == ("chat.completion", "fake")
    (choice,) = said["choices"]
    assert choice["message"] == {"role": "assistant", "content": "brightness 230", "refusal": None}
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert said["usage"] == {"prompt_tokens": 0, "completion_tokens": 2, "total_tokens": 2}
    assert said["streamqa"] == {
        "model": "fake@1", "source": "gate", "frame": 30, "t_s": 7.5,
        "captured_at": "2026-11-22T02:22:34.120Z", "confidence": 0.8, "ignored": [],
    }  # fmt: skip
    (request,) = line.line.requests
    assert [(p.text, p.task, p.max_tokens) for p in request.prompts] == [("What is there?", "query", 20)]


@pytest.mark.parametrize(
    ("query", "moment"),
    [
        ("", Moment()),
        ("?ago=5s", Moment(ago_ns=5 * 10**9)),
        ("?t=12.5", Moment(t_ns=12_500_000_000)),
    ],
)
def test_a_moment_of_the_past(http: httpx2.Client, line: ControlSite, query: str, moment: Moment) -> None:
    assert http.post(CHAT_PATH, json=asking(url=f"streamqa://gate{query}")).status_code == 200
    assert line.line.calls == [f"frame gate {moment}"]


def test_a_picture_that_comes_along(http: httpx2.Client) -> None:
    said = http.post(CHAT_PATH, json=asking(url=jpeg(100))).json()
    assert said["choices"][0]["message"]["content"] == "brightness 100"
    assert said["streamqa"]["source"] is said["streamqa"]["frame"] is None


def test_a_large_picture_passes_the_door_and_one_that_is_too_large_does_not(http: httpx2.Client) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1200, 1600, 3), np.uint8)
    buffer = io.BytesIO()
    Pictures.fromarray(noise).save(buffer, "PNG", compress_level=1)
    url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    assert len(url) > 5_000_000
    assert http.post(CHAT_PATH, json=asking(url=url)).status_code == 200
    response = http.post(CHAT_PATH, json=asking(url=url + "A" * 7_000_000))
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_message")


def test_text_alone_is_put_to_the_model_as_such(http: httpx2.Client, line: ControlSite) -> None:
    body = {"model": "fake@1", "messages": [{"role": "user", "content": "Hello?"}]}
    assert http.post(CHAT_PATH, json=body).json()["choices"][0]["message"]["content"] == "brightness -1"
    assert line.line.requests[0].image is None


def test_an_answer_that_was_cut_says_so(http: httpx2.Client, line: ControlSite) -> None:
    line.line.model = ScriptedModel(lambda image, prompt: Generation("A long", 2, "length", logprob=-0.1))
    said = http.post(CHAT_PATH, json=asking(max_tokens=2)).json()
    assert said["choices"][0]["finish_reason"] == "length"


def events(text: str) -> list[Any]:
    assert text.endswith("data: [DONE]\n\n")
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    return [json.loads(line) for line in lines[:-1]]


@pytest.mark.parametrize("with_usage", [False, True])
def test_in_pieces(http: httpx2.Client, with_usage: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if with_usage else {}
    response = http.post(CHAT_PATH, json=asking(stream=True, **options))
    assert response.headers["content-type"].startswith("text/event-stream")
    chunks = events(response.text)
    assert {(chunk["object"], chunk["id"]) for chunk in chunks} == {
        ("chat.completion.chunk", chunks[0]["id"])
    }
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "brightness 230"
    assert choices[0]["delta"]["role"] == "assistant"
    assert [choice["finish_reason"] for choice in choices] == [None, None, "stop"]
    assert any(chunk.get("streamqa", {}).get("frame") == 30 for chunk in chunks)
    assert [chunk["usage"] for chunk in chunks if chunk.get("usage")] == (
        [{"prompt_tokens": 0, "completion_tokens": 2, "total_tokens": 2}] if with_usage else []
    )


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        (asking(url="http://10.0.0.1/a.jpg"), 400, "bad_message", "not fetched"),
        (asking(url="streamqa://x"), 404, "not_there", "no such source"),
        (asking(url="streamqa://gate?at=noon"), 400, "bad_message", "ISO 8601"),
        (asking(url="data:image/png;base64,QUJD"), 400, "bad_message", "damaged"),
        (asking(n=3), 400, "bad_message", "n: "),
        ({**asking(), "model": "gpt-4o"}, 404, "not_there", "there is fake"),
        ({"model": "fake"}, 400, "bad_message", "messages"),
        ({"model": "fake", "messages": [{"role": "wizard", "content": "x"}]}, 400, "bad_message", "role"),
        ([], 400, "bad_message", ""),
    ],
)
def test_refusals_have_the_shape_of_openai(
    http: httpx2.Client, body: Any, status: int, code: str, words: str
) -> None:
    response = http.post(CHAT_PATH, json=body)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    assert words in error["message"]
    assert "\n" not in error["message"]


def test_only_so_many_at_once_hold_a_picture(http: httpx2.Client, site: Any) -> None:
    headers = "host: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 99\r\n"
    begun = f"POST {CHAT_PATH} HTTP/1.1\r\n{headers}\r\n{{"
    with ExitStack() as held:
        for _ in range(8):
            one = held.enter_context(socket.create_connection(("127.0.0.1", site.server.port), 10))
            one.sendall(begun.encode())

        def is_full() -> bool:
            response = http.post(CHAT_PATH, json=asking())
            return response.status_code == 503 and response.json()["error"]["code"] == "busy"

        assert any(is_full() for _ in range(500))
    assert any(http.post(CHAT_PATH, json=asking()).status_code == 200 for _ in range(500))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"null", b"[" * 100_000])
def test_bodies_that_are_no_json_object(http: httpx2.Client, content: bytes) -> None:
    response = http.post(CHAT_PATH, content=content, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_message")


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (Busy("8 are being asked"), 503, "busy"),
        (ModelError("its memory is full"), 502, "model"),
        (StreamQAError("the line has stopped"), 503, "unavailable"),
    ],
)
def test_failures_of_the_line(
    http: httpx2.Client, line: ControlSite, failure: StreamQAError, status: int, code: str
) -> None:
    line.line.fails = failure
    response = http.post(CHAT_PATH, json=asking(url=None))
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.json()["error"]["type"] == "server_error"
    assert response.headers.get("retry-after") == ("1" if code == "busy" else None)


def test_a_prompt_that_the_model_cannot_answer(http: httpx2.Client, line: ControlSite) -> None:
    line.line.model = ScriptedModel(lambda image, prompt: Generation("", 0, "error", error="too long"))
    response = http.post(CHAT_PATH, json=asking())
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "too long" in response.json()["error"]["message"]


def test_models(http: httpx2.Client) -> None:
    listed = http.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [(m["id"], m["object"], m["owned_by"]) for m in listed["data"]] == [("fake", "model", "streamqa")]


def test_while_the_model_is_loaded(site: Any, line: ControlSite, serving: Any) -> None:
    site.control, site.model = line.control, None
    with serving(site), httpx2.Client(base_url=site.http, trust_env=False, timeout=10) as client:
        for response in (client.get("/v1/models"), client.post(CHAT_PATH, json=asking())):
            assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")


def test_who_may(site: Any, line: ControlSite, serving: Any) -> None:
    site.control, site.model = line.control, replace(site.model, name="fake")
    secret = "a-token-of-at-least-sixteen"
    site.locks = Locks(Keyring([TokenConfig(name="desk", scope="read", token=secret)]))
    with serving(site), httpx2.Client(base_url=site.http, trust_env=False, timeout=10) as client:
        assert client.post(CHAT_PATH, json=asking()).status_code == 401
        headers = {"authorization": f"Bearer {secret}"}
        assert client.get("/v1/models", headers=headers).status_code == 200
        refused = client.post(CHAT_PATH, json=asking(), headers=headers)
        assert (refused.status_code, refused.json()["error"]["type"]) == (403, "permission_error")
    assert line.line.requests == []
