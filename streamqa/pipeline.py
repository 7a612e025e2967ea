"""The straight line, wired: sources → buffer → engine → log → sinks. Starts bottom-up, stops top-down."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from streamqa.asked import Asked
from streamqa.capture.buffer import FrameBuffer
from streamqa.capture.clock import WallWatch
from streamqa.capture.source import SourceSpec
from streamqa.capture.sources import SourceInfo, Sources
from streamqa.capture.supervisor import Ends
from streamqa.engine.alerting import Alerting
from streamqa.engine.asking import refuse_unanswerable
from streamqa.engine.engine import Engine, EngineSettings
from streamqa.errors import StreamQAError
from streamqa.metrics import Metrics
from streamqa.model.base import VisionModel
from streamqa.model.health import Health
from streamqa.records import Alert, Fault, Record, SourceStatus
from streamqa.sinks.base import Sink
from streamqa.sinks.log import AnswerLog
from streamqa.sinks.writer import RecordWriter
from streamqa.types import Question, utc_now

if TYPE_CHECKING:
    from streamqa.types import Image

_log = logging.getLogger(__name__)

WATCH_S = 0.5  # how often sources are looked at from outside
_WELL = (
    "live",
    "frozen",
    "paused",
    "ended",
)  # of a frozen one, answers come; the others are as somebody wants them
_CLOCK_STEP = "clock_step"  # of a fault
_PATIENCE_S = 1.5  # for what is in the model when the line stops; then it is reported as failed
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
    keep_evidence: bool = False  # answers carry their picture where it is worth keeping


class Pipeline:
    """One running line."""

    def __init__(self, parts: Parts, *, stays: bool = False) -> None:
        """Asks the model whether it could answer the questions; starts nothing.

        `stays`: it goes on when no source is left, or only ended ones, since others may be added.

        Raises:
            ModelError: it could not; the message names each such question and why.
            ConfigError: a source is of no known kind.
        """
        refuse_unanswerable(parts.model, parts.questions)
        self._writer = RecordWriter(parts.log, parts.sinks, parts.metrics)
        # A recording's unread frames fill one batch, while the one before it is in the model.
        waiting = min(_MOST_WAITING, max(2, parts.model.info.max_frames))
        self._buffer = FrameBuffer(parts.metrics, waiting, stays=stays)
        settings = EngineSettings(keep_evidence=parts.keep_evidence, patience_s=_PATIENCE_S)
        self._alerting = Alerting(parts.questions, self._writer.put, parts.metrics, parts.log.alerts())
        self._engine = Engine(parts.questions, parts.model, self._alerting.answers, parts.metrics, settings)
        self._health = parts.health
        self._sources = Sources(Ends(self._buffer, self._report, parts.metrics), self._periods)
        # What is asked, standing and once; changed from any thread.
        self.asked = Asked(
            parts.questions, parts.model, self._engine, self._sources, parts.metrics, self._alerting.replace
        )
        for spec in parts.sources:
            self._sources.add(spec)
        self._stopping = threading.Event()
        self._engine_thread = threading.Thread(target=self._run_engine, name="engine", daemon=True)
        self._watch_thread = threading.Thread(target=self._run_watch, name="watch", daemon=True)
        self._is_finishing = False  # the engine is asked to let alerts of ended sources end
        self._failure: Exception | None = None

    def start(self) -> None:
        """Start everything; returns at once."""
        self._writer.start()
        self._health.attach(self._report)
        self._alerting.begin(source.id for source in self._sources.infos())
        self.asked.begin()
        self._engine_thread.start()
        self._sources.start()
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

        All that hangs together has `timeout_s`, sources half of it; then it is left behind, and the writer has as
        long again.
        """
        deadline_s = time.monotonic() + timeout_s
        self._stopping.set()
        self._health.detach()
        self._sources.stop(deadline_s - timeout_s / 2)
        self._buffer.close()
        for thread in (self._engine_thread, self._watch_thread):
            if thread.is_alive():
                thread.join(max(0.0, deadline_s - time.monotonic()))
        self._writer.close(timeout_s)

    def add_source(self, spec: SourceSpec) -> None:
        """Add a source, and start it if the line runs. One that was removed goes on with its stream time.

        Raises:
            ConfigError: its id is taken, its URL is of no known kind, or there were too many ids.
            StreamQAError: the line has stopped.
        """
        self._sources.add(spec)

    def change_source(self, spec: SourceSpec) -> None:
        """Put another source in the place of the one with the same id; its stream time goes on.

        Raises:
            ConfigError: there is no such source, or its URL is of no known kind; then nothing has changed.
            StreamQAError: the line has stopped.
        """
        self._sources.change(spec)
        self.asked.renew(spec.id)

    def pause_source(self, source: str) -> None:
        """Read nothing of a source until it is resumed: a camera's connection is closed, a recording waits.

        The ticks that pass meanwhile are not owed an answer. Raises ConfigError: there is no such source.
        """
        self._sources.pause(source)

    def resume_source(self, source: str) -> None:
        """Read it again, at once, unless it is outside of its hours. Raises ConfigError: there is no such source."""
        self._sources.resume(source)

    def remove_source(self, source: str) -> None:
        """Take a source out: its last record is `ended`, "removed". What hangs of it is left behind after 5 s.

        Raises:
            ConfigError: there is no such source.
            StreamQAError: the line has stopped.
        """
        self._sources.remove(source)
        self.asked.forget(source)

    def sources(self) -> tuple[SourceInfo, ...]:
        """All sources as they are now, in the order in which they were added."""
        return self._sources.infos()

    def latest(self, source: str) -> Image | None:
        """The newest kept picture of a source, (H, W, 3) uint8 RGB; None where there is none yet."""
        supervisor = self._sources.get(source)
        frame = supervisor.latest if supervisor else None
        return None if frame is None else frame.image

    def trouble(self) -> list[str]:
        """Why answers are not coming, one line each; empty while all is well."""
        found = [_unwell(one) for one in self._sources.infos() if one.state not in _WELL]
        found += self._health.trouble() + self._writer.trouble()
        return [*found, str(self.failure)] if self.failure else found

    def record(self, records: Sequence[Record]) -> None:
        """Put records into the log in the order of all others. Raises StreamQAError: nothing is written any more."""
        self._writer.put(records)

    def failures(self) -> dict[str, StreamQAError]:
        """Sources that gave nothing or ended badly, with the reason."""
        return dict(self._sources.failures())

    @property
    def failure(self) -> Exception | None:
        """What ended the line itself; None while all is well."""
        return self._failure or self._writer.failure

    def _periods(self, source: str) -> list[int]:
        return self.asked.periods(source)

    def alerts(self) -> list[Alert]:
        """All alerts that are open."""
        return self._alerting.open()

    def _report(self, record: SourceStatus | Fault) -> None:
        # A source that ends because the line stops ends no alert: it goes on with the next start.
        if isinstance(record, Fault) or self._stopping.is_set():
            self._writer.put([record])
        else:
            self._alerting.status(record)

    def _run_engine(self) -> None:
        try:
            self._engine.run(self._buffer, self._stopping)
            if not self._stopping.is_set():
                for source in self._alerting.ending():
                    self._alerting.finish(source)
        # The thread's own supervisor: whoever waits for the line reports `failure`.
        except Exception as error:
            self._failure = error

    def _run_watch(self) -> None:
        try:
            self._watch()
        # As above: cameras that nobody looks at could fail in silence.
        except Exception as error:
            self._failure = error

    def _watch(self) -> None:
        wall_watch = WallWatch()
        while not self._stopping.wait(WATCH_S):
            now_ns, wall = time.monotonic_ns(), utc_now()
            self._sources.check(now_ns, wall)
            self._finish_ended()
            self._look_at_alerts(wall)
            if (stepped_s := wall_watch.step(now_ns, wall)) is not None:
                self._stepped(stepped_s, wall)

    def _finish_ended(self) -> None:
        """Let the alerts of sources that have ended end, once their last frame is answered."""
        ended = [source for source in self._alerting.ending() if self._buffer.is_drained(source)]
        if not ended or self._is_finishing:  # a model may take minutes, in which the inbox would fill
            return

        def finish() -> None:
            self._is_finishing = False
            for source in ended:
                if self._buffer.is_drained(source) and not self._engine.is_busy_with(source):
                    self._alerting.finish(source)

        self._is_finishing = True
        try:
            self._engine.inbox.post(finish)
        except StreamQAError:  # too much to do, then later; or the line stops
            self._is_finishing = False

    def _look_at_alerts(self, wall: datetime) -> None:
        try:
            self._alerting.looked(wall)
        except StreamQAError as error:  # as in `_stepped`
            _log.warning("alerts: %s", error)

    def _stepped(self, by_s: float, wall: datetime) -> None:
        message = (
            f"the wall clock was set by {by_s:+.1f} s: wall times jump with it, stream time (t_s) does not"
        )
        try:
            self._report(Fault(_CLOCK_STEP, message, wall))
        except StreamQAError as error:  # the log has failed or is closing, which its owner reports
            _log.warning("not recorded: %s (%s)", message, error)


def _unwell(source: SourceInfo) -> str:
    """`gate is stalled, for 12 s: no frame for 5 s`."""
    seconds = None if source.since is None else max(0.0, (utc_now() - source.since).total_seconds())
    since = "" if seconds is None else f", for {seconds:.0f} s"
    return f"{source.id} is {source.state}{since}" + (f": {source.reason}" if source.reason else "")
