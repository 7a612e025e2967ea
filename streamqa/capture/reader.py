"""The thread that reads one source: open, read, close, again. It decides nothing; its keeper does.

Sources are opened, read and closed by this thread only, since PyAV's objects and OpenCV's want one owner. A call into
a source can hang, so how long it has lasted can be seen from outside, and a thread that hangs can be left behind.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from streamqa.capture.source import Picture, Source, SourceFacts, redact
from streamqa.errors import SourceError, SourceUnavailable
from streamqa.types import NS_PER_S

if TYPE_CHECKING:
    from streamqa.types import Image

_log = logging.getLogger(__name__)

_STEADY_NS = 10 * NS_PER_S  # a connection that held so long starts the backoff anew
_LOOK_UP_S = 0.5  # while paused; whoever resumes wakes it at once

T = TypeVar("T")


class Keeper(Protocol):
    """Whom a reader serves. Called in the reader's thread, and never blocked by a source."""

    def wanted_ns(self) -> int:
        """From which time of this connection on a picture is wanted."""
        ...

    def opened(self, reader: Reader) -> None:
        """A connection stands."""
        ...

    def idle(self, reader: Reader, facts: SourceFacts) -> None:
        """A read came back without a picture: there is life."""
        ...

    def saw(self, reader: Reader, picture: Picture) -> int | None:
        """A read came back with a picture; its stream time if it is to be kept."""
        ...

    def kept(self, reader: Reader, seen: Seen) -> None:
        """A picture was converted."""
        ...

    def lost(self, reader: Reader, failure: SourceError, steady: bool) -> float | None:
        """A connection failed; `steady`: it had held for a while. Seconds to wait before the next; None: no next."""
        ...

    def left(self, reader: Reader) -> None:
        """The thread ends."""
        ...


class Seen:
    """A picture that was kept, its image, and what its source knew then."""

    __slots__ = ("facts", "image", "picture", "received_ns", "t_ns")

    def __init__(
        self, picture: Picture, image: Image, facts: SourceFacts, t_ns: int, received_ns: int
    ) -> None:
        """`image`: uint8 (H, W, 3) RGB, the whole picture; `t_ns`: stream time; `received_ns`: monotonic clock."""
        self.picture, self.image, self.facts = picture, image, facts
        self.t_ns, self.received_ns = t_ns, received_ns


class Reader:
    """One thread and its connections, one after the other."""

    def __init__(self, name: str, make: Callable[[], Source], keeper: Keeper, closes: bool) -> None:
        """`closes`: whether a pause closes the connection, as for a camera, or a recording stays open and waits."""
        self._name = name
        self._make = make
        self._keeper = keeper
        self._closes = closes
        self._retired = threading.Event()
        self._paused = threading.Event()
        self._poked = threading.Event()  # something changed: whoever waits looks again
        self._inside_ns: int | None = None  # monotonic clock at which the present call into the source began
        self._thread = threading.Thread(target=self._run, name=f"capture-{name}", daemon=True)

    @property
    def retired(self) -> threading.Event:
        """Set once it is to read no more."""
        return self._retired

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def hung_ns(self, now_ns: int) -> int:
        """How long the present call into the source has lasted; 0 between calls."""
        inside_ns = self._inside_ns
        return 0 if inside_ns is None else max(0, now_ns - inside_ns)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def retire(self) -> None:
        """Read no more; the thread ends when the present call into the source is over."""
        self._retired.set()
        self._poked.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of the thread; whether it came in time."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def pause(self) -> None:
        """Read nothing until resumed."""
        self._paused.set()
        self._poked.set()

    def resume(self) -> None:
        """Read again, at once: what is left of a wait between two connections is dropped, too."""
        self._paused.clear()
        self._poked.set()

    def _run(self) -> None:
        try:
            self._rest(0.0)
            while not self._retired.is_set():
                delay_s = self._connect()
                if delay_s is None:
                    return
                self._rest(delay_s)
        finally:
            self._keeper.left(self)

    def _rest(self, delay_s: float) -> None:
        """Wait so long or until something changes; then for the end of a pause."""
        if delay_s:
            self._poked.wait(delay_s)
        while self._paused.is_set() and not self._retired.is_set():
            self._poked.clear()
            if self._paused.is_set() and not self._retired.is_set():
                self._poked.wait(_LOOK_UP_S)
        self._poked.clear()

    def _connect(self) -> float | None:
        """One connection, from open to close; as `Keeper.lost`, 0 where it was closed on purpose."""
        source: Source | None = None
        began_ns = time.monotonic_ns()
        try:
            source = self._make()
            self._inside(source.open)
            self._keeper.opened(self)
            while self._may_read():
                self._read(source)
            return 0.0
        except SourceError as error:
            failure = _bare(error)
        except Exception as error:  # a bug of ours or of a driver: reported, and this source goes on
            failure = self._unexpected(error)
        finally:
            if source is not None:
                self._close(source)
        return self._keeper.lost(self, failure, time.monotonic_ns() - began_ns > _STEADY_NS)

    def _may_read(self) -> bool:
        """Whether this connection is still wanted; a recording that is paused waits here."""
        if self._paused.is_set() and not self._closes:
            self._rest(0.0)
        return not (self._retired.is_set() or self._paused.is_set())

    def _read(self, source: Source) -> None:
        wanted_ns = self._keeper.wanted_ns()
        picture = self._inside(lambda: source.read(wanted_ns))
        received_ns = time.monotonic_ns()
        if picture is None:
            self._keeper.idle(self, self._inside(lambda: source.facts))
            return
        t_ns = self._keeper.saw(self, picture)
        if t_ns is None:
            return
        image, facts = self._inside(lambda: (picture.to_image(), source.facts))
        self._keeper.kept(self, Seen(picture, image, facts, t_ns, received_ns))

    def _close(self, source: Source) -> None:
        try:
            self._inside(source.close)
        # A driver's bug: the connection is given up anyway, and the thread must live on to make the next.
        except Exception as error:
            self._unexpected(error)

    def _unexpected(self, error: Exception) -> SourceUnavailable:
        _log.debug("%s: %s", self._name, redact(traceback.format_exc()))
        return SourceUnavailable(f"unexpected {type(error).__name__}: {error}")

    def _inside(self, call: Callable[[], T]) -> T:
        self._inside_ns = time.monotonic_ns()
        try:
            return call()
        finally:
            self._inside_ns = None


def _bare(error: SourceError) -> SourceError:
    """The error without what it drags along: its traceback holds the source, and a source that nobody can reach but
    the collector keeps its decoder. Measured: 1 MB and two threads per reconnect, until the collector came round.
    """
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error
