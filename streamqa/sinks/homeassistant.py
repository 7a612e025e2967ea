"""Sources as devices of Home Assistant: what is published so that it shows them by itself. Pure.

One retained payload per source, as its MQTT device discovery wants it, with abbreviated keys. Each question is an
entity: `binary_sensor` (yes_no), or `sensor` (a number, a text, a choice among options, how many points or boxes);
beside it a switch that pauses it, and an `image` where it has alerts. Each source has a switch, a sensor with its
state, and an `event` for alerts.

Answers are unavailable while their source is not live, and where none came for three slides. The others are there as
long as this program is: a source that is paused can be resumed, and one that has gone blind still says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from streamqa.capture.sources import SourceInfo
from streamqa.sinks.topics import BETWEEN, Topics, word
from streamqa.types import NS_PER_S, Question, SourceState
from streamqa.version import __version__

UNKNOWN = "None"  # as a state: nobody knows
MOST_CHARACTERS = 255  # of a state
EVENTS = ("begin", "update", "end")
PLATFORMS = frozenset(("binary_sensor", "event", "image", "sensor", "switch"))

_URL = "https://github.com/streamqa/streamqa"
_MOST_BYTES = 4_000_000  # of what may be a payload of ours
_LEAST_S = 10  # an answer that came so recently is not old, however often its question is asked
_QOS = 1
# Of the record that is published as attributes, what a household's history is worth: times and latencies, which are
# new with each answer, would write a row of it every second.
_ATTRIBUTES = (
    "{{ {'answer': value_json.value, 'text': value_json.text, 'state': value_json.state, "
    "'reason': value_json.reason, 'evidence': value_json.evidence, "
    "'confidence': none if value_json.confidence is none else value_json.confidence | round(2)} | tojson }}"
)


@dataclass(frozen=True, slots=True)
class Told:
    """What the broker keeps about a device from an earlier time."""

    platforms: dict[str, str] = field(default_factory=dict)  # of its components, by their ids
    topics: dict[str, frozenset[str]] = field(default_factory=dict)  # of these, the retained ones


def device(
    topics: Topics,
    source: SourceInfo,
    questions: Iterable[Question],
    *,
    commands: bool = True,
    once: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The payload of a source and the questions that are asked of it.

    `commands`: whether it takes any. `once`: platforms of components that Home Assistant may still know, by id; those
    that are no more are named by their platform only, which removes them.
    """
    asked = [question for question in questions if question.asks(source.id)]
    alone = _Alone(topics, source.id)
    components = _of_source(alone, asked, commands)
    for question in asked:
        components |= _of_question(alone, source, question, commands)
    gone = {name: {"p": platform} for name, platform in (once or {}).items() if name not in components}
    return {
        "dev": {
            "ids": [topics.device_id(source.id)],
            "name": source.id,
            "mf": "streamqa",
            "mdl": "Live video" if source.is_live else "Recording",
            "sw": __version__,
        },
        "o": {"name": "streamqa", "sw": __version__, "url": _URL},
        "avty": [{"t": topics.status}, {"t": topics.of_source(source.id, "availability")}],
        "avty_mode": "all",
        "cmps": {**components, **gone},
    }


def platforms(payload: Mapping[str, Any]) -> dict[str, str]:
    """The platform of each component that `device` gave."""
    return {name: component["p"] for name, component in payload["cmps"].items()}


def read(text: bytes | str) -> Told:
    """What a payload of `device` said, also one of an older version; nothing where it is none.

    Anybody who may publish may have written it.
    """
    if len(text) > _MOST_BYTES:
        return Told()
    try:
        components = json.loads(text)["cmps"]
        # A platform that there is none of would have Home Assistant refuse all of the device.
        found = {name: component for name, component in components.items() if component["p"] in PLATFORMS}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Told()
    kept = ("stat_t", "json_attr_t", "img_t")
    return Told(
        {name: component["p"] for name, component in found.items()},
        {
            name: frozenset(component[key] for key in kept if isinstance(component.get(key), str))
            for name, component in found.items()
        },
    )


def state_of(kind: str, value: Any) -> str:
    """An answer's value, as it is on the wire, as the state of its entity: at most 255 characters."""
    if value is None:
        return UNKNOWN
    if kind == "yes_no":
        return "ON" if value else "OFF"
    if kind in ("points", "boxes"):
        return str(len(value))
    return str(value) if kind == "number" else shown(str(value))


def shown(text: str) -> str:
    """A text as a state: on one line, cut to what Home Assistant takes, and never the word that means nothing."""
    line = " ".join(text.split())
    if len(line) > MOST_CHARACTERS:
        line = line[: MOST_CHARACTERS - 1] + "…"
    if line == UNKNOWN:
        return line.lower()
    return line or UNKNOWN


def expires_s(source: SourceInfo, question: Question) -> int | None:
    """After how many seconds without an answer something is wrong; None: then nothing need be.

    Answers come with each slide only of a live source, and only where nothing else decides whether it is asked: a
    question that is paused, outside of its hours or waiting for another one is not a dead one.
    """
    if not source.is_live or question.is_paused or question.when is not None or question.only_if is not None:
        return None
    return max(_LEAST_S, math.ceil(3 * question.every_ns / NS_PER_S))


@dataclass(frozen=True, slots=True)
class _Alone:
    """The topics of one source, and what its entities have in common."""

    topics: Topics
    source: str

    def entity(self, platform: str, name: str, id: str) -> dict[str, Any]:
        unique = f"{self.topics.device_id(self.source)}{BETWEEN}{id}"
        return {"p": platform, "name": name, "uniq_id": unique, "qos": _QOS}

    def always(self) -> dict[str, Any]:
        """There as long as this program is, whatever its source does."""
        return {"avty": [{"t": self.topics.status}]}

    def at(self, what: str) -> str:
        return self.topics.of_source(self.source, what)

    def on(self, question: str, what: str) -> str:
        return self.topics.of_question(self.source, question, what)


def _of_source(alone: _Alone, asked: Iterable[Question], commands: bool) -> dict[str, dict[str, Any]]:
    found = {
        "state": {
            **alone.entity("sensor", "State", "state"),
            **alone.always(),
            "stat_t": alone.at("state"),
            "json_attr_t": alone.at("attributes"),
            "dev_cla": "enum",
            "ops": list(get_args(SourceState)),
            "ent_cat": "diagnostic",
        }
    }
    if commands:
        found["active"] = {
            **alone.entity("switch", "Watch", "active"),
            **alone.always(),
            "stat_t": alone.at("active"),
            "cmd_t": alone.at("set"),
            "ent_cat": "config",
        }
    if any(question.alerts for question in asked):
        found["alerts"] = {
            **alone.entity("event", "Alerts", "alerts"),
            **alone.always(),
            "stat_t": alone.at("alerts"),
            "evt_typ": list(EVENTS),
        }
    return found


def _of_question(
    alone: _Alone, source: SourceInfo, question: Question, commands: bool
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    name = _name(question.id)

    def add(platform: str, called: str, more: Mapping[str, Any]) -> None:
        id = f"{word(question.id)}{BETWEEN}{platform}"
        found[id] = {**alone.entity(platform, called, id), **more}

    answer: dict[str, Any] = {
        "stat_t": alone.on(question.id, "state"),
        "json_attr_t": alone.on(question.id, "attributes"),
        "json_attr_tpl": _ATTRIBUTES,
    }
    if (seconds := expires_s(source, question)) is not None:
        answer["exp_aft"] = seconds
    add("binary_sensor" if question.kind == "yes_no" else "sensor", name, {**answer, **_class(question)})
    if commands:
        switch = {"stat_t": alone.on(question.id, "active"), "cmd_t": alone.on(question.id, "set")}
        add("switch", f"Ask {name[0].lower()}{name[1:]}", {**alone.always(), **switch, "ent_cat": "config"})
    if question.alerts:
        picture = {"img_t": alone.on(question.id, "image"), "cont_type": "image/jpeg"}
        add("image", f"{name} alert", {**alone.always(), **picture})
    return found


def _class(question: Question) -> dict[str, Any]:
    """What kind of a sensor it is."""
    if question.kind in ("number", "points", "boxes"):
        return {"stat_cla": "measurement"}
    if question.kind == "choice":
        return {"dev_cla": "enum", "ops": list(dict.fromkeys(map(shown, question.choices)))}
    return {}


def _name(id: str) -> str:
    """`is_open` as `Is open`."""
    words = " ".join("".join(c if c.isalnum() else " " for c in id).split())
    return words[:1].upper() + words[1:] if words else id or "Question"
