"""All sources of a line, while it runs: added, changed, paused and removed without disturbing the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from streamqa.capture.elapsed import Past
from streamqa.capture.sampler import Sampler
from streamqa.capture.source import Source, SourceFacts, SourceSpec, make_source, redact
from streamqa.capture.supervisor import Ends, Supervisor
from streamqa.errors import ConfigError, NotThere, SourceError, StreamQAError, TakenId
from streamqa.types import NS_PER_S, SourceState

MOST_IDS = 1024  # in one run, with those that were removed: what is remembered of each is bounded by this
GLANCE_NS = NS_PER_S  # how old the newest frame of a live source may be when somebody asks about it
_STOP_S = 5.0
_LEAVING_S = 60.0  # answers that were in the model when their source was removed are counted until then


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """A source as it is now."""

    id: str
    url: str  # without user name and password
    is_live: bool
    state: SourceState
    reason: str  # of its state, one line
    since: datetime | None  # of its state; None: not started yet
    facts: SourceFacts  # as of the last frame


class Sources:
    """The sources by their id. Thread-safe; changes come one after the other, and nobody else waits for them."""

    def __init__(
        self,
        ends: Ends,
        periods: Callable[[str], Iterable[int]],
        make: Callable[[SourceSpec], Source] = make_source,
    ) -> None:
        """`periods`: how often each question is asked of a source, by its id, in ns of stream time."""
        self._ends = ends
        self._periods = periods
        self._make = make
        self._changing = threading.Lock()  # one change at a time
        self._running: dict[str, Supervisor] = {}  # replaced, never changed: readers need no lock
        self._pasts: dict[str, Past] = {}  # of those that were removed
        self._leaving: dict[str, float] = {}  # removed id -> until when its metrics are looked after
        self._is_started = self._is_stopped = False

    def start(self) -> None:
        """Start all that were added; later ones start at once."""
        with self._changing:
            self._is_started = True
            for supervisor in self._running.values():
                supervisor.start()

    def stop(self, deadline_s: float) -> None:
        """Stop all of them, side by side, until `deadline_s` on the monotonic clock; what hangs is left behind."""
        self._is_stopped = True
        alone = self._changing.acquire(
            timeout=_left(deadline_s)
        )  # else a change is waiting for a read that hangs
        try:
            for supervisor in self._running.values():
                supervisor.stop(0)  # tell all of them first
            for supervisor in self._running.values():
                supervisor.stop(_left(deadline_s))
        finally:
            if alone:
                self._changing.release()

    def add(self, spec: SourceSpec) -> None:
        """Add a source. One that was removed goes on with its stream time and its frame numbers.

        Raises:
            ConfigError: its id is taken, its URL is of no known kind, or there were too many ids.
            StreamQAError: the line has stopped.
        """
        with self._changing:
            self._may_change()
            if spec.id in self._running:
                raise TakenId(f"source {spec.id!r} is there already; change it, or take another id")
            if spec.id not in self._pasts and len(self._pasts) + len(self._running) >= MOST_IDS:
                raise ConfigError(
                    f"source {spec.id!r}: {MOST_IDS} ids were in use in this run; take one of a removed source"
                )
            added = self._supervisor(spec, self._pasts.get(spec.id))
            self._pasts.pop(spec.id, None)
            self._leaving.pop(spec.id, None)
            self._running = {**self._running, spec.id: added}
            if self._is_started:
                added.start()

    def change(self, spec: SourceSpec, timeout_s: float = _STOP_S) -> None:
        """Put another source in the place of the one with the same id: its stream time goes on, a pause stays.

        Its unread frames are dropped, and counted. A read of the old one that hangs is left behind after `timeout_s`.

        Raises:
            ConfigError: there is no such source, or the new URL is of no known kind; then nothing has changed.
            StreamQAError: the line has stopped.
        """
        with self._changing:
            self._may_change()
            old = self.known(spec.id)
            self._make(spec)  # a wrong one is told before the old one goes
            past = old.release(timeout_s, removed=False)
            new = self._supervisor(spec, past)
            if old.is_asked_to_pause:
                new.pause()
            self._running = {**self._running, spec.id: new}
            if self._is_started:
                new.start()

    def pause(self, source: str) -> None:
        """Read nothing of it until `resume`; a camera's connection is closed.

        Raises:
            ConfigError: there is no such source.
        """
        with self._changing:
            self.known(source).pause()

    def resume(self, source: str) -> None:
        """Read it again, at once, unless it is outside of its hours.

        Raises:
            ConfigError: there is no such source.
        """
        with self._changing:
            self.known(source).resume()

    def remove(self, source: str, timeout_s: float = _STOP_S) -> None:
        """Take a source out: its last record is `ended`, "removed"; its unread frames and its metrics are dropped.

        A read that hangs is left behind after `timeout_s`.

        Raises:
            ConfigError: there is no such source.
            StreamQAError: the line has stopped.
        """
        with self._changing:
            self._may_change()
            self._pasts[source] = self.known(source).release(timeout_s, removed=True)
            self._running = {name: one for name, one in self._running.items() if name != source}
            self._leaving[source] = time.monotonic() + _LEAVING_S
            self._ends.metrics.forget(source)

    def check(self, now_ns: int, wall: datetime) -> None:
        """Look at all of them from outside; a few times per second, from one thread."""
        for supervisor in self._running.values():
            supervisor.check(now_ns, wall)
        for source, until_s in list(self._leaving.items()):
            if source not in self._running:
                self._ends.metrics.forget(source)
            if time.monotonic() > until_s:
                self._leaving.pop(source, None)

    def retime(self) -> None:
        """How often questions are asked has changed: let every source keep the frames for it."""
        with self._changing:
            for supervisor in self._running.values():
                supervisor.set_periods(self._wanted(supervisor.spec, supervisor.is_live))

    def get(self, source: str) -> Supervisor | None:
        """The one with this id."""
        return self._running.get(source)

    def infos(self) -> tuple[SourceInfo, ...]:
        """All of them as they are now, in the order in which they were added."""
        return tuple(_info(supervisor) for supervisor in self._running.values())

    def failures(self) -> dict[str, SourceError]:
        """Recordings that gave nothing or ended badly, with the reason."""
        found = {name: supervisor.failure for name, supervisor in self._running.items()}
        return {name: failure for name, failure in found.items() if failure is not None}

    def _may_change(self) -> None:
        if self._is_stopped:
            raise StreamQAError("the line has stopped; its sources cannot be changed any more")

    def known(self, source: str) -> Supervisor:
        """The one with this id. Raises NotThere: there is none; the message names those that there are."""
        supervisor = self._running.get(source)
        if supervisor is None:
            there = ", ".join(self._running) or "none"
            raise NotThere(f"source {source!r}: there is no such source; there are: {there}")
        return supervisor

    def _supervisor(self, spec: SourceSpec, past: Past | None) -> Supervisor:
        supervisor = Supervisor(spec, Sampler(self._periods(spec.id)), self._ends, self._make, past)
        supervisor.set_periods(self._wanted(spec, supervisor.is_live))
        return supervisor

    def _wanted(self, spec: SourceSpec, is_live: bool) -> list[int]:
        """How often a frame is kept: for questions, and for those that may be asked once."""
        periods = list(self._periods(spec.id))
        return [*periods, GLANCE_NS] if is_live and spec.recent_s else periods


def _left(deadline_s: float) -> float:
    return max(0.0, deadline_s - time.monotonic())


def _info(supervisor: Supervisor) -> SourceInfo:
    status = supervisor.status
    return SourceInfo(
        id=supervisor.spec.id,
        url=redact(supervisor.spec.url),
        is_live=supervisor.is_live,
        state="connecting" if status is None else status.state,
        reason="" if status is None else status.reason,
        since=None if status is None else status.at,
        facts=supervisor.facts,
    )


def planned(specs: Iterable[SourceSpec]) -> tuple[SourceInfo, ...]:
    """Sources that are not there yet, as `Sources.infos` tells of those that are.

    Raises:
        ConfigError: a URL is of no known kind.
    """
    return tuple(
        SourceInfo(
            id=spec.id,
            url=redact(spec.url),
            is_live=make_source(spec).is_live,
            state="connecting",
            reason="",
            since=None,
            facts=SourceFacts(),
        )
        for spec in specs
    )
