from pathlib import Path
from typing import Any

import pytest

from streamqa.conditions import AlertRule, parse_condition
from streamqa.payload import record_payload
from streamqa.records import SourceStatus
from streamqa.sinks.homeassistant import Told, device, read
from streamqa.sinks.mqtt_messages import Announcing, announcement, leftovers, of_record
from streamqa.sinks.outbox import Message, Rank
from streamqa.sinks.topics import Topics
from streamqa.types import Decision
from tests.sinks.records import AT, answer
from tests.sinks.standing import question, source

TOPICS = Topics()
PICTURE = Path("12.jpg")


def said(payload: dict[str, Any]) -> dict[str, Message]:
    found = of_record(TOPICS, payload, lambda seq: PICTURE if seq == 12 else None)
    return {message.topic.removeprefix("streamqa/"): message for message in found}


def decided(value: Any, state: Any, reason: str = "", **fields: Any) -> dict[str, Any]:
    decision = Decision(value, 0.9, state, reason, start_ns=0, frames=1, agree=1)
    return record_payload(answer(decision=decision, **fields))


def alert(phase: str, evidence: str | None = "/frames/12.jpg") -> dict[str, Any]:
    return {"type": "alert", "source": "gate", "question": "person", "phase": phase, "evidence": evidence}


def test_an_answer_is_a_state_and_its_record() -> None:
    payload = decided(True, "ok")
    found = said(payload)
    assert found.keys() == {"gate/person/state", "gate/person/attributes"}
    assert found["gate/person/state"] == Message("streamqa/gate/person/state", "ON", Rank.STATE)
    assert found["gate/person/attributes"].payload == payload


@pytest.mark.parametrize("reason", ["between", "settling"])
def test_between_two_decisions_the_last_one_stands(reason: str) -> None:
    assert said(decided(None, "unsure", reason))["gate/person/state"].stands


@pytest.mark.parametrize(
    ("state", "reason"), [("unsure", "off_list"), ("stale", "too_old"), ("error", "model")]
)
def test_what_could_not_be_told_is_unknown(state: str, reason: str) -> None:
    found = said(decided(None, state, reason))
    assert found["gate/person/state"] == Message("streamqa/gate/person/state", "None", Rank.STATE)
    assert found["gate/person/attributes"].payload["reason"] == reason  # type: ignore[index,call-overload]


@pytest.mark.parametrize(
    ("state", "available", "active"),
    [
        ("live", "online", "ON"), ("connecting", "offline", "ON"), ("stalled", "offline", "ON"),
        ("frozen", "offline", "ON"), ("reconnecting", "offline", "ON"), ("refused", "offline", "ON"),
        ("paused", "offline", "OFF"), ("ended", "offline", "ON"),
    ],
)  # fmt: skip
def test_only_a_live_source_is_available(state: Any, available: str, active: str) -> None:
    found = said(record_payload(SourceStatus("gate", state, "so it is", AT)))
    assert found["gate/availability"].payload == available
    assert found["gate/active"].payload == active
    assert found["gate/state"].payload == state
    assert found["gate/attributes"].payload["reason"] == "so it is"  # type: ignore[index,call-overload]


def test_an_alert_is_an_event_and_a_picture() -> None:
    found = said(alert("begin"))
    assert found["gate/alerts"].payload == {"event_type": "begin", **alert("begin")}
    assert not found["gate/alerts"].is_retained
    assert found["gate/person/image"] == Message("streamqa/gate/person/image", PICTURE, Rank.PICTURE)


@pytest.mark.parametrize(
    ("phase", "evidence", "has_picture"),
    [("update", "/frames/12.jpg", True), ("update", None, False), ("begin", "/frames/13.jpg", False),
     ("begin", "../12.jpg", False), ("end", "/frames/12.jpg", False)],
)  # fmt: skip
def test_a_picture_comes_with_a_beginning_and_where_it_is_new(
    phase: str, evidence: str | None, has_picture: bool
) -> None:
    assert ("gate/person/image" in said(alert(phase, evidence))) == has_picture


@pytest.mark.parametrize("kind", ["change", "error", "gap", "something new"])
def test_other_records_say_nothing_here(kind: str) -> None:
    assert said({"type": kind}) == {}


def test_what_there_is_is_announced() -> None:
    asked = [question(), question("cars", kind="number", sources=("lobby",))]
    made = announcement(
        Announcing(TOPICS, True, True), [source(), source("lobby", state="stalled")], asked, {}
    )
    found = {message.topic: message for message in made.messages}
    assert found["streamqa/status"].payload == "online"
    assert found["streamqa/gate/availability"].payload == "online"
    assert found["streamqa/lobby/availability"].payload == "offline"
    assert found["streamqa/gate/person/state"] == Message(
        "streamqa/gate/person/state", "None", Rank.STATE, stands=True
    )
    assert "streamqa/gate/cars/state" not in found
    assert found["streamqa/lobby/cars/active"].payload == "ON"
    assert found["homeassistant/device/streamqa--lobby/config"].rank == Rank.DEVICE
    assert made.topics == found.keys() | {
        "streamqa/gate/person/image", "streamqa/lobby/person/image", "streamqa/lobby/cars/image"
    }  # fmt: skip
    assert "cars--sensor" in made.platforms["lobby"]


def test_without_home_assistant_nobody_is_a_device() -> None:
    made = announcement(Announcing(TOPICS, False, True), [source()], [question()], {})
    assert not [topic for topic in made.topics if topic.startswith("homeassistant")]


def test_a_paused_question_is_unknown_and_says_why() -> None:
    made = announcement(Announcing(TOPICS, True, True), [source()], [question(is_paused=True)], {})
    found = {message.topic: message for message in made.messages}
    assert found["streamqa/gate/person/state"] == Message("streamqa/gate/person/state", "None", Rank.STATE)
    assert found["streamqa/gate/person/active"].payload == "OFF"
    assert found["streamqa/gate/person/attributes"].payload["reason"] == "paused"  # type: ignore[index,call-overload]


def test_what_an_earlier_run_left_is_named() -> None:
    rule = AlertRule("person", parse_condition("yes"))
    told = read(device_text(question(alerts=(rule,))))
    own = {f"streamqa/gate/{what}" for what in ("availability", "state", "active", "attributes")}
    its = {f"streamqa/gate/person/{what}" for what in ("state", "attributes", "active", "image")}
    assert set(leftovers(TOPICS, "gate", told, True)) - {"streamqa/gate/alerts"} == own | its
    assert "homeassistant/device/streamqa--gate/config" in leftovers(TOPICS, "gate", told, False)


def test_what_others_left_is_theirs() -> None:
    told = read('{"cmps": {"a": {"p": "sensor", "stat_t": "zigbee2mqtt/lamp"}}}')
    assert all(topic.startswith("streamqa/gate/") for topic in leftovers(TOPICS, "gate", told, True))


@pytest.mark.parametrize(
    "topic",
    [
        "streamqa/#",
        "streamqa/+/state",
        "streamqa/\ud800/state",
        f"streamqa/{'x' * 9999}/a",
        "streamqa/status",
    ],
)
def test_what_can_be_no_topic_of_ours_is_not_cleared(topic: str) -> None:
    told = Told({"a": "sensor"}, {"a": frozenset((topic,))})
    assert topic not in leftovers(TOPICS, "gate", told, True)


def device_text(*questions: Any) -> str:
    import json

    return json.dumps(device(TOPICS, source(), questions))
