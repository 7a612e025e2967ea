"""A line that notes what it is told, a control over it, and what is left when both are gone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamqa.answers import prompt_for, read_answer
from streamqa.capture.source import SourceFacts, SourceSpec
from streamqa.capture.sources import SourceInfo
from streamqa.config import Config, parse_config
from streamqa.control import LineControl
from streamqa.errors import NotAllowed, NotThere, StreamQAError
from streamqa.records import Answer, Change, Record
from streamqa.settings import SourceConfig
from streamqa.standing import ChangesFile
from streamqa.testing import ScriptedModel, make_frame
from streamqa.types import Decision, Frame, Generation, Moment, Prompt, Question, Request, Value

if TYPE_CHECKING:
    from streamqa.types import Image

AT = datetime(2026, 11, 22, 2, 22, 34, 120_000, tzinfo=UTC)
TEXT = """
sources:
  gate: rtsp://viewer:hunter2@10.0.0.7/1
  yard: scene:gate
questions:
  person: {ask: "Is there a person?", kind: yes_no}
  cars: {ask: "How many cars?", kind: number, sources: [yard]}
"""


def _said(image: Image | None, prompt: Prompt) -> Value:
    """Yes on a bright picture, the first option, or how bright it is."""
    bright = -1 if image is None else int(image.mean())
    if prompt.options:
        return prompt.options[0].value if bright > 128 else prompt.options[-1].value
    return f"brightness {bright}"


class Noted:
    """A line that does nothing but note what it is told, and fails when it shall."""

    def __init__(self, config: Config) -> None:
        self.questions = {q.id: q for q in config.standing()}
        self.watched = {name: item.url for name, item in config.sources.items()}
        self.paused: set[str] = set()
        self.calls: list[str] = []
        self.requests: list[Request] = []
        self.fails: StreamQAError | None = None
        self.model = ScriptedModel(_said)

    @property
    def asked(self) -> Noted:
        return self

    def _note(self, call: str) -> None:
        if self.fails is not None:
            raise self.fails
        self.calls.append(call)

    def add_question(self, question: Question) -> None:
        self._note(f"add {question.id}")
        self.questions[question.id] = question

    def change_question(self, question: Question) -> None:
        self._note(f"change {question.id}")
        self.questions[question.id] = question

    def pause_question(self, question: str) -> None:
        self._note(f"pause {question}")

    def resume_question(self, question: str) -> None:
        self._note(f"resume {question}")

    def remove_question(self, question: str) -> None:
        self._note(f"remove {question}")
        del self.questions[question]

    def add_source(self, spec: SourceSpec) -> None:
        self._note(f"add {spec.id}")
        self.watched[spec.id] = spec.url

    def change_source(self, spec: SourceSpec) -> None:
        self._note(f"change {spec.id}")
        self.watched[spec.id] = spec.url

    def pause_source(self, source: str) -> None:
        self._note(f"pause {source}")
        self.paused.add(source)

    def resume_source(self, source: str) -> None:
        self._note(f"resume {source}")
        self.paused.discard(source)

    def remove_source(self, source: str) -> None:
        self._note(f"remove {source}")
        del self.watched[source]

    def sources(self) -> tuple[SourceInfo, ...]:
        return tuple(
            SourceInfo(name, url, True, "live", "", AT, SourceFacts(codec="h264"))
            for name, url in self.watched.items()
        )

    def frame(self, source: str, moment: Moment) -> Frame:
        self._note(f"frame {source} {moment}")
        if source not in self.watched:
            raise NotThere(f"source {source!r}: there is no such source")
        return make_frame(source, 7.5, index=30, fill=230, captured_at=AT)

    def ask_once(self, source: str, question: Question, moment: Moment) -> Answer:
        frame = self.frame(source, moment)
        (generation,) = self.generate(Request(frame.image, (prompt_for(question),)))
        reading = read_answer(question, generation)
        decision = Decision(
            reading.value, reading.confidence, reading.state, reading.reason, frame.t_ns, 1, 1
        )
        return Answer(
            source=source, question=question.id, kind=question.kind, decision=decision, reading=reading,
            frame=frame.index, t_ns=frame.t_ns, captured_at=frame.captured_at, clock=frame.clock, answered_at=AT,
            skipped=0, changed=True, queue_ms=1, model_ms=2, total_ms=3, model=self.model.info.label,
        )  # fmt: skip

    def generate(self, request: Request) -> list[Generation]:
        if self.fails is not None:
            raise self.fails
        self.requests.append(request)
        return self.model.answer([request])[0]


class ControlSite:
    """A control over a noted line, and what is left of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "answers.db.changes.json"
        self.start()

    def start(self) -> None:
        """As a new process on the same files."""
        config = parse_config(TEXT)
        self.store = ChangesFile(self.path, config)
        self.line = Noted(config)
        self.records: list[Record] = []
        self.refused: set[str] = set()
        self.control = LineControl(self.store, self.allowed)
        self.control.attach(self.line, self.put)

    def allowed(self, settings: SourceConfig) -> None:
        if settings.url in self.refused:
            raise NotAllowed("not from there")

    def put(self, records: Sequence[Record]) -> None:
        self.records += records

    def changes(self) -> list[tuple[Any, ...]]:
        return [(r.what, r.id, r.action, r.by) for r in self.records if isinstance(r, Change)]

    def names(self) -> tuple[list[str], list[str]]:
        described = self.control.describe()
        return [q["id"] for q in described["questions"]], [s["id"] for s in described["sources"]]
