from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from streamqa.sink_settings import (
    JsonlConfig,
    MqttConfig,
    NotifyConfig,
    SinkConfig,
    WebhookConfig,
    sink_ids,
    sink_kind,
)

SINKS: TypeAdapter[list[SinkConfig]] = TypeAdapter(list[SinkConfig])


def test_the_key_says_what_it_is() -> None:
    found = SINKS.validate_python(
        [
            {"mqtt": "mqtt://broker", "home_assistant": True},
            {"webhook": "https://hook.example/x", "secret": "s" * 16},
            {"notify": "ntfy://topic"},
            {"jsonl": "out.jsonl"},
        ]
    )
    assert [type(one) for one in found] == [MqttConfig, WebhookConfig, NotifyConfig, JsonlConfig]
    assert [sink_kind(one) for one in found] == ["mqtt", "webhook", "notify", "jsonl"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, "exactly one of mqtt, webhook, notify, jsonl"),
        ({"mqtt": "mqtt://a", "jsonl": "b"}, "exactly one"),
        ("mqtt://broker", "exactly one"),
        ({"mqtt": "broker"}, "write mqtt://"),
        ({"mqtt": "mqtt://a", "prefix": "a/#"}, "pattern"),
        ({"webhook": "ftp://a"}, "write https://"),
        ({"webhook": "https://a", "secret": "short"}, "16"),
        ({"webhook": "https://a", "types": []}, "at least 1"),
        ({"jsonl": ""}, "at least 1"),
    ],
)
def test_what_cannot_be(wrong: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        SINKS.validate_python([wrong])


def test_ids() -> None:
    many = SINKS.validate_python(
        [{"jsonl": "a"}, {"jsonl": "b"}, {"jsonl": "c", "id": "mine"}, {"mqtt": "mqtt://x"}]
    )
    assert sink_ids(many) == ["jsonl", "jsonl-2", "mine", "mqtt"]
    with pytest.raises(ValueError, match="two sinks are called 'x'"):
        sink_ids(SINKS.validate_python([{"jsonl": "a", "id": "x"}, {"jsonl": "b", "id": "x"}]))


def test_secrets_are_not_shown() -> None:
    for one in SINKS.validate_python(
        [{"mqtt": "mqtt://u:hunter2@b"}, {"webhook": "https://h/hunter2", "secret": "hunter2" * 3}]
    ):
        assert "hunter2" not in repr(one)
