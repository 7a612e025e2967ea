"""The configuration for a home, as shipped: what a Home Assistant would read of it."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("aiomqtt", reason="aiomqtt is not installed; pip install 'streamqa[mqtt]'")

from tests.cli.process import COMMAND, ENVIRONMENT, ROOT
from tests.sinks.broker import broker, hearing, needs_mosquitto
from tests.sinks.ha_schema import check

DEVICE = "homeassistant/device/streamqa--gate/config"


@contextmanager
def running(folder: Path, url: str) -> Iterator[subprocess.Popen[bytes]]:
    text = (ROOT / "configs" / "home.yaml").read_text()
    assert '"mqtt://127.0.0.1"' in text
    # The gate is closed at first: an alert soon.
    text = text.replace("mqtt://127.0.0.1", url).replace("when: open, for: 5s", "when: closed")
    (folder / "home.yaml").write_text(text)
    command = [*COMMAND, "run", "home.yaml", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


@needs_mosquitto
def test_home_assistant_would_show_the_gate(tmp_path: Path) -> None:
    with (
        broker(tmp_path) as mosquitto,
        hearing(mosquitto.port) as ear,
        running(tmp_path, mosquitto.url) as process,
    ):
        ear.wait(lambda ear: DEVICE in ear.newest)
        root = check(DEVICE, ear.json_of(DEVICE))
        components = root["components"]
        assert {
            "person--binary_sensor",
            "people--sensor",
            "gate--sensor",
            "fire--image",
            "alerts",
        } <= components.keys()
        assert "expire_after" not in components["people--sensor"]  # it is asked only while there is a person
        ear.wait_for("streamqa/gate/availability", "online")
        known = {"person--binary_sensor": ("ON", "OFF"), "cars--sensor": ("0", "1", "2", "3", "4")}
        for name, states in known.items():
            topic = components[name]["state_topic"]
            ear.wait(lambda ear, topic=topic, states=states: ear.newest.get(topic, b"").decode() in states)
        for entry in root["availability"]:
            assert ear.newest[entry["topic"]] == b"online"

        ear.wait(lambda ear: ear.newest.get(components["gate--image"]["image_topic"], b"")[:2] == b"\xff\xd8")
        event = json.loads(ear.all_of(components["alerts"]["state_topic"])[0])
        assert event["event_type"] in components["alerts"]["event_types"]
        assert (event["rule"], event["value"], event["evidence"]) == (
            "gate-open",
            "closed",
            f"/frames/{event['seq']}.jpg",
        )

        ear.say(components["cars--switch"]["command_topic"], "OFF")
        ear.wait_for(components["cars--switch"]["state_topic"], "OFF")
        ear.wait_for(components["cars--sensor"]["state_topic"], "None")

        process.send_signal(signal.SIGKILL)
        ear.wait_for("streamqa/status", "offline")
