"""What a chat request asks: pure, so that each refusal is cheap to try."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamqa.errors import ConfigError
from streamqa.server.chat_request import ChatRequest, DataImage, SourceImage, image_of, wish_of


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def request(*messages: dict[str, Any], **fields: Any) -> ChatRequest:
    return ChatRequest.model_validate({"model": "tiny", "messages": messages, **fields})


ASKED = user(text("Is there a person?"), image("streamqa://gate"))


def test_the_last_user_text_is_the_question_and_the_rest_is_named_as_ignored() -> None:
    wish = wish_of(
        request(
            {"role": "system", "content": "Be brief."},
            user(text("What is this?"), image("streamqa://gate")),
            {"role": "assistant", "content": "A gate."},
            user(text("Is it"), text("open?")),
            temperature=0.7, top_p=0.9, user="me", seed=3, metadata={"a": "b"},
        )
    )  # fmt: skip
    assert (wish.text, wish.image) == ("Is it\nopen?", SourceImage("gate"))
    assert wish.ignored == ("system messages", "earlier turns", "temperature", "top_p")


def test_what_has_no_effect_only_if_it_would_have_one_is_named() -> None:
    wish = wish_of(
        request(ASKED, temperature=0, top_p=1, n=1, stop=None, tools=[], response_format={"type": "text"})
    )
    assert wish.ignored == ()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 256), ({"max_tokens": 5}, 5), ({"max_completion_tokens": 9, "max_tokens": 5}, 9),
        ({"max_tokens": 100_000}, 768),
    ],
)  # fmt: skip
def test_how_long_an_answer_may_be(fields: dict[str, Any], expected: int) -> None:
    assert wish_of(request(ASKED, **fields)).max_tokens == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("streamqa://gate", SourceImage("gate")),
        ("streamqa://Gate-2.b_1/", SourceImage("Gate-2.b_1")),
        ("streamqa://gate?", SourceImage("gate")),
        ("streamqa://gate?ago=5s", SourceImage("gate", ago_s=5)),
        ("streamqa://gate/?ago=250ms", SourceImage("gate", ago_s=0.25)),
        ("streamqa://gate?t=12.5", SourceImage("gate", t_s=12.5)),
        ("streamqa://gate?at=2026-11-22T02:22:34+01:00", SourceImage("gate", at="2026-11-22T02:22:34+01:00")),
        ("streamqa://gate?at=2026-11-22T02%3A22%3A34Z", SourceImage("gate", at="2026-11-22T02:22:34Z")),
        ("data:image/jpeg;base64,QUJD", DataImage("QUJD")),
        ("data:image/PNG;base64,QUJD", DataImage("QUJD")),
    ],
)
def test_which_picture_is_meant(url: str, expected: SourceImage | DataImage) -> None:
    assert image_of(url) == expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.org/a.jpg", "not fetched"),
        ("HTTPS://169.254.169.254/latest", "not fetched"),
        ("file:///etc/passwd", "no picture"),
        ("data:image/gif;base64,R0lG", "no picture"),
        ("data:text/html,<b>", "no picture"),
        ("", "no picture"),
        ("streamqa://", "no source's name"),
        ("streamqa://../etc", "no source's name"),
        ("streamqa://a/b", "no source's name"),
        ("streamqa://gate?ago=5s&t=1", "at most one"),
        ("streamqa://gate?when=now", "at most one"),
        ("streamqa://gate?ago=5", "duration"),
        ("streamqa://gate?t=nan", "0 or more"),
        ("streamqa://gate?t=-1", "0 or more"),
        ("streamqa://gate?t=soon", "soon"),
    ],
)
def test_pictures_that_are_not_taken(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        image_of(url)


@pytest.mark.parametrize(
    ("built", "words"),
    [
        (request({"role": "system", "content": "x"}), "role user"),
        (request(user(image("streamqa://gate"))), "has no text"),
        (request(user(text("  "))), "has no text"),
        (request({"role": "user", "content": None}), "has no text"),
        (request(user(text("x"), image("streamqa://a"), image("streamqa://b"))), "2 images"),
        (request(user(text("x"), image("streamqa://a")), user(text("x"), image("streamqa://a"))), "2 images"),
        (request(ASKED, n=2), "n: "),
        (request(ASKED, tools=[{}]), "tools: "),
        (request(ASKED, functions=[{}]), "tools: "),
        (request(ASKED, response_format={"type": "json_object"}), "response_format: "),
        (request(ASKED, stop=["."]), "stop: "),
        (request(ASKED, logprobs=True), "logprobs: "),
    ],
)
def test_what_cannot_be_done_is_refused_rather_than_left_out(built: ChatRequest, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        wish_of(built)


def test_without_a_picture_it_is_text_only() -> None:
    assert wish_of(request(user(text("What is 2 + 2?")))).image is None


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=60), st.sampled_from(["", "streamqa://", "streamqa://gate?", "data:image/png;base64,"])
)
def test_no_address_raises_anything_but_a_refusal(rest: str, scheme: str) -> None:
    with suppress(ConfigError):
        assert image_of(scheme + rest)
