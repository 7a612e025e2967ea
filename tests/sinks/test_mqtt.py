from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("aiomqtt", reason="aiomqtt is not installed; pip install 'streamqa[mqtt]'")

from streamqa.errors import ConfigError
from streamqa.records import SourceStatus
from streamqa.sink_settings import MqttConfig
from streamqa.sinks import mqtt
from streamqa.sinks.mqtt import open_outlet
from streamqa.sinks.outlet import SinkState
from tests.sinks.broker import Ear, Mosquitto, broker, hearing, needs_mosquitto
from tests.sinks.ha_schema import check
from tests.sinks.mqtt_line import Line, alert, decided, outlet
from tests.sinks.records import AT
from tests.sinks.standing import question, source

pytestmark = needs_mosquitto
DEVICE = "homeassistant/device/streamqa--gate/config"


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def ear(mosquitto: Mosquitto) -> Iterator[Ear]:
    """Hears all; what an earlier test left is cleared."""
    with hearing(mosquitto.port) as found:
        found.say("test/start", "")
        found.wait(lambda ear: "test/start" in ear.newest)
        for topic, payload, _ in list(found.heard):
            if payload:
                found.say(topic, "", retain=True)
        found.forget()
        yield found


def up(state: SinkState) -> bool:
    return state.is_up is True and state.queued == 0


def test_states_and_attributes_are_retained(mosquitto: Mosquitto, ear: Ear) -> None:
    line = Line()
    with outlet(line, mosquitto.url) as sink:
        line.say(decided(True), decided(3, question="cars", kind="number"))
        ear.wait_for("streamqa/gate/person/state", "ON")
        ear.wait_for("streamqa/gate/cars/state", "3")
        ear.wait(lambda ear: ear.json_of("streamqa/gate/person/attributes").get("confidence") == 0.9)
        ear.wait_for("streamqa/status", "online")
        ear.wait_for("streamqa/gate/availability", "online")
        with hearing(mosquitto.port) as late:  # who comes later gets the same
            late.wait_for("streamqa/gate/person/state", "ON")
            assert all(was_retained for _, _, was_retained in late.heard)
        assert sink.state().is_up
        assert sink.state().target == mosquitto.url
        assert sink.state().dropped == 0
    ear.wait_for("streamqa/status", "offline")
    assert not [topic for topic in ear.newest if topic.startswith("homeassistant")]


def test_home_assistant_finds_a_device(mosquitto: Mosquitto, ear: Ear) -> None:
    line = Line()
    with outlet(line, mosquitto.url, home_assistant=True):
        ear.wait(lambda ear: DEVICE in ear.newest)
        found = check(DEVICE, ear.json_of(DEVICE))["components"]
        assert {"person--binary_sensor", "cars--sensor", "alerts", "person--image", "active"} <= found.keys()
        ear.wait(lambda ear: "streamqa/gate/cars/attributes" in ear.newest)
        # Before the first answer nothing is known, whatever the broker retained of an earlier run.
        assert ear.newest[found["person--binary_sensor"]["state_topic"]] == b"None"


def test_what_could_not_be_told_is_unknown_and_what_is_between_stands(mosquitto: Mosquitto, ear: Ear) -> None:
    line = Line()
    state = "streamqa/gate/person/state"
    with outlet(line, mosquitto.url):
        line.say(decided(True))
        ear.wait_for(state, "ON")
        ear.forget()
        line.say(decided(None, "unsure", "between"))
        ear.wait_for(state, "ON")  # once more: it is not old
        line.say(decided(None, "unsure", "off_list"))
        ear.wait_for(state, "None")
        ear.wait(lambda ear: ear.json_of("streamqa/gate/person/attributes").get("reason") == "off_list")


def test_a_source_that_is_not_live_is_not_available(mosquitto: Mosquitto, ear: Ear) -> None:
    line = Line()
    with outlet(line, mosquitto.url):
        ear.wait_for("streamqa/gate/availability", "online")
        line.say(SourceStatus("gate", "stalled", "no frame for 5 s", AT))
        ear.wait_for("streamqa/gate/availability", "offline")
        ear.wait_for("streamqa/gate/state", "stalled")
        ear.wait(lambda ear: ear.json_of("streamqa/gate/attributes").get("reason") == "no frame for 5 s")


def test_alerts_are_events_with_a_picture(mosquitto: Mosquitto, ear: Ear, tmp_path: Path) -> None:
    line = Line()
    picture = tmp_path / "12.jpg"
    picture.write_bytes(b"\xff\xd8 a picture")
    line.pictures[12] = picture
    with outlet(line, mosquitto.url):
        line.say(alert("begin", 1, "/frames/12.jpg"))
        ear.wait(lambda ear: ear.newest.get("streamqa/gate/person/image") == picture.read_bytes())
        assert ear.json_of("streamqa/gate/alerts")["event_type"] == "begin"
        line.say(alert("end", 1))
        ear.wait(lambda ear: len(ear.all_of("streamqa/gate/alerts")) == 2)
    with hearing(mosquitto.port) as late:
        late.wait_for("streamqa/status", "offline")
        assert "streamqa/gate/alerts" not in late.newest
        assert late.newest["streamqa/gate/person/image"] == picture.read_bytes()


def test_commands_pause_and_resume(mosquitto: Mosquitto, ear: Ear) -> None:
    line = Line()
    with outlet(line, mosquitto.url, home_assistant=True):
        ear.wait_for("streamqa/gate/person/active", "ON")
        line.say(decided(True))
        ear.wait_for("streamqa/gate/person/state", "ON")
        ear.say("streamqa/gate/person/set", "OFF")
        ear.wait_for("streamqa/gate/person/active", "OFF")
        ear.wait_for("streamqa/gate/person/state", "None")  # paused is not dead: unknown, and it says why
        ear.wait(lambda ear: ear.json_of("streamqa/gate/person/attributes").get("reason") == "paused")
        ear.wait(lambda ear: "exp_aft" not in ear.json_of(DEVICE)["cmps"]["person--binary_sensor"])
        ear.say("streamqa/gate/person/set", "ON")
        ear.wait_for("streamqa/gate/person/active", "ON")
        ear.say("streamqa/gate/set", "OFF")
        ear.wait_for("streamqa/gate/active", "OFF")
        ear.wait_for("streamqa/gate/availability", "offline")
        assert line.paused == [
            ("question", "person", True),
            ("question", "person", False),
            ("source", "gate", True),
        ]
        assert not line.counted("sink_commands_ignored")


def test_other_payloads_and_topics_are_ignored_and_counted(mosquitto: Mosquitto, ear: Ear) -> None:
    line = Line()
    with outlet(line, mosquitto.url):
        ear.wait_for("streamqa/gate/cars/active", "ON")
        for topic, payload in [
            ("gate/person/set", "TOGGLE"), ("gate/set", ""), ("nobody/set", "OFF"), ("gate/nothing/set", "OFF"),
            ("gate/%zz/set", "OFF"),
        ]:  # fmt: skip
            ear.say(f"streamqa/{topic}", payload)
        ear.say("streamqa/gate/cars/set", "OFF")
        ear.wait_for("streamqa/gate/cars/active", "OFF")
        assert line.paused == [("question", "cars", True)]
        assert line.counted("sink_commands_ignored") == 4


def test_a_retained_command_is_none(mosquitto: Mosquitto, ear: Ear) -> None:
    ear.say("streamqa/gate/person/set", "OFF", retain=True)
    line = Line()
    with outlet(line, mosquitto.url):
        ear.wait_for("streamqa/gate/cars/active", "ON")
        ear.say("streamqa/gate/cars/set", "OFF")
        ear.wait_for("streamqa/gate/cars/active", "OFF")
        assert line.paused == [("question", "cars", True)]
        assert line.counted("sink_commands_ignored") == 1


def test_a_change_that_takes_long_holds_up_nothing(mosquitto: Mosquitto, ear: Ear) -> None:
    line = Line()
    line.may_pause.clear()
    with outlet(line, mosquitto.url):
        ear.wait_for("streamqa/gate/person/active", "ON")
        ear.say("streamqa/gate/person/set", "OFF")
        line.say(decided(True))
        ear.wait_for("streamqa/gate/person/state", "ON")
        line.may_pause.set()
        ear.wait_for("streamqa/gate/person/active", "OFF")


def test_without_commands_none_is_heard(mosquitto: Mosquitto, ear: Ear) -> None:
    line = Line()
    with outlet(line, mosquitto.url, commands=False, home_assistant=True):
        ear.wait(lambda ear: DEVICE in ear.newest)
        assert not [one for one in ear.json_of(DEVICE)["cmps"].values() if one["p"] == "switch"]
        ear.say("streamqa/gate/person/set", "OFF")
        line.say(decided(True))
        ear.wait_for("streamqa/gate/person/state", "ON")
    assert line.paused == []


def test_home_assistants_birth_is_answered(
    mosquitto: Mosquitto, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "BIRTH_S", 0.05)
    line = Line()
    with outlet(line, mosquitto.url, home_assistant=True):
        line.say(decided(True))
        ear.wait_for("streamqa/gate/person/state", "ON")
        ear.wait(lambda ear: "streamqa/gate/cars/attributes" in ear.newest)
        ear.forget()
        ear.say("homeassistant/status", "offline")
        ear.say("homeassistant/status", "online")
        ear.wait(lambda ear: DEVICE in ear.newest)
        ear.wait_for("streamqa/gate/person/state", "ON")
        ear.wait_for("streamqa/gate/availability", "online")


def test_what_changes_while_it_runs_is_told(mosquitto: Mosquitto, ear: Ear) -> None:
    line = Line()
    with outlet(line, mosquitto.url, home_assistant=True):
        line.say(decided(True))
        ear.wait_for("streamqa/gate/person/state", "ON")
        line.sources.append(source("lobby"))
        line.questions = [question("cars", kind="number")]
        line.change("question", "person", "removed")
        ear.wait_for("streamqa/gate/person/state", "")
        ear.wait(lambda ear: "homeassistant/device/streamqa--lobby/config" in ear.newest)
        ear.wait(lambda ear: ear.json_of(DEVICE)["cmps"]["person--binary_sensor"] == {"p": "binary_sensor"})
        check(DEVICE, ear.json_of(DEVICE))
        line.sources.pop()
        line.change("source", "lobby", "removed")
        ear.wait_for("homeassistant/device/streamqa--lobby/config", "")
        ear.wait_for("streamqa/lobby/availability", "")
    with hearing(mosquitto.port) as late:
        late.wait_for("streamqa/status", "offline")
        assert not [topic for topic in late.newest if "lobby" in topic or "person" in topic]


def test_what_was_answered_before_a_question_was_changed_stands_no_more(
    mosquitto: Mosquitto, ear: Ear
) -> None:
    line = Line()
    with outlet(line, mosquitto.url, home_assistant=True):
        line.say(decided(True))
        ear.wait_for("streamqa/gate/person/state", "ON")
        line.questions[0] = question(kind="number")
        line.change("question", "person", "changed")
        ear.wait_for("streamqa/gate/person/state", "None")
        ear.wait(lambda ear: "person--sensor" in ear.json_of(DEVICE)["cmps"])
        line.say(decided(2, kind="number"))
        ear.wait_for("streamqa/gate/person/state", "2")


def test_what_was_removed_between_two_runs_goes_too(mosquitto: Mosquitto, ear: Ear) -> None:
    line = Line()
    line.sources.append(source("lobby"))
    with outlet(line, mosquitto.url, home_assistant=True):
        line.say(decided(True))
        ear.wait_for("streamqa/gate/person/state", "ON")
        ear.wait(lambda ear: "streamqa/lobby/cars/attributes" in ear.newest)
    line.sources.pop()
    line.questions.pop(0)
    with outlet(line, mosquitto.url, home_assistant=True):
        ear.wait_for("homeassistant/device/streamqa--lobby/config", "")
        ear.wait_for("streamqa/lobby/availability", "")
        ear.wait_for("streamqa/gate/person/state", "")
        ear.wait(
            lambda ear: ear.json_of(DEVICE)["cmps"].get("person--binary_sensor") == {"p": "binary_sensor"}
        )
        check(DEVICE, ear.json_of(DEVICE))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"cmps": {"x": {"p": "sensor", "stat_t": topic}}})
        for topic in (
            "streamqa/#",
            "streamqa/+/state",
            "streamqa/\ud800/state",
            f"streamqa/{'x' * 70_000}/state",
        )
    ]
    + ["[" * 100_000, json.dumps({"cmps": {"x": {"p": "nonsense"}}})],
)
def test_what_somebody_else_says_in_our_name_costs_nothing(mosquitto: Mosquitto, ear: Ear, text: str) -> None:
    ear.say(DEVICE, text, retain=True)
    ear.wait(lambda ear: DEVICE in ear.newest)
    line = Line()
    with outlet(line, mosquitto.url, home_assistant=True) as sink:
        ear.wait(lambda ear: b"person--binary_sensor" in ear.newest[DEVICE])
        line.say(decided(True))
        ear.wait_for("streamqa/gate/person/state", "ON")
        line.say(decided(False))
        ear.wait_for("streamqa/gate/person/state", "OFF")
        check(DEVICE, ear.json_of(DEVICE))
        assert sink.state().is_up
        assert line.counted("sink_failures") == 0


def test_only_what_is_wanted_is_published(mosquitto: Mosquitto, ear: Ear) -> None:
    line = Line()
    line.sources.append(source("lobby"))
    with outlet(
        line, mosquitto.url, home_assistant=True, sources=["gate"], questions=["cars"], prefix="home/eyes"
    ):
        line.say(decided(True), decided(True, source="lobby"), decided(2, question="cars", kind="number"))
        ear.wait_for("home/eyes/gate/cars/state", "2")
        ear.wait(lambda ear: "home/eyes/gate/cars/attributes" in ear.newest)
        assert not [topic for topic in ear.newest if "lobby" in topic or "person" in topic]
        check(
            "homeassistant/device/home-2Feyes--gate/config",
            ear.json_of("homeassistant/device/home-2Feyes--gate/config"),
        )


def test_ids_that_mean_something_in_a_topic(mosquitto: Mosquitto, ear: Ear) -> None:
    line = Line()
    line.sources, line.questions = [source("a/#")], [question("+")]
    with outlet(line, mosquitto.url, home_assistant=True):
        line.say(decided(True, source="a/#", question="+"))
        ear.wait_for("streamqa/a%2F%23/%2B/state", "ON")
        ear.say("streamqa/a%2F%23/%2B/set", "OFF")
        ear.wait_for("streamqa/a%2F%23/%2B/active", "OFF")
        assert line.paused == [("question", "+", True)]


def test_a_wrong_address_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match="nothing may follow"):
        open_outlet(MqttConfig(mqtt="mqtt://broker/topic"), "mqtt", Line().context())


def test_the_client_is_called_the_same_with_each_start() -> None:
    assert mqtt._client_id("a", "b") == mqtt._client_id("a", "b")
    assert mqtt._client_id("a", "b") != mqtt._client_id("a", "c")
    assert len(mqtt._client_id("a")) <= 23


def test_records_are_the_same_as_everywhere(mosquitto: Mosquitto, ear: Ear) -> None:
    line, record = Line(), decided("Zwei Männer", kind="text")
    with outlet(line, mosquitto.url):
        line.say(record)
        ear.wait_for("streamqa/gate/person/state", "Zwei Männer")
        ear.wait(lambda ear: ear.json_of("streamqa/gate/person/attributes") == record)
