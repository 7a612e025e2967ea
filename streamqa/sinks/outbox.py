"""What is to go to a broker: what topics retain, of which only the newest counts, and events, which all count."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeAlias

# Objects become JSON, and files are read, only when they are sent.
Payload: TypeAlias = str | dict[str, Any] | Path


class Rank(IntEnum):
    """What goes first where much is due: nothing is called available before what it says is up to date."""

    AVAILABILITY = 0
    STATE = 1
    STATUS = 2
    DEVICE = 3
    EVENT = 4
    ATTRIBUTES = 5
    PICTURE = 6


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to publish."""

    topic: str
    payload: Payload  # "" clears a retained topic
    rank: Rank
    # What the topic retains already stands, and is to be said again; `payload` is for where it retains nothing.
    stands: bool = False

    @property
    def is_retained(self) -> bool:
        """Whether the broker keeps it for whoever subscribes later."""
        return self.rank != Rank.EVENT


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an outbox holds."""

    topics: int = 16_384  # retained ones
    events: int = 1_000

    def __post_init__(self) -> None:
        if self.topics < 1 or self.events < 1:
            raise ValueError(f"an outbox needs room, got {self.topics} topics and {self.events} events")


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Counts:
    """What an outbox has seen."""

    due: int  # messages that wait now
    replaced: int  # since the start: retained ones that a newer one replaced before they were sent
    dropped: int  # since the start: events, and topics for which there was no room


class Outbox:
    """Retained topics with their newest payload, and a queue of events. Thread-safe; nothing waits.

    Queue policy: of a retained topic the newest wins, what it replaces unsent is counted; a topic more than there is
    room for is dropped and counted. Events drop the oldest, and count it.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._kept: dict[str, Message] = {}  # what each topic retains, or shall
        self._due: dict[str, None] = {}  # topics that are to be sent, in order
        self._events: deque[Message] = deque()
        self._replaced = self._dropped = 0

    def put(self, messages: Iterable[Message]) -> None:
        """Take some messages, in order."""
        with self._lock:
            for message in messages:
                if message.is_retained:
                    self._keep(message)
                else:
                    self._events.append(message)
            while len(self._events) > self._limits.events:
                self._events.popleft()
                self._dropped += 1

    def again(self) -> None:
        """Everything retained is due once more: the broker may have lost it."""
        with self._lock:
            self._due = dict.fromkeys(self._kept)

    def clear_others(self, topics: frozenset[str]) -> None:
        """Clear all retained topics but these."""
        with self._lock:
            for topic, message in self._kept.items():
                if topic not in topics and message.payload != "":
                    self._kept[topic] = Message(topic, "", message.rank)
                    self._due[topic] = None

    def take(self) -> list[Message]:
        """All that is due, what matters most first; they are the caller's now."""
        with self._lock:
            taken = [self._kept[topic] for topic in self._due]
            for message in taken:
                if message.payload == "":  # when it is sent, there is nothing left to know
                    del self._kept[message.topic]
            taken += self._events
            self._due.clear()
            self._events.clear()
        return sorted(taken, key=lambda message: message.rank)

    def give_back(self, messages: Sequence[Message]) -> None:
        """These could not be sent: they are due again, unless something newer has taken their place."""
        with self._lock:
            for message in messages:
                if message.is_retained:
                    self._kept.setdefault(message.topic, message)
                    self._due[message.topic] = None
            self._events.extendleft(reversed([message for message in messages if not message.is_retained]))
            while len(self._events) > self._limits.events:
                self._events.popleft()
                self._dropped += 1

    def counts(self) -> Counts:
        """What it has seen so far."""
        with self._lock:
            return Counts(len(self._due) + len(self._events), self._replaced, self._dropped)

    def _keep(self, message: Message) -> None:
        known = self._kept.get(message.topic)
        if known is None and len(self._kept) >= self._limits.topics:
            self._dropped += 1
            return
        if message.stands and known is not None and known.payload != "":
            message = known
        elif message.topic in self._due:
            self._replaced += 1
        self._kept[message.topic] = message
        self._due[message.topic] = None
