"""One source from its first connection until it ends or is removed: reconnects for ever, and is never silent.

Its thread (`reader`) tells what it meets, whoever runs the sources calls `check` a few times per second, since a read
can hang, and users pause and resume. All of them come through one lock; `states`, `elapsed` and `backoff` decide.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from streamqa.capture import freeze
from streamqa.capture.backoff import Backoff
from streamqa.capture.buffer import FrameBuffer
from streamqa.capture.elapsed import NO_PAST, Past, StreamTime
from streamqa.capture.links import silence_s
from streamqa.capture.reader import Reader, Seen
from streamqa.capture.region import Look
from streamqa.capture.ring import Ring
from streamqa.capture.sampler import Sampler
from streamqa.capture.source import Picture, Source, SourceFacts, SourceSpec, make_source, redact
from streamqa.capture.states import Life, Limits, News
from streamqa.errors import SourceEnded, SourceError, SourceRefused, StreamQAError
from streamqa.metrics import Metrics
from streamqa.records import SourceStatus
from streamqa.types import NS_PER_S, Frame, SourceState, utc_now

if TYPE_CHECKING:
    from streamqa.types import Image

_log = logging.getLogger(__name__)

HUNG_S = (
    60.0  # the longest that a source waits by itself is 30 s (for a picture among packets); and as long again
)
MOST_BEHIND = 3  # threads of one source that hang; each holds a connection and its decoder


@dataclass(frozen=True, slots=True)
class Ends:
    """Where the frames of a source, its changes of state and its counts go."""

    buffer: FrameBuffer
    # Called by any thread, one call at a time for each source. It must return soon and must not call back; when
    # it raises a StreamQAError, the source stops.
    report: Callable[[SourceStatus], None]
    metrics: Metrics


class Supervisor:
    """Runs one source. Thread-safe."""

    def __init__(
        self,
        spec: SourceSpec,
        sampler: Sampler,
        ends: Ends,
        make: Callable[[SourceSpec], Source] = make_source,
        past: Past | None = None,
    ) -> None:
        """Adds the source to the buffer; nothing is opened before `start`.

        `past`: what `release` gave of the source whose id, stream time and frame numbers this one takes over.

        Raises:
            ConfigError: the URL is of no known kind.
        """
        self.spec = spec
        self._look = Look(spec.zone, spec.masks)
        self._sampler = sampler
        self._ends = ends
        self._make = make
        self._first: Source | None = make(spec)  # for the first connection; each has a new one
        self.is_live = self._first.is_live  # whether it drops what nobody took in time
        self.failure: SourceError | None = None  # why a recording gave nothing, or did not end well
        self.latest: Frame | None = None  # the newest frame that was kept
        self.facts = SourceFacts()  # what was known of it when that frame was kept
        self.status: SourceStatus | None = None  # what was reported last
        self.recent = Ring(spec.id, round(spec.recent_s * NS_PER_S) if self.is_live else 0)
        self._is_changed = past is not None and past.is_changed
        self._lock = threading.Lock()  # guards all that follows, and keeps reports in order
        grid_ns = sampler.longest_ns or NS_PER_S
        self._time = StreamTime(self.is_live, past or NO_PAST, grid_ns)
        self._freeze_ns = freeze.limit_ns(spec, self.is_live)
        stall_s = silence_s(spec.url, spec.stall_after_s) if self.is_live else 0
        self._life = Life(Limits(round(stall_s * NS_PER_S), self._freeze_ns))
        self._backoff = Backoff()
        self._note = ""  # the note of its source that was told last
        self.is_asked_to_pause = False
        self._is_stopping = self._is_released = False
        self._last_word: str | None = "stopped"  # of the state `ended` after a stop; None: nobody is told
        self._behind: list[Reader] = []  # threads that hang
        self._reader = self._new_reader()
        ends.buffer.add(spec.id, self.is_live, spec.priority)

    @property
    def state(self) -> SourceState:
        """The state reported last; before that, `connecting`."""
        with self._lock:
            return self._life.state

    def start(self) -> None:
        """Start reading, unless it is paused; returns at once."""
        with self._lock:
            now_ns = time.monotonic_ns()
            if not self._settle(now_ns, utc_now()):
                self._time.resumed(now_ns)
                self._tell(self._life.begun("changed" if self._is_changed else "", now_ns))
            self._reader.start()

    def pause(self) -> None:
        """Read nothing until `resume`: a live source's connection is closed, a recording waits."""
        self._ask(True)

    def resume(self) -> None:
        """Read again, at once, unless its hours say otherwise."""
        self._ask(False)

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Stop reading, also in the middle of a wait; whether all threads ended within `timeout_s`.

        A read that hangs cannot be broken off: its thread is left behind, and gives nothing any more. To stop
        many sources in the time of one, call this with 0 for each of them first.
        """
        self._is_stopping = True  # no lock here: whoever holds it may wait for a log that hangs
        reader = self._reader
        reader.retire()
        ended = reader.join(timeout_s)
        self._finish()
        return ended and not any(behind.is_alive for behind in self._behind)

    def release(self, timeout_s: float, *, removed: bool) -> Past:
        """Stop for good, and give up the id; another source may take it over from here.

        Nothing comes of it any more once this returns, also where a read hangs for longer than `timeout_s`.
        `removed`: its last record is `ended`, "removed"; else it has none, for it is to be changed.
        """
        self._last_word = None
        self.stop(timeout_s)
        with self._lock:
            if removed:
                self._tell(self._life.over("removed", removed=True))
            self._life.over("")
            self._is_released = True
            self._ends.buffer.remove(self.spec.id)
            return self._time.left(time.monotonic_ns(), removed=removed)

    def set_periods(self, every_ns: Iterable[int]) -> None:
        """Keep the frames that questions with these periods are asked about, in ns of stream time."""
        self._sampler.set_periods(every_ns)

    def check(self, now_ns: int | None = None, wall: datetime | None = None) -> None:
        """Look at the source from outside: stalled, frozen, a read that hangs, the hours in which it is active.

        `now_ns` is the monotonic clock, `wall` the other one; by default they are read here. Any thread may call
        this; it never waits for a read.
        """
        with self._lock:
            now_ns = time.monotonic_ns() if now_ns is None else now_ns
            if self._settle(now_ns, wall or utc_now()) or self._life.is_over:
                return
            self._tell(self._life.check(now_ns))
            if self.is_live and self._reader.hung_ns(now_ns) >= HUNG_S * NS_PER_S:
                self._take_over()

    # What the reader tells, in its thread.

    def wanted_ns(self) -> int:
        """From which time of this connection on a picture is wanted."""
        return max(0, self._sampler.wanted_ns - self._time.base_ns)

    def opened(self, reader: Reader) -> None:
        """A connection stands: its time counts from here on."""
        with self._lock:
            if self._is_mine(reader):
                self._time.opened(time.monotonic_ns())
                self._life.opened(time.monotonic_ns())

    def idle(self, reader: Reader, facts: SourceFacts) -> None:
        """A read came back without a picture."""
        with self._lock:
            if not self._is_unwanted(reader):
                self._tell(self._life.alive(time.monotonic_ns()))
                self._remark(facts)

    def saw(self, reader: Reader, picture: Picture) -> int | None:
        """A read came back with a picture; its stream time if some question comes due on it."""
        with self._lock:
            if self._is_unwanted(reader):
                return None
            self._ends.metrics.pictures_read.labels(self.spec.id).inc()
            t_ns = self._time.place(picture.t_ns)
            self._tell(self._life.picture(time.monotonic_ns()))
            return t_ns if self._sampler.keep(t_ns) else None

    def kept(self, reader: Reader, seen: Seen) -> None:
        """Hand a picture over."""
        if reader.retired.is_set():
            return
        mark = freeze.checksum(seen.image) if self._freeze_ns else 0
        image = self._look.apply(seen.image)  # the only way out: what is masked ends here
        with self._lock:
            if self._is_unwanted(reader):
                return
            if self._freeze_ns:
                self._tell(self._life.kept(mark, seen.received_ns))
            self._remark(seen.facts)
            frame = self._frame(seen, image)
            self._time.index += 1
            self.latest = frame
        self.recent.add(frame)  # without the lock: it may take 10 ms
        self._count(seen)
        self._ends.buffer.put(frame, reader.retired)

    def lost(self, reader: Reader, failure: SourceError, steady: bool) -> float | None:
        """Report a failure; seconds to wait before the next try, or None when there is none."""
        reason, refused = str(failure), isinstance(failure, SourceRefused)
        with self._lock:
            if not self._is_mine(reader):
                return None
            if isinstance(failure, SourceEnded):
                self._tell(self._life.over(reason))
                return None
            if not self.is_live:
                self.failure = failure
                self._tell(self._life.over(reason, refused))
                return None
            self._ends.metrics.reconnects.labels(self.spec.id).inc()
            self._tell(self._life.lost(reason, refused))
            return self._backoff.after(refused=refused, steady=steady)

    def left(self, reader: Reader) -> None:
        """A thread ends: this was all, unless it had been left behind."""
        with self._lock:
            if reader is not self._reader:
                return
            if self._last_word is not None:
                self._tell(self._life.over(self._last_word))
            self._finish()

    # With the lock held.

    def _is_mine(self, reader: Reader) -> bool:
        return reader is self._reader and not reader.retired.is_set()

    def _count(self, seen: Seen) -> None:
        metrics, source = self._ends.metrics, self.spec.id
        metrics.frames_kept.labels(source).inc()
        metrics.frame_convert_seconds.observe((time.monotonic_ns() - seen.received_ns) / NS_PER_S)
        if seen.picture.delay_ns:
            metrics.frame_delay_seconds.labels(source).observe(seen.picture.delay_ns / NS_PER_S)

    def _finish(self) -> None:
        if not self._is_released:
            self._ends.buffer.finish(self.spec.id)

    def _is_unwanted(self, reader: Reader) -> bool:
        """Whether a picture comes too late. A recording that is paused still hands over what it was at."""
        return not self._is_mine(reader) or (self.is_live and self._life.is_paused)

    def _frame(self, seen: Seen, image: Image) -> Frame:
        picture = seen.picture
        return Frame(
            source=self.spec.id,
            index=self._time.index,
            t_ns=seen.t_ns,
            captured_at=picture.captured_at,
            clock=picture.clock,
            received_ns=seen.received_ns,
            image=image,
            delay_ns=picture.delay_ns,
            detail=self.spec.detail,
            pauses=self._time.pauses,
            is_live=self.is_live,
        )

    def _remark(self, facts: SourceFacts) -> None:
        """Tell a note once, as soon as the state is `live`; also where the next connection has the same one."""
        self.facts = facts
        if facts.note == self._note or (facts.note and self._life.state != "live"):
            return
        self._note = facts.note
        if facts.note:
            self._tell(self._life.note(facts.note))

    def _ask(self, pause: bool) -> None:
        with self._lock:
            self.is_asked_to_pause = pause
            self._settle(time.monotonic_ns(), utc_now())

    def _settle(self, now_ns: int, wall: datetime) -> bool:
        """Pause or resume as is asked for now; whether it is paused."""
        reason = self._why_paused(wall)
        if self._life.is_over:
            return False
        if reason:
            self._time.paused(now_ns)
            self._reader.pause()
            self._tell(self._life.paused(reason))
        elif self._life.is_paused:
            self._time.resumed(now_ns)
            self._backoff.forget()
            self._tell(self._life.resumed(now_ns))
            self._reader.resume()
        return bool(reason)

    def _why_paused(self, wall: datetime) -> str:
        if self.is_asked_to_pause:
            return "paused by request"
        hours = self.spec.when if self.is_live else None
        return "" if hours is None or hours.active(wall) else f"outside of {hours}"

    def _take_over(self) -> None:
        """A read hangs beyond every timeout: leave its thread behind, where there is room for one more."""
        hangs = f"a read hangs for {HUNG_S:g} s"
        if self._still_behind() >= MOST_BEHIND:
            self._tell(self._life.hung(f"{hangs}, as {MOST_BEHIND} before it do; waiting for one to return"))
            return
        self._behind.append(self._reader)
        self._reader.retire()
        self._ends.metrics.reads_left_behind.labels(self.spec.id).inc()
        count = f"{len(self._behind)} of at most {MOST_BEHIND}"
        self._tell(self._life.lost(f"{hangs}; left behind ({count}), connecting anew", False))
        self._reader = self._new_reader()
        if self._is_stopping:  # which may have met the reader before
            self._reader.retire()
        self._reader.start()

    def _still_behind(self) -> int:
        self._behind = [reader for reader in self._behind if reader.is_alive]
        return len(self._behind)

    def _new_reader(self) -> Reader:
        return Reader(self.spec.id, self._next_source, self, closes=self.is_live)

    def _next_source(self) -> Source:
        source, self._first = self._first or self._make(self.spec), None
        return source

    def _tell(self, news: News | None) -> None:
        """Report what is news."""
        if news is None:
            return
        reason = redact(news.reason).replace("\n", " ")
        self._ends.metrics.source_live.labels(self.spec.id).set(news.state in ("live", "frozen"))
        self._ends.metrics.source_frozen.labels(self.spec.id).set(news.state == "frozen")
        self.status = SourceStatus(self.spec.id, news.state, reason, utc_now(), self._time.t_ns)
        try:
            self._ends.report(self.status)
        except StreamQAError as error:  # nothing that follows could be kept
            _log.error(
                "%s: %s: %s; cannot be reported, stopping: %s",
                self.spec.id,
                news.state,
                reason,
                redact(str(error)),
            )
            self._reader.retire()
