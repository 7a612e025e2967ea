"""Records as messages to an MQTT broker. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamqa.capture.sources import SourceInfo
from streamqa.sinks import homeassistant
from streamqa.sinks.evidence import number_of
from streamqa.sinks.homeassistant import UNKNOWN, state_of
from streamqa.sinks.outbox import Message, Rank
from streamqa.sinks.topics import Topics
from streamqa.types import Question, iso_ms

ONLINE, OFFLINE = "online", "offline"
ON, OFF = "ON", "OFF"

# Between two thresholds, or not for long enough: what was decided last still stands.
_STANDS = ("between", "settling")


@dataclass(frozen=True, slots=True)
class Announcing:
    """How what there is gets announced."""

    topics: Topics
    home_assistant: bool  # as devices
    commands: bool  # ON and OFF are taken


@dataclass(frozen=True, slots=True)
class Announcement:
    """All that is to be known of what there is, before anything happens."""

    messages: tuple[Message, ...]
    topics: frozenset[str]  # all that may retain anything; what is retained elsewhere is of what is no more
    platforms: dict[str, dict[str, str]]  # source -> of its components in Home Assistant, by their ids


def announcement(
    how: Announcing,
    sources: Iterable[SourceInfo],
    questions: Iterable[Question],
    once: Mapping[str, Mapping[str, str]],
) -> Announcement:
    """What there is. `once`: as `Announcement.platforms`, of what Home Assistant may still know from earlier."""
    topics, asked = how.topics, tuple(questions)
    messages = [Message(topics.status, ONLINE, Rank.STATUS)]
    pictures: set[str] = set()
    platforms = {}
    for source in sources:
        messages += of_source_info(topics, source)
        for question in asked:
            if question.asks(source.id):
                messages += of_standing(topics, source.id, question)
                pictures.add(topics.of_question(source.id, question.id, "image"))
        if how.home_assistant:
            device = homeassistant.device(
                topics, source, asked, commands=how.commands, once=once.get(source.id)
            )
            messages.append(Message(topics.device(source.id), device, Rank.DEVICE))
            platforms[source.id] = homeassistant.platforms(device)
    return Announcement(tuple(messages), frozenset(pictures.union(one.topic for one in messages)), platforms)


def leftovers(topics: Topics, source: str, told: homeassistant.Told, is_there: bool) -> list[str]:
    """Topics that may retain something of a device as it was once told of, the device's own where it is no more."""
    # Of what is named there only what can be ours: a topic that is none would break each connection.
    found = [topic for named in told.topics.values() for topic in sorted(named) if topics.may_hold(topic)]
    found += [topics.of_source(source, what) for what in ("availability", "state", "active", "attributes")]
    return found if is_there else [topics.device(source), *found]


def of_record(
    topics: Topics, payload: dict[str, Any], evidence: Callable[[int], Path | None]
) -> list[Message]:
    """What a record, as it is on the wire, says to whom; `evidence` gives the picture of a record's number."""
    if payload["type"] == "answer":
        return _of_answer(topics, payload)
    if payload["type"] == "source":
        return of_source(topics, payload["source"], payload["state"], payload)
    return _of_alert(topics, payload, evidence) if payload["type"] == "alert" else []


def of_source(topics: Topics, source: str, state: str, attributes: dict[str, Any]) -> list[Message]:
    """What is to be known of a source in a state: what it says counts while it is live, and at no other time."""
    available = ONLINE if state == "live" else OFFLINE
    return [
        Message(topics.of_source(source, "availability"), available, Rank.AVAILABILITY),
        Message(topics.of_source(source, "state"), state, Rank.STATE),
        Message(topics.of_source(source, "active"), OFF if state == "paused" else ON, Rank.STATE),
        Message(topics.of_source(source, "attributes"), attributes, Rank.ATTRIBUTES),
    ]


def of_source_info(topics: Topics, source: SourceInfo) -> list[Message]:
    """The same of a source as it is described."""
    attributes = {
        "type": "source", "source": source.id, "state": source.state, "reason": source.reason or None,
        "at": iso_ms(source.since), "t_s": None,
    }  # fmt: skip
    return of_source(topics, source.id, source.state, attributes)


def of_standing(topics: Topics, source: str, question: Question) -> list[Message]:
    """What is to be known of a question before it is answered: nothing of an earlier run stands any more."""
    paused = question.is_paused
    state, active = topics.of_question(source, question.id, "state"), OFF if paused else ON
    attributes = {
        "type": "answer", "source": source, "question": question.id, "kind": question.kind, "value": None,
        "text": None, "confidence": None, "scores": None, "state": "unsure",
        "reason": "paused" if paused else "not_asked", "evidence": None,
    }  # fmt: skip
    return [
        Message(state, UNKNOWN, Rank.STATE, stands=not paused),
        Message(topics.of_question(source, question.id, "active"), active, Rank.STATE),
        Message(
            topics.of_question(source, question.id, "attributes"),
            attributes,
            Rank.ATTRIBUTES,
            stands=not paused,
        ),
    ]


def _of_answer(topics: Topics, payload: dict[str, Any]) -> list[Message]:
    source, question = payload["source"], payload["question"]
    stands = payload["state"] != "ok" and payload["reason"] in _STANDS
    value = payload["value"] if payload["state"] == "ok" else None
    state = Message(
        topics.of_question(source, question, "state"),
        state_of(payload["kind"], value),
        Rank.STATE,
        stands=stands,
    )
    attributes = topics.of_question(source, question, "attributes")
    return [state, Message(attributes, payload, Rank.ATTRIBUTES)]


def _of_alert(
    topics: Topics, payload: dict[str, Any], evidence: Callable[[int], Path | None]
) -> list[Message]:
    source, phase = payload["source"], payload["phase"]
    event = {"event_type": phase, **payload}
    found = [Message(topics.of_source(source, "alerts"), event, Rank.EVENT)]
    picture = number_of(payload.get("evidence"))
    if picture is not None and phase != "end" and (path := evidence(picture)):
        image = topics.of_question(source, payload["question"], "image")
        found.append(Message(image, path, Rank.PICTURE))
    return found
