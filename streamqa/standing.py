"""What is asked and watched now: the configuration, and what was changed while it ran.

Changes are kept in a file beside the log, as the difference to the configuration. Each names what stood in the
configuration when it was made (a digest, so that no password is in it). Whoever edits an entry of the configuration
after that meant the edit: it wins over the older change of that entry, which is told, once, and dropped. A pause
stays as long as there is a question or a source of that name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from pydantic import Field

from streamqa.capture.source import redact
from streamqa.config import Config
from streamqa.question_settings import QuestionConfig
from streamqa.questions import together_problems
from streamqa.replacing import reading_kept, replacing
from streamqa.settings import Id, SourceConfig, Strict
from streamqa.types import Question

S = TypeVar("S", QuestionConfig, SourceConfig)

_SHOWN = 8  # names in a note


@dataclass(frozen=True, slots=True)
class Entry(Generic[S]):
    """One question or one source."""

    settings: S
    is_paused: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """All questions and sources, in the order in which they were added."""

    questions: Mapping[str, Entry[QuestionConfig]]
    sources: Mapping[str, Entry[SourceConfig]]

    def asked(self) -> tuple[Question, ...]:
        """The questions as the engine knows them."""
        return tuple(
            replace(entry.settings.question(name), is_paused=entry.is_paused)
            for name, entry in self.questions.items()
        )

    def watched(self) -> dict[str, SourceConfig]:
        """The settings of the sources."""
        return {name: entry.settings for name, entry in self.sources.items()}


def as_configured(config: Config) -> Standing:
    """What a configuration says by itself."""
    return Standing(
        {name: Entry(item) for name, item in config.questions.items()},
        {name: Entry(item) for name, item in config.sources.items()},
    )


class Store(Protocol):
    """Where changes are kept. Its owner makes one change after the other."""

    @property
    def standing(self) -> Standing:
        """As it was saved last."""
        ...

    def saving(self, standing: Standing) -> AbstractContextManager[None]:
        """Save `standing` when the block ends well; after an exception nothing has changed.

        Raises:
            StreamQAError: it cannot be saved; mostly before the block is entered.
        """
        ...


class Unsaved:
    """A store for a line whose log is in memory: changes end with it."""

    def __init__(self, standing: Standing) -> None:
        self.standing = standing

    @contextmanager
    def saving(self, standing: Standing) -> Iterator[None]:
        """Nothing that could fail."""
        yield
        self.standing = standing


class ChangesFile:
    """What differs from a configuration, kept in a file that only its owner may read: URLs hold passwords."""

    def __init__(self, path: Path, config: Config) -> None:
        """`path` need not exist.

        Raises:
            ConfigError: it is there and cannot be read; the message says what to do.
        """
        self.path = path
        self._config = config
        self.standing, self.notes = self._load()

    @contextmanager
    def saving(self, standing: Standing, config: Config | None = None) -> Iterator[None]:
        """As `Store`; `config`: what the configuration says from now on."""
        config = config or self._config
        with replacing(self.path, _text(difference(config, standing))):
            yield
        self.standing, self._config = standing, config

    def _load(self) -> tuple[Standing, list[str]]:
        """What stands, and what to tell about it."""
        words = "these saved changes", "start from the configuration alone"
        with reading_kept(self.path, *words) as data:
            if data is None:
                return as_configured(self._config), []
            changes = Changes.model_validate_json(data)
            standing, dropped = merged(self._config, changes)
        return standing, self._notes(changes, dropped, standing)

    def _notes(self, changes: Changes, dropped: list[str], standing: Standing) -> list[str]:
        found = []
        if dropped:
            found.append(
                f"edited in the configuration since it was changed, which applies: {_listed(dropped)}"
            )
            # Else they would come back with the next edit.
            changes = difference(self._config, standing)
            with replacing(self.path, _text(changes)):
                pass
        if applied := changes.told():
            found.append(
                f"changes made while it ran apply: {_listed(applied)}; to drop them, delete {self.path}"
            )
        lost = [
            f"question {name} asks of {source}"
            for name, entry in standing.questions.items()
            for source in entry.settings.sources or ()
            if source not in standing.sources
        ]
        alone = [name for name, _ in together_problems(standing.asked())]
        if alone:
            found.append(f"never asked, since what `if` names is not there or never holds: {_listed(alone)}")
        return [*found, f"there is no such source: {_listed(lost)}"] if lost else found


class Change(Strict):
    """An entry that was added, or has other settings than in the configuration."""

    settings: dict[str, Any]  # as given; a source without `url` has that of the configuration
    instead_of: str | None = None  # digest of what the configuration said; null: nothing


class Section(Strict):
    """The changes of all questions, or of all sources."""

    entries: dict[Id, Change] = Field(default={})
    removed: dict[Id, str] = Field(default={})  # name -> digest of what the configuration said
    paused: list[Id] = Field(default=[])


class Changes(Strict):
    """The file."""

    version: Literal[1] = 1
    questions: Section = Section()
    sources: Section = Section()

    def told(self) -> list[str]:
        """One phrase for each change."""
        found = []
        for word, section in (("question", self.questions), ("source", self.sources)):
            for name, change in section.entries.items():
                found.append(f"{word} {name} {'changed' if change.instead_of else 'added'}")
            found += [f"{word} {name} removed" for name in section.removed]
            found += [f"{word} {name} paused" for name in section.paused]
        return found


def difference(config: Config, standing: Standing) -> Changes:
    """What was changed."""
    return Changes(
        questions=_difference(config.questions, standing.questions),
        sources=_difference(config.sources, standing.sources),
    )


def merged(config: Config, changes: Changes) -> tuple[Standing, list[str]]:
    """What stands, and which changes do not apply since the configuration was edited after them.

    Raises:
        ValidationError: settings that are none.
    """
    questions, stale = _merged(config.questions, changes.questions, QuestionConfig)
    sources, stale_too = _merged(config.sources, changes.sources, SourceConfig)
    dropped = [f"question {name}" for name in stale] + [f"source {name}" for name in stale_too]
    return Standing(questions, sources), dropped


def _difference(configured: Mapping[str, S], standing: Mapping[str, Entry[S]]) -> Section:
    return Section(
        entries={
            name: _change(configured.get(name), entry.settings)
            for name, entry in standing.items()
            if entry.settings != configured.get(name)
        },
        removed={name: _digest(item) for name, item in configured.items() if name not in standing},
        paused=[name for name, entry in standing.items() if entry.is_paused],
    )


def _change(old: S | None, new: S) -> Change:
    given = new.given()
    if isinstance(old, SourceConfig) and isinstance(new, SourceConfig) and old.url == new.url:
        del given["url"]  # a password from the environment stays there, and a new one there counts here
    return Change(settings=given, instead_of=None if old is None else _digest(old))


def _merged(
    configured: Mapping[str, S], section: Section, of: type[S]
) -> tuple[dict[str, Entry[S]], list[str]]:
    settings, dropped = dict(configured), []
    for name, change in section.entries.items():
        there = configured.get(name)
        if (None if there is None else _digest(there)) != change.instead_of:
            dropped.append(name)
            continue
        url: dict[str, str] = {"url": there.url} if isinstance(there, SourceConfig) else {}
        settings[name] = of.model_validate({**url, **change.settings})
    for name, digest in section.removed.items():
        there = configured.get(name)
        if there is not None and _digest(there) == digest:
            del settings[name]
        elif there is not None:
            dropped.append(name)
    return {name: Entry(item, name in section.paused) for name, item in settings.items()}, dropped


def _digest(settings: QuestionConfig | SourceConfig) -> str:
    """Names what was written, but not the passwords: they come from the environment, where they may change."""
    given = settings.given()
    if isinstance(settings, SourceConfig):
        given["url"] = redact(settings.url)
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]


def _text(changes: Changes) -> bytes | None:
    """As it stands in the file; None: there is nothing to keep."""
    if not changes.told():
        return None
    return (changes.model_dump_json(indent=2) + "\n").encode()


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
