"""MQTT: answers and states as retained topics, alerts as events, and sources as devices of Home Assistant.

See `topics` for what is published where, `outbox` for what is kept while the broker is away, `homeassistant` for the
devices. `write` puts what is new into the outbox and returns: a broker that is down, slow or refuses costs the line
nothing.
"""

from __future__ import annotations

import hashlib
import random
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from streamqa.sink_settings import MqttConfig
from streamqa.sinks import homeassistant
from streamqa.sinks.base import Logged
from streamqa.sinks.broker import parse_broker
from streamqa.sinks.mqtt_commands import Commands
from streamqa.sinks.mqtt_link import Link, Party, tls_context
from streamqa.sinks.mqtt_messages import (
    OFFLINE,
    ONLINE,
    Announcing,
    announcement,
    leftovers,
    of_record,
)
from streamqa.sinks.outbox import DEFAULT_LIMITS, Limits, Message, Outbox, Rank
from streamqa.sinks.outlet import Context, Ledger, SinkState
from streamqa.sinks.topics import Topics
from streamqa.sinks.wanted import Wanted

BIRTH_S = 1.0  # Home Assistant's start is answered within this, not by all devices at the same moment


def open_outlet(settings: MqttConfig, id: str, context: Context) -> MqttOutlet:
    """An outlet to the broker of `settings`, which is not waited for.

    Raises:
        ConfigError: its URL is not right.
    """
    return MqttOutlet(settings, id, context)


class MqttOutlet:
    """An outlet to one broker."""

    def __init__(
        self, settings: MqttConfig, id: str, context: Context, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        """Starts at once. Raises ConfigError: the URL is not right."""
        broker = parse_broker(settings.mqtt)
        self._context = context
        self._topics = Topics(settings.prefix, settings.discovery_prefix)
        self._how = Announcing(self._topics, settings.home_assistant, settings.commands)
        self._wanted = Wanted(sources=settings.sources, questions=settings.questions)
        self._ledger = Ledger(id, "mqtt", broker.target, context.metrics)
        self._outbox = Outbox(limits)
        self._counted = self._outbox.counts()
        self._is_told = False  # whether what there is has been announced as it is now
        self._present: frozenset[str] = frozenset()  # the topics of what there is
        self._sources: tuple[str, ...] = ()  # their ids
        self._once: dict[str, dict[str, str]] = {}  # source -> platforms of its components, by their ids
        self._left: list[str] = []  # topics that may retain something of what is no more
        self._is_closed = False
        ignored = context.metrics.sink_commands_ignored.labels(id)
        self._commands = Commands(id, context.pause, self._tell_again, ignored.inc)
        subscriptions = (*(self._topics.commands if settings.commands else ()),)
        if settings.home_assistant:
            subscriptions = (*subscriptions, self._topics.birth, self._topics.devices)
        party = Party(
            client_id=_client_id(settings.prefix, id, str(context.dead_letters)),
            will=(self._topics.status, OFFLINE),
            subscriptions=subscriptions,
            greet=self._greet,
            refresh=self._refresh,
            heard=self._heard,
        )
        self._link = Link(broker, tls_context(broker, settings.tls_verify), party, self._outbox, self._ledger)

    def write(self, records: Sequence[Logged]) -> None:
        """Take some records; returns at once."""
        if self._is_closed:
            return
        messages: list[Message] = []
        for record in records:
            if record.payload["type"] == "change":
                messages += self._changed(record.payload)
            if self._wanted.wants(record.payload):
                messages += of_record(self._topics, record.payload, self._context.evidence)
        self._outbox.put(messages)
        self._count()
        self._link.wake()

    def state(self) -> SinkState:
        """How it is doing."""
        return self._ledger.state()

    def close(self) -> None:
        """Send what is due and say good-bye, within some 2 s. May be called twice."""
        self._is_closed = True
        self._commands.close()
        self._link.close()

    def _changed(self, change: Mapping[str, Any]) -> list[Message]:
        """What there is is announced again; what a question was answered before it was changed stands no more."""
        self._is_told = False
        if change["what"] != "question" or change["action"] != "changed":
            return []
        states = {self._topics.of_question(source, change["id"], "state") for source in self._sources}
        return [Message(topic, homeassistant.UNKNOWN, Rank.STATE) for topic in states & self._present]

    def _count(self) -> None:
        """By the thread that writes only."""
        before, self._counted = self._counted, self._outbox.counts()
        self._ledger.queued(self._counted.due)
        if dropped := self._counted.dropped - before.dropped:
            self._ledger.dropped(dropped)
        if replaced := self._counted.replaced - before.replaced:
            self._context.metrics.sink_replaced.labels(self._ledger.id).inc(replaced)

    def _tell_again(self) -> None:
        """What there is may be another than was announced."""
        self._is_told = False
        self._link.wake()

    def _greet(self) -> None:
        """Everything once more: to a broker that may have lost it, or to a Home Assistant that has just begun."""
        self._outbox.again()
        self._is_told = False
        self._refresh()

    def _refresh(self) -> None:
        if self._is_told:
            return
        self._is_told = True  # before it is looked at: what changes meanwhile is looked at again
        sources, questions = self._context.describe()
        mine = [one for one in sources if self._wants("source", one.id)]
        asked = [one for one in questions if self._wants("question", one.id)]
        made = announcement(self._how, mine, asked, self._once)
        self._present, self._sources = made.topics, tuple(one.id for one in mine)
        self._once = made.platforms
        # What is left over from earlier: first known, then cleared like all that is no more.
        left, self._left = self._left, []
        self._outbox.put(Message(topic, "", Rank.STATE) for topic in left if topic not in made.topics)
        self._outbox.put(made.messages)
        self._outbox.clear_others(made.topics)

    def _wants(self, what: str, name: str) -> bool:
        payload: Mapping[str, Any] = {"type": "source", what: name}
        return self._wanted.wants(payload)

    def _heard(self, topic: str, payload: bytes, was_retained: bool) -> None:
        if topic == self._topics.birth:
            if payload == ONLINE.encode():
                self._link.later(BIRTH_S * random.random(), self._born)
            return
        command = self._topics.command(topic)
        if command is None:
            if was_retained and (source := self._topics.source_of(topic)) is not None:
                self._told_before(source, payload)
            return
        active = f"{topic.removesuffix('/set')}/active"
        if (
            was_retained or active not in self._present
        ):  # an old one, which would come again with each connection
            self._commands.ignore(f"{topic} is retained" if was_retained else f"there is no {topic}")
            return
        self._commands.take(command, payload)

    def _born(self) -> None:
        self._greet()
        self._link.wake()

    def _told_before(self, source: str, payload: bytes) -> None:
        """What the broker has kept of one of our devices, perhaps since an earlier run."""
        told = homeassistant.read(payload)
        is_there = self._topics.device(source) in self._present
        if told.platforms.keys() <= self._once.get(source, {}).keys():
            return
        self._left += leftovers(self._topics, source, told, is_there)
        if is_there:
            self._once[source] = {**told.platforms, **self._once.get(source, {})}
        self._tell_again()


def _client_id(*parts: str) -> str:
    """The same with each start, and another for each configuration on each machine; 22 letters and digits."""
    known = "\n".join([socket.gethostname(), *parts])
    return "streamqa" + hashlib.sha256(known.encode()).hexdigest()[:14]
