"""A recording played as if it were a camera."""

from __future__ import annotations

import time

from streamqa.capture.source import Picture, Source, SourceFacts
from streamqa.errors import SourceEnded, SourceUnavailable
from streamqa.types import NS_PER_S, utc_now

_BEHIND_NS = NS_PER_S // 2
_ONE_PICTURE_NS = NS_PER_S // 25  # how long the picture of a recording that has only one is shown


class Realtime:
    """Gives each picture of a recording when its time has come; a live source to everybody else."""

    is_live = True

    def __init__(self, recording: Source, loop: bool) -> None:
        """`loop`: begin again at the end; stream time goes on."""
        self._recording = recording
        self._loop = loop
        self._is_open = False
        self._begin_ns = 0  # on the monotonic clock, of the recording's time 0 in this turn
        self._turn_ns = 0  # stream time at which this turn began
        self._last_ns = 0  # stream time of the last picture
        self._period_ns = 0  # between the last two pictures

    def open(self) -> None:
        """Open the recording.

        Raises:
            SourceRefused, SourceUnavailable: as the recording does.
        """
        self._recording.open()
        self._is_open = True
        self._begin_ns = time.monotonic_ns()
        self._turn_ns = self._last_ns = self._period_ns = 0

    @property
    def facts(self) -> SourceFacts:
        """The recording's."""
        return self._recording.facts

    def read(self, wanted_ns: int = 0) -> Picture | None:
        """The next picture, when it is its turn.

        Raises:
            SourceEnded: the recording is over, whole or damaged, and is not looped.
            SourceRefused: there is no picture in it.
            SourceUnavailable: not open.
        """
        if not self._is_open:
            raise SourceUnavailable("a recording that is not open cannot be played")
        picture = self._next()
        if picture is None:
            return None
        t_ns = self._turn_ns + picture.t_ns
        late_ns = time.monotonic_ns() - self._begin_ns - t_ns
        if late_ns < 0:
            time.sleep(-late_ns / NS_PER_S)
        elif late_ns > _BEHIND_NS:
            self._begin_ns += late_ns  # too slow a machine: go on from here, no burst to catch up
        self._period_ns, self._last_ns = max(0, t_ns - self._last_ns), t_ns
        return Picture(t_ns, utc_now(), "arrival", picture.to_image)

    def close(self) -> None:
        """Close the recording."""
        self._is_open = False
        self._recording.close()

    def _next(self) -> Picture | None:
        try:
            picture = self._recording.read()
        except (SourceEnded, SourceUnavailable) as end:
            # A damaged recording ends as a whole one does: connecting again would not mend it.
            if not self._loop:
                raise SourceEnded(str(end)) from None
            self._recording.close()
            self._recording.open()
            self._turn_ns = self._last_ns + (self._period_ns or _ONE_PICTURE_NS)
            picture = self._recording.read()
        return picture
