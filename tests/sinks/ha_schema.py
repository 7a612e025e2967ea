"""What Home Assistant takes as MQTT device discovery, as its documentation has it: our own table of facts.

Keys by their full names, with the type of each; abbreviations; what is required. Written down from the pages on MQTT
and on its binary sensor, sensor, switch, event and image; only what can occur here is listed, and all else refused.
"""

from __future__ import annotations

import re
from typing import Any

ABBREVIATIONS = {
    "avty": "availability", "avty_mode": "availability_mode", "cmd_t": "command_topic", "cmps": "components",
    "cont_type": "content_type", "dev": "device", "dev_cla": "device_class", "ent_cat": "entity_category",
    "evt_typ": "event_types", "exp_aft": "expire_after", "img_t": "image_topic",
    "json_attr_t": "json_attributes_topic", "json_attr_tpl": "json_attributes_template", "o": "origin",
    "ops": "options", "p": "platform",
    "stat_cla": "state_class", "stat_t": "state_topic", "t": "topic", "uniq_id": "unique_id",
}  # fmt: skip
OF_DEVICE = {"ids": "identifiers", "mf": "manufacturer", "mdl": "model", "sw": "sw_version"}
OF_ORIGIN = {"sw": "sw_version", "url": "support_url"}

DEVICE = {"identifiers": list, "name": str, "manufacturer": str, "model": str, "sw_version": str}
ORIGIN = {"name": str, "sw_version": str, "support_url": str}
ROOT = {"device": dict, "origin": dict, "availability": list, "availability_mode": str, "components": dict}
COMMON = {
    "platform": str, "name": str, "unique_id": str, "qos": int, "availability": list, "availability_mode": str,
    "json_attributes_topic": str, "json_attributes_template": str, "entity_category": str,
}  # fmt: skip
PLATFORMS: dict[str, dict[str, type]] = {
    "binary_sensor": {"state_topic": str, "expire_after": int},
    "sensor": {
        "state_topic": str,
        "expire_after": int,
        "device_class": str,
        "state_class": str,
        "options": list,
    },
    "switch": {"state_topic": str, "command_topic": str},
    "event": {"state_topic": str, "event_types": list},
    "image": {"image_topic": str, "content_type": str},
}
REQUIRED = {
    "binary_sensor": {"state_topic"}, "sensor": {"state_topic"}, "switch": {"command_topic"},
    "event": {"state_topic", "event_types"}, "image": {"image_topic"},
}  # fmt: skip
CATEGORIES = {"sensor": {"diagnostic"}, "binary_sensor": {"diagnostic"}, "switch": {"config", "diagnostic"}}
TOPIC = re.compile(r"homeassistant/device/[a-zA-Z0-9_-]+/config")


def expanded(payload: dict[str, Any]) -> dict[str, Any]:
    """With full names, as Home Assistant reads it."""
    root = _named(payload, ABBREVIATIONS)
    root["device"] = _named(root["device"], OF_DEVICE)
    root["origin"] = _named(root["origin"], OF_ORIGIN)
    root["availability"] = [_named(one, ABBREVIATIONS) for one in root["availability"]]
    root["components"] = {name: _component(one) for name, one in root["components"].items()}
    return root


def check(topic: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Hold a payload against the table; its expanded form."""
    assert TOPIC.fullmatch(topic), topic
    root = expanded(payload)
    _typed(root, ROOT, required={"device", "origin", "components"})
    _typed(root["device"], DEVICE, required={"identifiers"})
    assert root["device"]["identifiers"]
    assert all(isinstance(one, str) and one for one in root["device"]["identifiers"])
    _typed(root["origin"], ORIGIN, required={"name"})
    assert re.match(r"https?://\S+$", root["origin"]["support_url"])
    _available(root)
    unique = [(one["platform"], one["unique_id"]) for one in root["components"].values() if len(one) > 1]
    assert len(set(unique)) == len(unique)
    for name, component in root["components"].items():
        assert re.fullmatch(r"[a-zA-Z0-9_-]+", name)
        _check_component(component)
    return root


def _check_component(one: dict[str, Any]) -> None:
    platform = one["platform"]
    assert platform in PLATFORMS
    if len(one) == 1:  # it is to be removed
        return
    _typed(one, COMMON | PLATFORMS[platform], required=REQUIRED[platform] | {"unique_id"})
    assert one["qos"] in (0, 1, 2)
    assert one["name"]
    _available(one)
    if "entity_category" in one:
        assert one["entity_category"] in CATEGORIES[platform]
    for key in one:
        if key.endswith("_topic"):
            _is_topic(one[key])
    if platform == "sensor":
        if "options" in one:  # a closed list is an enum, and has neither a class of states nor a unit
            assert one["options"]
            assert one["device_class"] == "enum"
            assert "state_class" not in one
            assert all(isinstance(word, str) and 0 < len(word) <= 255 for word in one["options"])
        else:
            assert "device_class" not in one
        assert one.get("state_class", "measurement") in ("measurement", "total", "total_increasing")
    if platform == "event":
        assert one["event_types"] == ["begin", "update", "end"]
    assert one.get("expire_after", 1) > 0


def _available(one: dict[str, Any]) -> None:
    for entry in one.get("availability", []):
        assert set(entry) == {"topic"}  # the payloads are the defaults, online and offline
        _is_topic(entry["topic"])
    assert one.get("availability_mode", "latest") in ("all", "any", "latest")


def _is_topic(topic: str) -> None:
    assert topic
    assert not re.search(r"[#+\0]", topic)
    assert len(topic.encode()) <= 65_535


def _typed(found: dict[str, Any], known: dict[str, type], required: set[str]) -> None:
    assert required <= found.keys(), f"missing: {required - found.keys()}"
    for key, value in found.items():
        assert key in known, f"unknown key {key}"
        assert type(value) is known[key], f"{key} is {value!r}"


def _named(found: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    named = {names.get(key, key): value for key, value in found.items()}
    assert len(named) == len(found)
    return named


def _component(found: dict[str, Any]) -> dict[str, Any]:
    named = _named(found, ABBREVIATIONS)
    if "availability" in named:
        named["availability"] = [_named(one, ABBREVIATIONS) for one in named["availability"]]
    return named
