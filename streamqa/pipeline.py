"""The straight line, wired: sources → buffer → engine → log → sinks. Starts bottom-up, stops top-down."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamqa.capture.buffer import FrameBuffer
from streamqa.capture.sampler import Sampler
from streamqa.capture.source import SourceSpec
from streamqa.capture.supervisor import Supervisor
from streamqa.engine.asking import refuse_unanswerable
from streamqa.engine.engine import Engine
from streamqa.errors import StreamQAError
from streamqa.metrics import Metrics
from streamqa.model.base import VisionModel
from streamqa.model.health import Health
from streamqa.sinks.base import Sink
from streamqa.sinks.log import AnswerLog
from streamqa.sinks.writer import RecordWriter
from streamqa.types import Fault, Question, SourceStatus

if TYPE_CHECKING:
    from streamqa.types import Image

_WATCH_S = 0.5  # how often stalls are looked for
_MOST_WAITING = 64  # frames of a recording: 400 MB at 1920×1080


@dataclass(frozen=True, slots=True)
class Parts:
    """What a pipeline is made of; whoever made them closes them, after the pipeline has stopped."""

    questions: tuple[Question, ...]
    sources: tuple[SourceSpec, ...]
    model: VisionModel
    log: AnswerLog
    sinks: tuple[Sink, ...]
    metrics: Metrics
    health: Health = field(default_factory=Health)  # of the model's processes, where it has any


class Pipeline:
    """One running line."""

    def __init__(self, parts: Parts) -> None:
        """Asks the model whether it could answer the questions; starts nothing.

        Raises:
            ModelError: it could not; the message names each such question and why.
            ConfigError: a source is of no known kind.
        """
        refuse_unanswerable(parts.model, parts.questions)
        self._writer = RecordWriter(parts.log, parts.sinks, parts.metrics)
        # A recording's unread frames fill one batch, while the one before it is in the model.
        self._buffer = FrameBuffer(parts.metrics, min(_MOST_WAITING, max(2, parts.model.info.max_frames)))
        self._engine = Engine(parts.questions, parts.model, self._writer.put, parts.metrics)
        self._health = parts.health
        self._supervisors = {spec.id: self._supervisor(spec, parts) for spec in parts.sources}
        self._stopping = threading.Event()
        self._engine_thread = threading.Thread(target=self._run_engine, name="engine", daemon=True)
        self._watch_thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._engine_failure: Exception | None = None

    def start(self) -> None:
        """Start everything; returns at once."""
        self._writer.start()
        self._health.attach(self._report)
        self._engine_thread.start()
        for supervisor in self._supervisors.values():
            supervisor.start()
        self._watch_thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end: every recording answered and every answer handed on, or a failure.

        False when the time is over first. A reader of the output that is slower than the model is waited for.
        """
        deadline_s = time.monotonic() + timeout_s
        self._engine_thread.join(timeout_s)
        if self._engine_thread.is_alive():
            return False
        return self._writer.drained(max(0.0, deadline_s - time.monotonic()))

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop capture, let the engine end its batch, write what was answered. May be called twice.

        All that hangs together has `timeout_s`; then it is left behind, and the writer has as long again.
        """
        deadline_s = time.monotonic() + timeout_s
        self._stopping.set()
        self._health.detach()
        for supervisor in self._supervisors.values():
            supervisor.stop(0)  # tell all of them first: they stop side by side
        for supervisor in self._supervisors.values():
            supervisor.stop(max(0.0, deadline_s - time.monotonic()))
        self._buffer.close()
        for thread in (self._engine_thread, self._watch_thread):
            if thread.is_alive():
                thread.join(max(0.0, deadline_s - time.monotonic()))
        self._writer.close(timeout_s)

    def latest(self, source: str) -> Image | None:
        """The newest kept picture of a source, (H, W, 3) uint8 RGB; None where there is none yet."""
        supervisor = self._supervisors.get(source)
        frame = supervisor.latest if supervisor else None
        return None if frame is None else frame.image

    def trouble(self) -> list[str]:
        """Why answers are not coming, one line each; empty while all is well."""
        states = {name: supervisor.state for name, supervisor in self._supervisors.items()}
        found = [f"{name} is {state}" for name, state in states.items() if state not in ("live", "ended")]
        found += self._health.trouble()
        return [*found, str(self.failure)] if self.failure else found

    def failures(self) -> dict[str, StreamQAError]:
        """Sources that gave nothing or ended badly, with the reason."""
        found = {name: supervisor.failure for name, supervisor in self._supervisors.items()}
        return {name: failure for name, failure in found.items() if failure is not None}

    @property
    def failure(self) -> Exception | None:
        """What ended the line itself; None while all is well."""
        return self._engine_failure or self._writer.failure

    def _supervisor(self, spec: SourceSpec, parts: Parts) -> Supervisor:
        sampler = Sampler(q.every_ns for q in parts.questions if q.asks(spec.id))
        return Supervisor(spec, sampler, self._buffer, self._report, parts.metrics)

    def _report(self, record: SourceStatus | Fault) -> None:
        self._writer.put([record])

    def _run_engine(self) -> None:
        try:
            self._engine.run(self._buffer, self._stopping)
        # The thread's own supervisor: whoever waits for the line reports `failure`.
        except Exception as error:
            self._engine_failure = error

    def _watch(self) -> None:
        while not self._stopping.wait(_WATCH_S):
            for supervisor in self._supervisors.values():
                supervisor.check()
