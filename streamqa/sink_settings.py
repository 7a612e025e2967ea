"""What can be set about outputs beside subscribers: MQTT, webhooks, notifications and files; see `settings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag, model_validator

from streamqa.settings import Id, IntervalNs, Strict

MOST_SINKS = 64

_Url = Annotated[str, Field(min_length=1, max_length=2000)]
_Types = list[Literal["answer", "alert", "source", "change", "error", "gap"]]
_Id = Annotated[Id | None, Field(description="absent: its kind; with -2, -3 where there are several")]
_Ids = Annotated[list[Id] | None, Field(max_length=1024)]
_ANSWERS_TOO: _Types = ["answer", "alert", "source", "change", "error", "gap"]


class MqttConfig(Strict):
    """Records as retained topics of an MQTT broker; Home Assistant finds them as devices."""

    mqtt: _Url = Field(description="mqtt://broker, mqtts://user:${PASSWORD}@broker:8883", repr=False)
    id: _Id = None
    home_assistant: bool = Field(False, description="announce sources as devices to Home Assistant")
    prefix: str = Field(
        "streamqa", pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", description="what all topics begin with"
    )
    discovery_prefix: str = Field(
        "homeassistant",
        pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$",
        description="where Home Assistant looks for devices",
    )
    commands: bool = Field(True, description="take ON and OFF on the /set topics, to resume and pause")
    tls_verify: bool = Field(True, description="mqtts: refuse a certificate that nobody vouches for")
    sources: _Ids = None
    questions: _Ids = None

    @model_validator(mode="after")
    def _is_an_address(self) -> MqttConfig:
        if not self.mqtt.startswith(("mqtt://", "mqtts://")):
            raise ValueError("mqtt: write mqtt://broker or mqtts://broker:8883")
        return self


class WebhookConfig(Strict):
    """Each record as a signed HTTP POST."""

    webhook: _Url = Field(description="https://… that takes JSON", repr=False)
    id: _Id = None
    secret: Annotated[str, Field(min_length=16, max_length=512)] | None = Field(
        None, repr=False, description="signs each message, as ${ENV}; at least 16 characters"
    )
    types: _Types = Field(default=["alert"], min_length=1)
    sources: _Ids = None
    questions: _Ids = None
    changed_only: bool = Field(True, description="answers: only those that change something")
    timeout: IntervalNs = Field(10_000_000_000, description="for one attempt")

    @model_validator(mode="after")
    def _is_an_address(self) -> WebhookConfig:
        if not self.webhook.lower().startswith(("http://", "https://")):
            raise ValueError("webhook: write https://…, or http://…")
        return self


class NotifyConfig(Strict):
    """Alerts to phones and mail, by Apprise."""

    notify: Annotated[list[_Url], Field(min_length=1, max_length=32)] | _Url = Field(
        description="one or more of Apprise's URLs, as ${ENV}: ntfy://…, mailto://…, tgram://…", repr=False
    )
    id: _Id = None
    phases: list[Literal["begin", "update", "end"]] = Field(default=["begin"], min_length=1)
    severity: Literal["info", "warning", "critical"] = Field("info", description="and what is graver")
    picture: bool = Field(True, description="attach the picture, where one is kept")
    sources: _Ids = None
    questions: _Ids = None


class JsonlConfig(Strict):
    """Records as JSON lines, appended to a file."""

    jsonl: Annotated[str, Field(min_length=1, description="the file")]
    id: _Id = None
    types: _Types = Field(default=_ANSWERS_TOO, min_length=1)
    sources: _Ids = None
    questions: _Ids = None
    changed_only: bool = Field(False, description="answers: only those that change something")


# By the key that says what an entry is.
KINDS: Mapping[str, type[Strict]] = {
    "mqtt": MqttConfig,
    "webhook": WebhookConfig,
    "notify": NotifyConfig,
    "jsonl": JsonlConfig,
}


def _kind(value: Any) -> str | None:
    if isinstance(value, Strict):
        return type(value).__name__
    found = [kind for kind in KINDS if isinstance(value, dict) and kind in value]
    return KINDS[found[0]].__name__ if len(found) == 1 else None


SinkConfig: TypeAlias = Annotated[
    Annotated[MqttConfig, Tag("MqttConfig")]
    | Annotated[WebhookConfig, Tag("WebhookConfig")]
    | Annotated[NotifyConfig, Tag("NotifyConfig")]
    | Annotated[JsonlConfig, Tag("JsonlConfig")],
    Discriminator(
        _kind,
        custom_error_type="sink_kind",
        custom_error_message=f"needs exactly one of {', '.join(KINDS)}, as in {{mqtt: mqtt://broker}}",
    ),
]


def sink_kind(settings: SinkConfig) -> str:
    """mqtt, webhook, notify or jsonl."""
    return next(kind for kind, model in KINDS.items() if isinstance(settings, model))


def sink_ids(sinks: list[SinkConfig]) -> list[str]:
    """The id of each: its own, or its kind with a number from the second on.

    Raises:
        ValueError: two have the same id.
    """
    found: list[str] = []
    for settings in sinks:
        kind, number = sink_kind(settings), 1
        name = settings.id or kind
        while settings.id is None and name in found:
            number += 1
            name = f"{kind}-{number}"
        if name in found:
            raise ValueError(f"two sinks are called {name!r}; give each an id of its own")
        found.append(name)
    return found
