"""What befalls a source, and the state that it is in: a small machine with the time given to it. Pure.

    connecting    before the first picture of all, and after a pause
    live          pictures come
    stalled       live sources: no sign of life for `stall_after`, though a connection stands or is being made
    frozen        live sources: pictures come, and all are identical, for `frozen_after`
    reconnecting  live sources: the connection is lost, or could not be made
    refused       it said no; a live source is tried again, slowly
    paused        by request, or outside of its hours
    ended         nothing comes any more

A sign of life is a picture, or that a read came back without one: whoever waits for the next picture's time, or
skips to the next keyframe, is alive. A source that gets data and no picture for too long says so by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from streamqa.capture.freeze import Stillness
from streamqa.types import NS_PER_S, SourceState

_WAITED_FOR = ("connecting", "live", "frozen")
_LOST = ("reconnecting", "refused")


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a source may be silent or still."""

    stall_ns: int = 0  # 0: for ever, as recordings may
    frozen_ns: int = 0  # 0: for ever

    def __post_init__(self) -> None:
        if self.stall_ns < 0 or self.frozen_ns < 0:
            raise ValueError(f"limits must not be negative, got {self.stall_ns}, {self.frozen_ns} ns")


class News(NamedTuple):
    """A state that is to be reported, and its reason: one line, "" where there is nothing to say."""

    state: SourceState
    reason: str


class Life:
    """One source's state. Each method is an event; it returns what is news.

    Events that come too late change nothing: pictures of a source that is paused, anything of one that is over.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._still = Stillness(limits.frozen_ns)
        self._at: News | None = None  # None: nothing has been reported
        self._is_over = False
        self._is_open = False  # whether a connection stands
        self._gave = False  # whether this connection has given a picture
        self._sign_ns = 0  # of the last sign of life, or the moment since when one is waited for

    @property
    def state(self) -> SourceState:
        """The state reported last; before that, `connecting`."""
        return "connecting" if self._at is None else self._at.state

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self._is_over

    @property
    def is_paused(self) -> bool:
        """Whether it is not to be read."""
        return self.state == "paused"

    def begun(self, reason: str, now_ns: int) -> News | None:
        """It is to be connected, for the first time, or as another source than before."""
        if self._closed():
            return None
        self._sign_ns = now_ns
        return self._to("connecting", reason)

    def opened(self, now_ns: int) -> None:
        """A connection stands. Only a picture proves that it is worth something, so this is no news."""
        self._sign_ns = now_ns
        self._is_open, self._gave = True, False

    def alive(self, now_ns: int) -> News | None:
        """A read came back without a picture."""
        if self._closed():
            return None
        self._sign_ns = now_ns
        if self.state != "stalled":
            return None
        return self._to("live" if self._gave else "connecting", "")

    def picture(self, now_ns: int) -> News | None:
        """A read came back with a picture."""
        if self._closed():
            return None
        self._sign_ns, self._gave = now_ns, True
        return None if self.state in ("live", "frozen") else self._to("live", "")

    def kept(self, mark: int, now_ns: int) -> News | None:
        """A picture was kept; `mark` is its checksum."""
        if self._closed() or self._still.saw(mark, now_ns) or self.state != "frozen":
            return None
        return self._to("live", "the picture changes again")

    def note(self, text: str) -> News | None:
        """There is something that its owner should know."""
        return self._to("live", text) if self.state == "live" else None

    def lost(self, reason: str, refused: bool) -> News | None:
        """The connection broke, or could not be made; another one will be tried."""
        if self._closed():
            return None
        self._is_open = self._gave = False
        self._still.forget()
        return self._to("refused" if refused else "reconnecting", reason)

    def hung(self, reason: str) -> News | None:
        """A read hangs for good, and nothing can be done about it."""
        return None if self._closed() else self._to("stalled", reason)

    def paused(self, reason: str) -> News | None:
        """It is not to be read for a while."""
        if self._is_over:
            return None
        self._still.forget()
        return self._to("paused", reason)

    def resumed(self, now_ns: int) -> News | None:
        """It is to be read again."""
        if self._is_over or not self.is_paused:
            return None
        self._sign_ns = now_ns
        return self._to("connecting", "resumed")

    def over(self, reason: str, refused: bool = False, *, removed: bool = False) -> News | None:
        """That was all. `removed`: nobody wants it any more, a last word also where it had ended by itself."""
        if self._is_over and not removed:
            return None
        self._is_over = True
        return self._to("refused" if refused else "ended", reason)

    def check(self, now_ns: int) -> News | None:
        """Look at it from outside: silent, or still, for too long?"""
        if self._closed():
            return None
        limit_ns = self._limits.stall_ns
        waiting = self.state in _WAITED_FOR or (self.state in _LOST and self._is_open)
        if waiting and 0 < limit_ns <= now_ns - self._sign_ns:
            self._still.forget()
            return self._to("stalled", f"no frame for {limit_ns / NS_PER_S:g} s")
        if self.state == "live" and self._still.is_still:
            seconds = self._limits.frozen_ns / NS_PER_S
            reason = (
                f"identical pictures for {seconds:g} s; a still scene under heavy compression can look so"
            )
            return self._to("frozen", reason)
        return None

    def _closed(self) -> bool:
        """Whether what a reading thread tells comes too late."""
        return self._is_over or self.is_paused

    def _to(self, state: SourceState, reason: str) -> News | None:
        news = News(state, reason)
        if news == self._at:
            return None
        self._at = news
        return news
