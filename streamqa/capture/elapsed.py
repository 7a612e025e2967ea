"""Stream time of one source, across connections, pauses and changes: it never goes back. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from streamqa.types import NS_PER_S

MOST_PAUSES = 64


@dataclass(frozen=True, slots=True)
class Past:
    """Where the stream time of a source stood when it was changed or removed."""

    t_ns: int = -1  # of its last frame; -1: it had none
    index: int = 0  # of its next frame
    origin_ns: int | None = None  # stream time 0 of a live source on the monotonic clock
    pauses: tuple[tuple[int, int], ...] = ()
    paused_ns: int | None = None  # stream time since which it is paused, or was removed; live sources
    is_changed: bool = False  # another one takes its place at once


NO_PAST = Past()


class StreamTime:
    """A live source's time is the monotonic clock's since its first connection; a recording's is its own.

    Pauses are stretches of stream time, [from, to), kept for the schedule, which counts the ticks inside as such in
    which nothing was to be asked. It needs those since the last frame only, so the latest 64 are kept and older
    ones dropped; of more than 64 without one frame between them, the ticks of the oldest count as skipped.
    """

    def __init__(self, is_live: bool, past: Past = NO_PAST, grid_ns: int = NS_PER_S) -> None:
        """`grid_ns`: a recording that follows another one begins at a multiple of this; a slide of its questions."""
        self._is_live = is_live
        self._past = past
        self._origin_ns = past.origin_ns if is_live else None
        self._base_ns = 0  # stream time at which this connection began
        self._t_ns = past.t_ns
        self._pauses = list(past.pauses)
        self._paused_ns = past.paused_ns if is_live else None  # stream time at which the present pause began
        self.index = past.index  # of the next frame
        if not is_live and past.t_ns >= 0:
            self._base_ns = (past.t_ns // grid_ns + 1) * grid_ns
            self._away(past.t_ns + 1, self._base_ns)

    @property
    def t_ns(self) -> int | None:
        """Stream time of the last picture; None before the first."""
        return None if self._t_ns < 0 else self._t_ns

    @property
    def base_ns(self) -> int:
        """Stream time at which the present connection began."""
        return self._base_ns

    @property
    def pauses(self) -> tuple[tuple[int, int], ...]:
        """The latest stretches in which it was paused, in order."""
        return tuple(self._pauses)

    def opened(self, now_ns: int) -> None:
        """A connection stands: from here on its time counts, later than all before it."""
        if self._is_live:
            self._base_ns = self._stream_ns(now_ns)

    def paused(self, now_ns: int) -> None:
        """A live source is not read from here on, or not yet. A recording waits: its time stands still."""
        if self._is_live and self._paused_ns is None:
            self._paused_ns = max(self._stream_ns(now_ns), self._t_ns + 1)

    def resumed(self, now_ns: int) -> None:
        """It is read again."""
        if self._paused_ns is not None:
            begin_ns, self._paused_ns = self._paused_ns, None
            self._away(begin_ns, self._stream_ns(now_ns))

    def place(self, picture_ns: int) -> int:
        """Stream time of a picture that this connection gave at `picture_ns` of its own time."""
        self._t_ns = max(self._t_ns, self._base_ns + picture_ns)
        return self._t_ns

    def left(self, now_ns: int, removed: bool) -> Past:
        """What a successor goes on from; `removed`: there will be none for a while, which counts as a pause."""
        if removed and self._origin_ns is not None:
            self.paused(now_ns)
        return Past(self._t_ns, self.index, self._origin_ns, self.pauses, self._paused_ns, not removed)

    def _stream_ns(self, now_ns: int) -> int:
        if (
            self._origin_ns is None
        ):  # the first connection, after what a recording of that name may have given
            self._origin_ns = now_ns - (self._t_ns + 1)
        return now_ns - self._origin_ns

    def _away(self, begin_ns: int, end_ns: int) -> None:
        if end_ns <= begin_ns:
            return
        if self._pauses and begin_ns <= self._pauses[-1][1]:
            self._pauses[-1] = (self._pauses[-1][0], max(end_ns, self._pauses[-1][1]))
        else:
            self._pauses.append((begin_ns, end_ns))
            del self._pauses[:-MOST_PAUSES]
