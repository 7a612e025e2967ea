"""Active hours: the daily stretch of wall time, in a place's own time, in which something is asked. Pure.

Wall time is a place's: on the day on which its clocks go forward "22:00-06:00" is an hour shorter. Of a time that a
place's clocks show twice the first one is meant; a time that they leave out is where it would have been without that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_WRITTEN = re.compile(r"\s*(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})\s+(\S+)\s*")
_ADVICE = "write hours as in 22:00-06:00 Europe/Rome"


@dataclass(frozen=True, slots=True)
class Hours:
    """From `begin` up to `end` every day; over midnight where `end` is not later than `begin`."""

    begin: time
    end: time
    zone: str  # IANA name

    def __post_init__(self) -> None:
        if self.begin == self.end:
            raise ValueError("the hours begin when they end; leave them out to be active always")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"unknown time zone {self.zone!r}; {_ADVICE}") from None

    def __str__(self) -> str:
        return f"{self.begin:%H:%M}-{self.end:%H:%M} {self.zone}"

    def active(self, at: datetime) -> bool:
        """Whether `at`, which carries a time zone, lies within."""
        return any(self.stretches(at, at.astimezone(UTC) + timedelta(microseconds=1)))

    def stretches(self, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The active parts of [since, until), in order and apart, in UTC; both carry a time zone."""
        zone = ZoneInfo(self.zone)
        day, last = since.astimezone(zone).date() - timedelta(days=1), until.astimezone(zone).date()
        while day <= last:
            following = day if self.begin < self.end else day + timedelta(days=1)
            begin, end = max(since, self._at(day, self.begin)), min(until, self._at(following, self.end))
            if begin < end:
                yield begin.astimezone(UTC), end.astimezone(UTC)
                since = end  # where clocks go forward, a day's end may lie after the next one's beginning
            day += timedelta(days=1)

    def _at(self, day: date, moment: time) -> datetime:
        return datetime.combine(day, moment, ZoneInfo(self.zone)).astimezone(UTC)


def parse_hours(text: str) -> Hours:
    """Read `22:00-06:00 Europe/Rome`; `24:00` is the end of a day.

    Raises:
        ValueError: not of that form, no time of a day, or no time zone that is known.
    """
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise ValueError(_ADVICE)
    return Hours(_moment(match[1], match[2]), _moment(match[3], match[4]), match[5])


def _moment(hour: str, minute: str) -> time:
    if (hour, minute) == ("24", "00"):
        return time(0)
    try:
        return time(int(hour), int(minute))
    except ValueError:
        raise ValueError(f"{hour}:{minute} is no time of a day; {_ADVICE}") from None
