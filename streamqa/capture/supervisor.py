"""One thread per source: open, read, sample, hand over; reconnect for ever; never silent about it.

A read can hang, so stalls are looked for from outside: whoever runs the sources calls `check` a few times per
second, from one thread for all of them. Containers are opened, read and closed by the source's own thread only.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import traceback
from collections.abc import Callable

from streamqa.capture.buffer import FrameBuffer
from streamqa.capture.region import Look
from streamqa.capture.sampler import Sampler
from streamqa.capture.source import Picture, Source, SourceSpec, make_source, redact
from streamqa.errors import SourceEnded, SourceError, SourceRefused, SourceUnavailable, StreamQAError
from streamqa.metrics import Metrics
from streamqa.types import NS_PER_S, Frame, SourceState, SourceStatus, utc_now

_log = logging.getLogger(__name__)

_FIRST_S, _MOST_S, _REFUSED_S = 0.5, 30.0, 60.0
_STEADY_NS = 10 * NS_PER_S  # a connection that held so long starts the backoff anew


def backoff_s(attempt: int, refused: bool, jitter: float) -> float:
    """Seconds until the next try, after `attempt` (0, 1…) failures in a row; `jitter` is from [0, 1).

    Twice as long each time, from 0.5 s to 30 s, spread so that cameras behind one switch do not come back in
    step; a minute after a refusal, since asking again does not help and locks accounts.
    """
    if refused:
        return _REFUSED_S
    return min(_MOST_S, _FIRST_S * float(2 ** min(attempt, 10)) * (1 + jitter))


class Supervisor:
    """Runs one source from its first connection until it ends or is stopped."""

    def __init__(
        self,
        spec: SourceSpec,
        sampler: Sampler,
        buffer: FrameBuffer,
        report: Callable[[SourceStatus], None],
        metrics: Metrics,
        make: Callable[[SourceSpec], Source] = make_source,
    ) -> None:
        """Adds the source to `buffer`; nothing is opened before `start`.

        `report` is called for each change of state, by the threads of this source, one call at a time. It must
        return soon and must not call back; when it raises a StreamQAError, the source stops.

        Raises:
            ConfigError: the URL is of no known kind.
        """
        self._spec = spec
        self._look = Look(spec.zone, spec.masks)
        self._sampler = sampler
        self._buffer = buffer
        self._report = report
        self._metrics = metrics
        self._make = make
        self._source: Source | None = make(spec)  # the next one to open; each connection has a new one
        self.is_live = self._source.is_live  # whether it drops what nobody took in time
        self.failure: SourceError | None = None  # why a recording gave nothing, or did not end well
        self.latest: Frame | None = None  # the newest frame that was kept
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"capture-{spec.id}", daemon=True)
        self._lock = threading.Lock()  # guards the state, and keeps reports in order
        self._state: tuple[SourceState, str] | None = None
        self._origin_ns: int | None = (
            None  # monotonic clock at the first connection: stream time 0 of a live source
        )
        self._base_ns = 0  # stream time at which this connection began
        self._t_ns: int | None = None  # stream time of the last picture
        self._seen_ns = 0  # monotonic clock at the last picture, or at the start of waiting for the first
        self._index = 0
        self._failures = 0
        buffer.add(spec.id, self.is_live, spec.priority)

    @property
    def state(self) -> SourceState:
        """The state reported last; before that, `connecting`."""
        with self._lock:
            return "connecting" if self._state is None else self._state[0]

    def start(self) -> None:
        """Start reading; returns at once."""
        self._seen_ns = time.monotonic_ns()
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Stop reading, also in the middle of a wait; whether the thread ended within `timeout_s`.

        A read that hangs cannot be broken off: its thread is left behind, and gives nothing any more. To stop
        many sources in the time of one, call this with 0 for each of them first.
        """
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._buffer.finish(self._spec.id)
        return not self._thread.is_alive()

    def check(self, now_ns: int | None = None) -> None:
        """Report a live source as stalled when no frame has come for `stall_after_s`.

        `now_ns` is the monotonic clock, by default read here. Any thread may call this; it never waits for a read.
        """
        with self._lock:
            waited_ns = (time.monotonic_ns() if now_ns is None else now_ns) - self._seen_ns
            waiting = self._state is not None and self._state[0] in ("connecting", "live")
            if self.is_live and waiting and waited_ns >= self._spec.stall_after_s * NS_PER_S:
                self._set("stalled", f"no frame for {self._spec.stall_after_s:g} s")

    def _run(self) -> None:
        try:
            self._enter("connecting", "")
            while not self._stop.is_set():
                delay_s = self._connect()
                if delay_s is None:
                    return
                self._stop.wait(delay_s)
            self._enter("ended", "stopped")
        finally:
            self._buffer.finish(self._spec.id)

    def _connect(self) -> float | None:
        """One connection, from open to close; seconds to wait before the next one, or None for no next one."""
        source, self._source = self._source or self._make(self._spec), None
        opened_ns = time.monotonic_ns()
        try:
            source.open()
            self._opened()
            while not self._stop.is_set():
                self._one(source)
            return 0.0  # stopped
        except SourceEnded as end:
            self._enter("ended", str(end))
            return None
        except SourceError as error:
            failure = error
        except Exception as error:  # a bug of ours or of a driver: reported, and this source goes on
            _log.debug("%s: %s", self._spec.id, redact(traceback.format_exc()))
            failure = SourceUnavailable(f"unexpected {type(error).__name__}: {error}")
        finally:
            source.close()
        return self._failed(failure, steady=time.monotonic_ns() - opened_ns > _STEADY_NS)

    def _opened(self) -> None:
        """A connection stands: from here on its stream time counts, later than all before it."""
        if self.is_live:
            now_ns = time.monotonic_ns()
            self._origin_ns = now_ns if self._origin_ns is None else self._origin_ns
            self._base_ns = now_ns - self._origin_ns
        self._seen_ns = time.monotonic_ns()

    def _one(self, source: Source) -> None:
        """Read one picture; hand it over if some question comes due on it."""
        picture = source.read(max(0, self._sampler.wanted_ns - self._base_ns))
        received_ns = time.monotonic_ns()
        if self._stop.is_set():
            return  # a read that hung until it was given up
        if picture is None:
            self._seen_ns = received_ns
            return
        self._t_ns = max(self._t_ns or 0, self._base_ns + picture.t_ns)
        self._seen_ns = received_ns
        if self.state != "live":
            self._enter("live", "")
        if not self._sampler.keep(self._t_ns):
            return
        frame = self._frame(picture, self._t_ns, received_ns)
        self._index += 1
        self._metrics.frames_kept.labels(self._spec.id).inc()
        self.latest = frame
        self._buffer.put(frame, self._stop)

    def _frame(self, picture: Picture, t_ns: int, received_ns: int) -> Frame:
        return Frame(
            source=self._spec.id,
            index=self._index,
            t_ns=t_ns,
            captured_at=picture.captured_at,
            clock=picture.clock,
            received_ns=received_ns,
            image=self._look.apply(picture.to_image()),  # the only way out: what is masked ends here
            delay_ns=picture.delay_ns,
            detail=self._spec.detail,
        )

    def _failed(self, failure: SourceError, steady: bool) -> float | None:
        """Report a failure; seconds to wait before the next try, or None when there is none."""
        reason = str(failure)
        refused = isinstance(failure, SourceRefused)
        if not self.is_live:
            self.failure = failure
            self._enter("refused" if refused else "ended", reason)
            return None
        self._failures = 0 if steady else self._failures
        delay_s = backoff_s(self._failures, refused, random.random())
        self._failures += 1
        self._metrics.reconnects.labels(self._spec.id).inc()
        self._enter("refused" if refused else "reconnecting", reason)
        return delay_s

    def _enter(self, state: SourceState, reason: str) -> None:
        with self._lock:
            self._set(state, reason)

    def _set(self, state: SourceState, reason: str) -> None:
        """Report a state, if it is news. The lock is held."""
        reason = redact(reason).replace("\n", " ")
        if self._state == (state, reason):
            return
        self._state = (state, reason)
        self._metrics.source_live.labels(self._spec.id).set(state == "live")
        try:
            self._report(SourceStatus(self._spec.id, state, reason, utc_now(), self._t_ns))
        except StreamQAError as error:  # nothing that follows could be kept
            _log.error(
                "%s: %s: %s; cannot be reported, stopping: %s",
                self._spec.id,
                state,
                reason,
                redact(str(error)),
            )
            self._stop.set()
