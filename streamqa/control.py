"""Changes to a running line: checked, carried out, saved and recorded, one after the other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, Literal, Protocol, TypeVar

from streamqa.asked import MOST_QUESTIONS
from streamqa.capture.reach import Reach
from streamqa.capture.source import SourceSpec, redact
from streamqa.capture.sources import SourceInfo
from streamqa.errors import Busy, ConfigError, NotThere, StreamQAError, TakenId
from streamqa.question_settings import QuestionConfig
from streamqa.questions import check_question, check_together
from streamqa.records import Answer, Change, Record
from streamqa.settings import SourceConfig
from streamqa.specs import source_spec
from streamqa.standing import Entry, Standing, Store
from streamqa.types import Frame, Generation, Moment, Question, Request, iso_ms, utc_now

_log = logging.getLogger(__name__)

MOST_SOURCES = 256
_TURN_S = 10.0

What = Literal["question", "source"]
Action = Literal["added", "changed", "paused", "resumed", "removed"]
_Settings = TypeVar("_Settings", QuestionConfig, SourceConfig)


class Asking(Protocol):
    """What is asked: `asked.Asked`, as far as it matters here."""

    def add_question(self, question: Question) -> None: ...  # noqa: D102 - as `Asked`
    def change_question(self, question: Question) -> None: ...  # noqa: D102 - as `Asked`
    def pause_question(self, question: str) -> None: ...  # noqa: D102 - as `Asked`
    def resume_question(self, question: str) -> None: ...  # noqa: D102 - as `Asked`
    def remove_question(self, question: str) -> None: ...  # noqa: D102 - as `Asked`
    def frame(self, source: str, moment: Moment) -> Frame: ...  # noqa: D102 - as `Asked`
    def ask_once(self, source: str, question: Question, moment: Moment) -> Answer: ...  # noqa: D102 - as `Asked`
    def generate(self, request: Request) -> list[Generation]: ...  # noqa: D102 - as `Asked`


class Line(Protocol):
    """What is changed: `pipeline.Pipeline`, as far as it matters here."""

    @property
    def asked(self) -> Asking: ...  # noqa: D102 - as `Pipeline`
    def add_source(self, spec: SourceSpec) -> None: ...  # noqa: D102 - as `Pipeline`
    def change_source(self, spec: SourceSpec) -> None: ...  # noqa: D102 - as `Pipeline`
    def pause_source(self, source: str) -> None: ...  # noqa: D102 - as `Pipeline`
    def resume_source(self, source: str) -> None: ...  # noqa: D102 - as `Pipeline`
    def remove_source(self, source: str) -> None: ...  # noqa: D102 - as `Pipeline`
    def sources(self) -> tuple[SourceInfo, ...]: ...  # noqa: D102 - as `Pipeline`


class LineControl:
    """`server.context.Control` over a running line.

    A change is saved and carried out together, or not at all: all that saving may fail for is tried first, then the
    line changes, then the file that survives a restart takes its place, then the record is put. What changes nothing
    (pausing what is paused) leaves no record. A process that dies in between has changed nothing that anybody was
    told of; after the file took its place the change stands, and at worst its record is missing.
    """

    def __init__(
        self, store: Store, allowed: Callable[[SourceConfig], None], reach: Reach | None = None
    ) -> None:
        """`allowed` raises NotAllowed for a source that may not be added over the network.

        `reach`: where such sources may lead; None: to public addresses.
        """
        self._store = store
        self._allowed = allowed
        self._reach = reach
        self._changing = threading.Lock()  # one change at a time, so that line, file and records agree
        self._line: Line | None = None
        self._record: Callable[[Sequence[Record]], None] = lambda records: None

    def attach(self, line: Line, record: Callable[[Sequence[Record]], None]) -> None:
        """Changes go to `line` from now on, and their records to `record`.

        `line` asks and watches what the store says, and has not been started: here its paused sources are paused.
        """
        for name, entry in self._store.standing.sources.items():
            if entry.is_paused:
                line.pause_source(name)
        self._record = record
        self._line = line

    def describe(self) -> dict[str, Any]:
        """All questions and sources with their settings as given, JSON-ready, without secrets."""
        standing = self._store.standing
        infos = {info.id: info for info in self._line.sources()} if self._line else {}
        return {
            "questions": [_described(name, entry) for name, entry in standing.questions.items()],
            "sources": [
                {**_described(name, entry), **_seen(infos.get(name))}
                for name, entry in standing.sources.items()
            ],
        }

    def add_question(self, name: str, settings: QuestionConfig, by: str) -> None:
        """Ask it from now on."""
        with self._turn():
            before = self._store.standing.questions
            _refuse_taken("question", name, before)
            if len(before) >= MOST_QUESTIONS:
                raise ConfigError(f"question {name!r}: there are {MOST_QUESTIONS} already; remove one first")
            self._check(name, settings)
            self._change_question(name, Entry(settings), "added", by)

    def change_question(self, name: str, settings: QuestionConfig, by: str) -> None:
        """Ask this in its place; a pause stays."""
        with self._turn():
            entry = _known("question", name, self._store.standing.questions)
            self._check(name, settings)
            self._change_question(name, replace(entry, settings=settings), "changed", by)

    def pause_question(self, name: str, by: str) -> None:
        """Do not ask it until it is resumed."""
        with self._turn():
            entry = _known("question", name, self._store.standing.questions)
            self._change_question(name, replace(entry, is_paused=True), "paused", by)

    def resume_question(self, name: str, by: str) -> None:
        """Ask it again."""
        with self._turn():
            entry = _known("question", name, self._store.standing.questions)
            self._change_question(name, replace(entry, is_paused=False), "resumed", by)

    def remove_question(self, name: str, by: str) -> None:
        """Never ask it again."""
        with self._turn():
            _known("question", name, self._store.standing.questions)
            self._change_question(name, None, "removed", by)

    def add_source(self, name: str, settings: SourceConfig, by: str) -> None:
        """Watch it from now on."""
        with self._turn():
            before = self._store.standing.sources
            _refuse_taken("source", name, before)
            if len(before) >= MOST_SOURCES:
                raise ConfigError(f"source {name!r}: there are {MOST_SOURCES} already; remove one first")
            _refuse_hidden(name, settings)
            self._allowed(settings)
            self._change_source(name, Entry(_guarded(settings, True)), "added", by)

    def change_source(self, name: str, settings: SourceConfig, by: str) -> None:
        """Watch this in its place. Its URL may be given as it is told, with `***` for its password: then it stays."""
        with self._turn():
            entry = _known("source", name, self._store.standing.sources)
            if settings.url == redact(entry.settings.url):
                settings = settings.model_copy(update={"url": entry.settings.url})
            if settings.url != entry.settings.url:
                _refuse_hidden(name, settings)
                self._allowed(settings)
            # Whoever is on the network cannot lift the guard, nor is one put before what the configuration trusts.
            guarded = settings.url != entry.settings.url or entry.settings.guarded
            settings = _guarded(settings, guarded)
            self._change_source(name, replace(entry, settings=settings), "changed", by)

    def pause_source(self, name: str, by: str) -> None:
        """Do not read it until it is resumed."""
        with self._turn():
            entry = _known("source", name, self._store.standing.sources)
            self._change_source(name, replace(entry, is_paused=True), "paused", by)

    def resume_source(self, name: str, by: str) -> None:
        """Read it again."""
        with self._turn():
            entry = _known("source", name, self._store.standing.sources)
            self._change_source(name, replace(entry, is_paused=False), "resumed", by)

    def remove_source(self, name: str, by: str) -> None:
        """Never read it again. Refused while a question names it."""
        with self._turn():
            standing = self._store.standing
            _known("source", name, standing.sources)
            asking = [q for q, entry in standing.questions.items() if name in (entry.settings.sources or ())]
            if asking:
                raise ConfigError(
                    f"source {name!r} is asked by {', '.join(asking[:8])}; change or remove these questions first"
                )
            self._change_source(name, None, "removed", by)

    def frame(self, source: str, moment: Moment) -> Frame:
        """The frame of `source` that was the newest at `moment`."""
        return self._running().asked.frame(source, moment)

    def ask_once(self, source: str, question: Question, moment: Moment) -> Answer:
        """One answer about one frame: by itself, without window, and not recorded."""
        check_question(question)
        return self._running().asked.ask_once(source, question, moment)

    def generate(self, request: Request) -> list[Generation]:
        """What the model says to each prompt of `request`."""
        return self._running().asked.generate(request)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One change at a time. It may wait for a model that hangs; the next one does not wait for ever."""
        if not self._changing.acquire(timeout=_TURN_S):
            raise Busy(
                f"another change is being made for more than {_TURN_S:g} s; see /readyz, and try again"
            )
        try:
            yield
        finally:
            self._changing.release()

    def _running(self) -> Line:
        if self._line is None:
            raise StreamQAError(
                "the model is still being loaded; try again when /readyz says that it is ready"
            )
        return self._line

    def _check(self, name: str, settings: QuestionConfig) -> None:
        """What a configuration checks across its parts."""
        check_question(settings.question(name))
        sources = self._store.standing.sources
        if settings.sources == []:
            raise ConfigError(f"question {name!r}: sources: empty, so it would never be asked; name some")
        for source in settings.sources or ():
            if source not in sources:
                there = ", ".join(sources) or "none"
                raise ConfigError(f"question {name!r}: unknown source {source!r}; there are: {there}")

    def _change_question(
        self, name: str, after: Entry[QuestionConfig] | None, action: Action, by: str
    ) -> None:
        standing, line = self._store.standing, self._running()
        before = standing.questions.get(name)
        if before == after:
            return
        changed = replace(standing, questions=_with(standing.questions, name, after))
        if action in ("added", "changed", "removed"):
            check_together(changed.asked())
        self._carry_out(
            changed,
            lambda: _move_question(line, name, before, after),
            lambda: _move_question(line, name, after, before),
        )
        self._tell(Change("question", name, action, by, utc_now(), _public(after)))

    def _change_source(self, name: str, after: Entry[SourceConfig] | None, action: Action, by: str) -> None:
        standing, line = self._store.standing, self._running()
        before = standing.sources.get(name)
        if before == after:
            return
        self._carry_out(
            replace(standing, sources=_with(standing.sources, name, after)),
            lambda: _move_source(line, name, before, after, self._reach),
            lambda: _move_source(line, name, after, before, self._reach),
        )
        self._tell(Change("source", name, action, by, utc_now(), _public(after)))

    def _carry_out(self, changed: Standing, do: Callable[[], None], undo: Callable[[], None]) -> None:
        done = False
        try:
            with self._store.saving(changed):
                do()
                done = True
        except BaseException:
            if done:  # the new file could not take the old one's place
                undo()
            raise

    def _tell(self, change: Change) -> None:
        try:
            self._record([change])
        except StreamQAError as error:  # the log has failed, which ends the line; the change itself stands
            _log.warning(
                "%s %s %s by %s is not recorded: %s", change.what, change.id, change.action, change.by, error
            )


def _move_question(
    line: Line, name: str, before: Entry[QuestionConfig] | None, after: Entry[QuestionConfig] | None
) -> None:
    if after is None:
        line.asked.remove_question(name)
        return
    question = replace(after.settings.question(name), is_paused=after.is_paused)
    if before is None:
        line.asked.add_question(question)
    elif before.settings != after.settings:
        line.asked.change_question(question)
    elif after.is_paused:
        line.asked.pause_question(name)
    else:
        line.asked.resume_question(name)


def _guarded(settings: SourceConfig, guarded: bool) -> SourceConfig:
    guarded = guarded and "://" in settings.url  # nothing else leads anywhere
    return settings if settings.guarded == guarded else settings.model_copy(update={"guarded": guarded})


def _move_source(
    line: Line,
    name: str,
    before: Entry[SourceConfig] | None,
    after: Entry[SourceConfig] | None,
    reach: Reach | None,
) -> None:
    if after is None:
        line.remove_source(name)
        return
    if before is None:
        line.add_source(source_spec(name, after.settings, reach))
    elif before.settings != after.settings:
        line.change_source(source_spec(name, after.settings, reach))
    was_paused = before is not None and before.is_paused
    if after.is_paused and not was_paused:
        line.pause_source(name)
    elif was_paused and not after.is_paused:
        line.resume_source(name)


def _with(
    entries: Mapping[str, Entry[_Settings]], name: str, after: Entry[_Settings] | None
) -> dict[str, Entry[_Settings]]:
    """`entries` with this one in its place, or at the end; None: without it."""
    if after is None:
        return {key: entry for key, entry in entries.items() if key != name}
    return {**entries, name: after}


def _known(what: What, name: str, entries: Mapping[str, Entry[_Settings]]) -> Entry[_Settings]:
    if name not in entries:
        there = ", ".join(list(entries)[:20]) or "none"
        raise NotThere(f"{what} {name!r}: there is no such {what}; there are: {there}")
    return entries[name]


def _refuse_taken(what: What, name: str, entries: Mapping[str, Entry[_Settings]]) -> None:
    if name in entries:
        raise TakenId(f"{what} {name!r} is there already; change it, or take another id")


def _refuse_hidden(name: str, settings: SourceConfig) -> None:
    """A URL as it is told, with asterisks for its password, of which the password is not known."""
    if "***" in settings.url and redact(settings.url) == settings.url:
        raise ConfigError(f"source {name!r}: url: *** stands for a password that is never told; write it out")


def _public(entry: Entry[_Settings] | None) -> dict[str, Any] | None:
    """Settings as given, JSON-ready, without secrets."""
    if entry is None:
        return None
    given = entry.settings.given()
    return {**given, "url": redact(given["url"])} if "url" in given else given


def _described(name: str, entry: Entry[_Settings]) -> dict[str, Any]:
    return {"id": name, "paused": entry.is_paused, "settings": _public(entry)}


def _seen(info: SourceInfo | None) -> dict[str, Any]:
    """How a source is; nulls: it has not begun."""
    if info is None:
        return {"state": None, "reason": None, "since": None, "is_live": None, "facts": None}
    return {
        "state": info.state,
        "reason": info.reason or None,
        "since": iso_ms(info.since),
        "is_live": info.is_live,
        "facts": asdict(info.facts),
    }
