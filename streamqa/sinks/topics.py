"""Where things are on an MQTT broker: topics from the ids of sources and questions, and back. Pure.

    streamqa/status                                     online | offline, also as last will
    streamqa/<source>/availability                      online while it is live
    streamqa/<source>/state, …/attributes               the source's state; its last record
    streamqa/<source>/active                            ON | OFF: whether it is watched
    streamqa/<source>/set                               takes ON and OFF
    streamqa/<source>/alerts                            alerts, not retained
    streamqa/<source>/<question>/state, …/attributes    the answer as a word; its last record
    streamqa/<source>/<question>/active, …/set          as above, of the question, for all of its sources
    streamqa/<source>/<question>/image                  the picture of the last alert, a JPEG

An id is one level of a topic. What must not stand there, or is not plain ASCII, is written as `%` and two hexadecimal
digits for each byte, so that no two ids share a topic. Home Assistant allows letters, digits, `_` and `-` in its ids:
there `-` takes the place of `%`, and `--`, which an escaped id cannot contain, stands between two of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BETWEEN = "--"
_MOST_CHARACTERS = 1000  # of a level; an id of 64 characters takes 768
_LEVEL = re.compile(rb"[A-Za-z0-9_.-]")
_WORD = re.compile(rb"[A-Za-z0-9_]")


@dataclass(frozen=True, slots=True)
class Command:
    """What a topic for commands is about."""

    source: str
    question: str | None  # None: the source itself


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics below one prefix."""

    prefix: str = "streamqa"  # one level or several
    discovery: str = "homeassistant"  # what Home Assistant's own topics begin with

    @property
    def status(self) -> str:
        """Whether this program is there."""
        return f"{self.prefix}/status"

    @property
    def birth(self) -> str:
        """Where Home Assistant says that it has started."""
        return f"{self.discovery}/status"

    @property
    def devices(self) -> str:
        """The subscription to what all devices tell about themselves."""
        return f"{self.discovery}/device/+/config"

    @property
    def commands(self) -> tuple[str, str]:
        """The subscriptions to all topics for commands."""
        return f"{self.prefix}/+/set", f"{self.prefix}/+/+/set"

    def of_source(self, source: str, what: str) -> str:
        """A topic of a source: availability, state, attributes, active, set, alerts."""
        return f"{self.prefix}/{escaped(source)}/{what}"

    def of_question(self, source: str, question: str, what: str) -> str:
        """A topic of a question at a source: state, attributes, active, set, image."""
        return f"{self.prefix}/{escaped(source)}/{escaped(question)}/{what}"

    def command(self, topic: str) -> Command | None:
        """What a command that came on `topic` is about; None: this is no topic for commands."""
        start, end = f"{self.prefix}/", "/set"
        if not (topic.startswith(start) and topic.endswith(end) and len(topic) > len(start) + len(end)):
            return None
        levels = [unescaped(level) for level in topic[len(start) : -len(end)].split("/")]
        source, question = (levels[0], None) if len(levels) == 1 else (levels[0], levels[1])
        if len(levels) > 2 or source is None or (len(levels) == 2 and question is None):
            return None
        return Command(source, question)

    def may_hold(self, topic: str) -> bool:
        """Whether something of a source or a question may be retained there, whatever their ids are."""
        start = f"{self.prefix}/"
        levels = topic.removeprefix(start).split("/")
        is_below = topic.startswith(start) and 2 <= len(levels) <= 3
        return is_below and all(
            len(level) <= _MOST_CHARACTERS and unescaped(level) is not None for level in levels
        )

    def device_id(self, source: str) -> str:
        """What a source is called as a device, unlike that of any other prefix."""
        return f"{word(self.prefix)}{BETWEEN}{word(source)}"

    def device(self, source: str) -> str:
        """Where a source tells about itself as a device."""
        return f"{self.discovery}/device/{self.device_id(source)}/config"

    def source_of(self, device_topic: str) -> str | None:
        """Which source a device's topic is about; None: it is not one of ours."""
        start, end = f"{self.discovery}/device/{word(self.prefix)}{BETWEEN}", "/config"
        if not (device_topic.startswith(start) and device_topic.endswith(end)):
            return None
        return from_word(device_topic[len(start) : -len(end)])


def escaped(id: str) -> str:
    """An id as one level of a topic."""
    return _written(id, _LEVEL, "%")


def unescaped(level: str) -> str | None:
    """The id that is written so; None: no id is."""
    return _read(level, _LEVEL, "%")


def word(id: str) -> str:
    """An id in letters, digits, `_` and `-`; never two `-` in a row."""
    return _written(id, _WORD, "-")


def from_word(text: str) -> str | None:
    """The id that is written so; None: no id is."""
    return _read(text, _WORD, "-")


def _written(id: str, plain: re.Pattern[bytes], sign: str) -> str:
    # "surrogatepass": whatever Python can hold has a topic, also what is no valid Unicode.
    raw = id.encode("utf-8", "surrogatepass")
    # The sign by itself stands for an empty id, as no other is written so.
    return "".join(chr(b) if plain.match(bytes([b])) else f"{sign}{b:02X}" for b in raw) or sign


def _read(text: str, plain: re.Pattern[bytes], sign: str) -> str | None:
    raw = re.sub(f"{sign}([0-9A-F]{{2}})", lambda found: chr(int(found[1], 16)), text)
    try:
        id = "" if text == sign else raw.encode("latin-1").decode("utf-8", "surrogatepass")
    except UnicodeError:
        return None
    return id if _written(id, plain, sign) == text else None
