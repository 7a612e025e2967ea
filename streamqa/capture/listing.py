"""What lies in a folder: which files count, their order, and which of them have been written to the end. Pure, but
for `look`, which reads the folder once.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from typing import NamedTuple

from streamqa.capture.stills import SUFFIXES as STILLS

CLIPS = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".mpeg", ".flv", ".wmv", ".3gp", ".mts"}
)
_DIGITS = re.compile(r"(\d+)")
# What programs call files that they are still writing; .part and the like have no suffix of ours anyway.
_TEMPORARY = re.compile(r"[.~#].*|.*[.](?:tmp|temp|part|partial)[.][^.]*", re.IGNORECASE | re.DOTALL)


class Version(NamedTuple):
    """A file's content, as far as that can be seen from outside."""

    size: int
    mtime_ns: int


def suffix(name: str) -> str:
    """`.jpg` of `A.JPG`."""
    return os.path.splitext(name)[1].lower()


def counts(name: str) -> bool:
    """Whether a file of that name is an image or a clip, and no temporary one."""
    return suffix(name) in STILLS | CLIPS and not _TEMPORARY.fullmatch(name)


def natural(name: str) -> tuple[list[str | int], str]:
    """The key of the order in which people number files: 2.jpg is before 10.jpg."""
    parts: list[str | int] = [
        int(part) if part.isdecimal() else part for part in _DIGITS.split(name.casefold())
    ]
    return parts, name


def look(folder: str) -> dict[str, Version]:
    """The images and clips that lie directly in `folder` now, in natural order; links are followed.

    Raises:
        OSError: it cannot be read.
    """
    found: dict[str, Version] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if not counts(entry.name):
                continue
            try:
                status = entry.stat()
            except OSError:  # removed since, or a link that leads nowhere
                continue
            if stat.S_ISREG(status.st_mode):
                found[entry.name] = Version(status.st_size, status.st_mtime_ns)
    return {name: found[name] for name in sorted(found, key=natural)}


class Arrivals:
    """Which files of a watched folder are new and whole. Pure; remembers no more than what lies in the folder.

    A file that stands still from one look to the next is whole. Writers do pause: one that changes afterwards, also
    one that is written over as a whole, is a new file.
    """

    def __init__(self) -> None:
        self._seen: Mapping[str, Version] = {}
        self._given: dict[str, Version] = {}

    def take(self, found: Mapping[str, Version]) -> dict[str, Version]:
        """Those of `found` to be looked at now, in its order; each version of a file once."""
        still = {
            name: version
            for name, version in found.items()
            if version.size and self._seen.get(name) == version and self._given.get(name) != version
        }
        self._given = {name: version for name, version in self._given.items() if name in found} | still
        self._seen = dict(found)
        return still
