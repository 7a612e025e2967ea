import json
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.conditions import AlertRule, Follow, parse_condition
from streamqa.hours import parse_hours
from streamqa.payload import record_payload
from streamqa.sinks import homeassistant
from streamqa.sinks.homeassistant import device, expires_s, platforms, read, shown, state_of
from streamqa.sinks.topics import Topics
from streamqa.types import NS_PER_S, Question
from tests.sinks.ha_schema import check
from tests.sinks.records import answer
from tests.sinks.standing import question, source

TOPICS = Topics()
IDS = st.text(st.one_of(st.characters(), st.sampled_from("#+/%-_. aB1é")), min_size=1, max_size=20)
KINDS = st.sampled_from(["yes_no", "choice", "number", "text", "caption", "points", "boxes"])


def alerted(**fields: Any) -> Question:
    return question(**fields, alerts=(AlertRule("person", parse_condition("yes")),))


def components(*questions: Question, **how: Any) -> dict[str, Any]:
    found = device(TOPICS, source(), questions, **how)
    return check(TOPICS.device("gate"), found)["components"]


def test_a_source_is_a_device() -> None:
    found = check(TOPICS.device("gate"), device(TOPICS, source(), [question()]))
    assert found["device"]["identifiers"] == ["streamqa--gate"]
    assert found["device"]["name"] == "gate"
    assert found["availability"] == [{"topic": "streamqa/status"}, {"topic": "streamqa/gate/availability"}]
    assert found["availability_mode"] == "all"


def test_yes_or_no_is_a_binary_sensor() -> None:
    found = components(question(every_ns=2 * NS_PER_S))["person--binary_sensor"]
    assert found["platform"] == "binary_sensor"
    assert found["name"] == "Person"
    assert found["unique_id"] == "streamqa--gate--person--binary_sensor"
    assert found["state_topic"] == "streamqa/gate/person/state"
    assert found["json_attributes_topic"] == "streamqa/gate/person/attributes"
    assert found["expire_after"] == 10
    assert (
        "availability" not in found
    )  # it shares that of its device: unavailable while the source is not live


@pytest.mark.parametrize("kind", ["number", "points", "boxes"])
def test_numbers_are_measured(kind: Any) -> None:
    assert components(question("cars", kind=kind))["cars--sensor"]["state_class"] == "measurement"


def test_a_choice_is_one_of_its_options() -> None:
    asked = question("gate", kind="choice", choices=("open", "closed", "None"))
    found = components(asked)["gate--sensor"]
    assert (found["device_class"], found["options"]) == ("enum", ["open", "closed", "none"])
    assert all(state_of("choice", choice) in found["options"] for choice in asked.choices)


@pytest.mark.parametrize("kind", ["text", "caption"])
def test_a_text_is_a_plain_sensor(kind: Any) -> None:
    found = components(question("what", kind=kind))["what--sensor"]
    assert not {"device_class", "state_class", "options"} & found.keys()


def test_what_can_be_switched_and_what_alerts_is_there_whatever_the_source_does() -> None:
    found = components(alerted())
    for name in ("person--switch", "person--image", "active", "alerts", "state"):
        assert found[name]["availability"] == [{"topic": "streamqa/status"}]
    assert found["person--switch"]["command_topic"] == "streamqa/gate/person/set"
    assert found["active"]["command_topic"] == "streamqa/gate/set"
    assert found["alerts"]["state_topic"] == "streamqa/gate/alerts"
    assert found["person--image"]["image_topic"] == "streamqa/gate/person/image"


def test_without_alerts_there_is_neither_event_nor_picture_and_without_commands_no_switch() -> None:
    assert {one["platform"] for one in components(question()).values()} == {
        "binary_sensor",
        "sensor",
        "switch",
    }
    assert {one["platform"] for one in components(question(), commands=False).values()} == {
        "binary_sensor",
        "sensor",
    }


def test_questions_of_other_sources_are_not_its_own() -> None:
    assert set(components(question(sources=("lobby",)))) == {"state", "active"}


def test_what_is_no_more_is_named_by_its_platform_only() -> None:
    before = device(TOPICS, source(), [alerted(), question("cars", kind="number")])
    after = device(TOPICS, source(), [question(kind="number")], once=platforms(before))
    check(TOPICS.device("gate"), after)
    gone = {name: one for name, one in after["cmps"].items() if len(one) == 1}
    assert gone == {
        "alerts": {"p": "event"}, "person--binary_sensor": {"p": "binary_sensor"}, "person--image": {"p": "image"},
        "cars--sensor": {"p": "sensor"}, "cars--switch": {"p": "switch"},
    }  # fmt: skip
    assert platforms(after).keys() >= platforms(before).keys()


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"every_ns": NS_PER_S // 2}, 10),
        ({"every_ns": 4 * NS_PER_S + 1}, 13),
        ({"every_ns": 60 * NS_PER_S}, 180),
        ({"is_paused": True}, None),
        ({"when": parse_hours("22:00-06:00 Europe/Rome")}, None),
        ({"only_if": Follow("cars", parse_condition(">= 1"))}, None),
    ],
)
def test_an_answer_is_old_after_three_slides_where_one_must_come(fields: Any, seconds: int | None) -> None:
    assert expires_s(source(), question(**fields)) == seconds
    assert expires_s(source(is_live=False), question(**fields)) is None


@pytest.mark.parametrize(
    ("kind", "value", "state"),
    [
        ("yes_no", True, "ON"), ("yes_no", False, "OFF"), ("yes_no", None, "None"), ("number", 0, "0"),
        ("choice", "open", "open"), ("points", [{"x": 0.1, "y": 0.2}], "1"), ("boxes", [], "0"),
        ("text", "two\n cars", "two cars"), ("text", "", "None"), ("text", "None", "none"),
    ],
)  # fmt: skip
def test_a_value_is_a_word(kind: str, value: Any, state: str) -> None:
    assert state_of(kind, value) == state


@given(st.text())
def test_a_state_is_never_too_long(text: str) -> None:
    assert 0 < len(shown(text)) <= 255
    assert shown(text) == "None" or shown(shown(text)) == shown(text)


def test_the_whole_of_a_long_answer_is_in_the_attributes() -> None:
    text = "word " * 100
    record = answer(kind="text", text=text)
    found = attributes({**record_payload(record), "value": text})
    assert found["answer"] == found["text"] == text


def attributes(payload: dict[str, Any]) -> dict[str, Any]:
    """As Home Assistant makes them from the template, with the engine that it uses."""
    template = device(TOPICS, source(), [question()])["cmps"]["person--binary_sensor"]["json_attr_tpl"]
    text = (
        jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(template).render(value_json=payload)
    )
    found: dict[str, Any] = json.loads(text)
    return found


def test_attributes_leave_out_what_is_new_each_time() -> None:
    payload = {**record_payload(answer()), "confidence": 0.98765}
    found = attributes(payload)
    assert found == {
        "answer": True, "text": "Yes", "state": "ok", "reason": None, "evidence": None, "confidence": 0.99
    }  # fmt: skip
    assert attributes({**payload, "confidence": None})["confidence"] is None


def test_a_device_can_be_read_back() -> None:
    payload = device(TOPICS, source(), [alerted()])
    told = read(json.dumps(payload))
    assert told.platforms == platforms(payload)
    assert told.topics["person--image"] == {"streamqa/gate/person/image"}
    assert told.topics["person--binary_sensor"] == {
        "streamqa/gate/person/state",
        "streamqa/gate/person/attributes",
    }


@pytest.mark.parametrize(
    "text",
    ["", "[]", "nonsense", '{"cmps": 3}', '{"cmps": {"a": 3}}', '{"cmps": {"a": {}}}', b"\xff",
     '{"cmps": {"a": {"p": "x"}}}', "[" * 100_000, '{"cmps": {"a": {"p": "sensor"}}}' + " " * 4_000_000],
)  # fmt: skip
def test_what_is_no_device_says_nothing(text: str | bytes) -> None:
    assert read(text) == homeassistant.Told()


@given(
    st.lists(st.tuples(IDS, KINDS, st.booleans(), st.booleans()), max_size=6, unique_by=lambda one: one[0]),
    IDS, st.booleans(), st.booleans(), st.from_regex(r"[A-Za-z0-9_.-]{1,8}(/[A-Za-z0-9_.-]{1,8})?", fullmatch=True),
)  # fmt: skip
def test_every_payload_is_as_published(
    asked: list[tuple[str, Any, bool, bool]], name: str, is_live: bool, commands: bool, prefix: str
) -> None:
    questions = []
    for id, kind, alerts, paused in asked:
        choices = {"choices": ("a", "b")} if kind == "choice" else {}
        rules = (AlertRule("r", parse_condition("changed")),) if alerts else ()
        questions.append(question(id, kind=kind, is_paused=paused, alerts=rules, **choices))
    topics = Topics(prefix)
    before = device(topics, source(name, is_live=is_live), questions, commands=commands)
    check(topics.device(name), before)
    check(topics.device(name), device(topics, source(name), questions[1:], once=platforms(before)))
