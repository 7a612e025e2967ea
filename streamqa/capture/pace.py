"""A recording played as if it were a camera."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Protocol

from streamqa.capture.source import Picture, Source, SourceFacts
from streamqa.errors import SourceEnded, SourceUnavailable
from streamqa.types import NS_PER_S, utc_now

_BEHIND_NS = NS_PER_S // 2
_WAIT_NS = NS_PER_S // 2  # at once: then `read` returns, so that a stop is noticed and life is seen
_ONE_PICTURE_NS = NS_PER_S // 25  # a turn takes so long at least, or a loop over nothing would burn a core


class Recording(Source, Protocol):
    """A source that ends by itself."""

    @property
    def end_ns(self) -> int:
        """Stream time at which its last picture is over; known once `read` has said that it has ended."""
        ...


class Realtime:
    """Gives each wanted picture of a recording when its time has come; a live source to everybody else."""

    is_live = True

    def __init__(self, recording: Recording, loop: bool) -> None:
        """`loop`: begin again at the end; stream time goes on."""
        self._recording = recording
        self._loop = loop
        self._is_open = False
        self._begin_ns = 0  # on the monotonic clock, of stream time 0
        self._turn_ns = 0  # stream time at which this turn began
        self._next: Picture | None = None  # decoded already; its time is yet to come
        self._over: str | None = None  # why nothing more comes in this turn, which lasts until `_end_ns`
        self._end_ns = 0

    def open(self) -> None:
        """Open the recording.

        Raises:
            SourceRefused, SourceUnavailable: as the recording does.
        """
        self._recording.open()
        self._is_open = True
        self._begin_ns = time.monotonic_ns()
        self._turn_ns = self._end_ns = 0
        self._next = self._over = None

    @property
    def facts(self) -> SourceFacts:
        """The recording's."""
        return self._recording.facts

    def read(self, wanted_ns: int = 0) -> Picture | None:
        """The next picture at or after `wanted_ns`, when it is its turn; None after half a second of waiting for it.

        Raises:
            SourceEnded: the recording is over, whole or damaged, and is not looped.
            SourceRefused: there is no picture in it.
            SourceUnavailable: not open.
        """
        if not self._is_open:
            raise SourceUnavailable("a recording that is not open cannot be played")
        if self._over is not None:
            self._end_of_turn(self._over)
            return None
        if self._next is None or self._next.t_ns < wanted_ns:
            self._next = self._following(wanted_ns)
        if self._next is None or not self._has_come(self._next.t_ns):
            return None
        picture, self._next = self._next, None
        return Picture(picture.t_ns, utc_now(), "arrival", picture.to_image)

    def close(self) -> None:
        """Close the recording."""
        self._is_open = False
        self._next = None
        self._recording.close()

    def _following(self, wanted_ns: int) -> Picture | None:
        try:
            picture = self._recording.read(max(0, wanted_ns - self._turn_ns))
        except (SourceEnded, SourceUnavailable) as end:
            # A damaged recording ends as a whole one does: connecting again would not mend it.
            self._over = str(end)
            self._end_ns = self._turn_ns + max(self._recording.end_ns, _ONE_PICTURE_NS)
            return None
        return picture and replace(picture, t_ns=self._turn_ns + picture.t_ns)

    def _end_of_turn(self, reason: str) -> None:
        """Wait for the end of what is played; then begin anew, or end."""
        if not self._has_come(self._end_ns):
            return
        if not self._loop:
            raise SourceEnded(reason)
        self._recording.close()
        self._recording.open()
        self._turn_ns, self._over = self._end_ns, None

    def _has_come(self, t_ns: int) -> bool:
        """Whether stream time has reached `t_ns`, now or after a wait."""
        late_ns = time.monotonic_ns() - self._begin_ns - t_ns
        if late_ns < 0:
            time.sleep(min(-late_ns, _WAIT_NS) / NS_PER_S)
        elif late_ns > _BEHIND_NS:
            self._begin_ns += late_ns  # too slow a machine: go on from here, no burst to catch up
        return late_ns >= -_WAIT_NS
