"""A folder of images and clips: read once as a recording, or watched for what is put into it."""

from __future__ import annotations

import logging
import os
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from streamqa.capture.listing import CLIPS, Arrivals, Version, look, suffix
from streamqa.capture.pace import Realtime
from streamqa.capture.source import Picture, Source, SourceFacts, SourceSpec
from streamqa.capture.stills import read_still
from streamqa.capture.video import FileSource
from streamqa.errors import ConfigError, SourceEnded, SourceError, SourceRefused, SourceUnavailable
from streamqa.types import NS_PER_S, utc_now

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5
_LOOK_SHARE = 10  # a look at a large folder may take a tenth of the time, no more
_NAMED = 3  # damaged files that are named in the end
_FAR_NS = 2**62  # nobody wants anything: the sampler's way to say so


def make(spec: SourceSpec) -> Source:
    """The source for a folder's path, with or without `folder:` before it.

    Raises:
        ConfigError: no path, or a watched folder that is to be played at a pace.
    """
    path = re.sub(r"^folder:", "", spec.url, flags=re.IGNORECASE)
    if not path:
        raise ConfigError(f"source {spec.url!r}: give the folder, as in folder:/data/images")
    folder = FolderSource(path, watch=spec.watch, interval_ns=spec.interval_ns, hwaccel=spec.hwaccel)
    if spec.pace != "realtime":
        return folder
    if spec.watch:
        raise ConfigError(f"source {spec.url!r}: a watched folder has no pace; leave out pace or watch")
    return Realtime(folder, loop=spec.loop)


@dataclass(slots=True)
class _Clip:
    """A clip that is being read."""

    source: FileSource
    begin_ns: int  # stream time of its own time 0


class FolderSource:
    """The images and clips of a folder in natural order of their names; subfolders are not looked into.

    Once: a recording. Images are `interval_ns` apart, clips keep their own times, and each file begins where the
    one before it ends, also a damaged one, so that no time depends on what was looked at.

    Watched: it never ends. Files that are there come first, then each that is put into it or changed, once it has
    stood still for half a second. A file has no stream time of its own: it gets that of its arrival, or a later one,
    so that each image is kept by the sampler and answered, however many come at once. An image was captured when its
    file was last written (clock `arrival`); a clip's pictures have media time. What is there when streamqa starts
    anew is answered anew.
    """

    is_live = False  # every file counts; none is dropped because a newer one is there

    def __init__(
        self,
        path: str,
        *,
        watch: bool = False,
        interval_ns: int = NS_PER_S,
        hwaccel: str = "off",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`sleep` waits so many seconds; for tests."""
        self._path, self._name = path, _shown(path)
        self._watch, self._interval_ns, self._sleep = watch, interval_ns, sleep
        self._hwaccel = hwaccel
        self._waiting: deque[tuple[str, Version]] | None = None  # what is to be read; None: not open
        self._arrivals = Arrivals()
        self._look_ns = 0  # monotonic clock: when to look again
        self._gone = ""  # why the folder cannot be read
        self._opened_ns = 0
        self._next_ns = 0  # stream time at which the next file begins
        self._clip: _Clip | None = None
        self._facts = SourceFacts()
        self._files = self._given = 0
        self._damaged: list[str] = []  # the first few
        self._lost = 0

    def open(self) -> None:
        """Look what is there.

        Raises:
            SourceRefused: no such folder, not readable, or, if it is not watched, without images and clips.
        """
        self.close()
        try:
            found = look(self._path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a path"
            raise SourceRefused(f"{self._name}: {reason}; give a folder that can be read") from None
        if not found and not self._watch:
            raise SourceRefused(
                f"{self._name}: no images or clips in it (subfolders are not looked into); give another folder"
            )
        self._arrivals, self._gone = Arrivals(), ""
        self._waiting = deque((self._arrivals.take(found) if self._watch else found).items())
        self._opened_ns = time.monotonic_ns()
        self._look_ns = self._opened_ns + int(_LOOK_EVERY_S * NS_PER_S)
        self._next_ns = self._files = self._given = self._lost = 0
        self._damaged = []

    @property
    def facts(self) -> SourceFacts:
        """Of the file that was read last; the note says how many were damaged so far."""
        lost = f"damaged and left out so far: {self._lost}" if self._lost else ""
        gone = f"cannot be read now: {self._gone}" if self._gone else ""
        return replace(self._facts, note="; ".join(filter(None, (lost, gone))))

    @property
    def end_ns(self) -> int:
        """Stream time at which the files that were read so far are over."""
        return self._next_ns

    def read(self, wanted_ns: int = 0) -> Picture | None:
        """The next picture; None for files that gave none of that time, and, if watched, twice a second.

        Raises:
            SourceEnded: that was all.
            SourceUnavailable: that was all, but files or parts of them were damaged.
            SourceRefused: there was not one picture.
        """
        if self._waiting is None:
            raise SourceUnavailable(f"{self._name}: not open")
        if self._clip is not None:
            return self._from_clip(self._clip, wanted_ns)
        if not self._waiting and self._watch:
            self._look()
        if not self._waiting:
            if self._watch:
                return None
            raise self._ending()
        return self._file(*self._waiting.popleft(), wanted_ns)

    def close(self) -> None:
        """Close what is open."""
        self._waiting = None
        clip, self._clip = self._clip, None
        if clip is not None:
            clip.source.close()

    def _file(self, name: str, version: Version, wanted_ns: int) -> Picture | None:
        """Begin the next file: an image is read, a clip opened."""
        if self._watch and self._changed(name, version):
            return None  # a new version of it will be taken when it stands still
        self._files += 1
        begin_ns = self._next_ns
        if self._watch:
            asked_ns = wanted_ns if wanted_ns < _FAR_NS else 0
            begin_ns = max(begin_ns, asked_ns, time.monotonic_ns() - self._opened_ns)
        self._next_ns = begin_ns + self._interval_ns
        if suffix(name) in CLIPS:
            self._clip = self._begin(name, begin_ns)
            return None if self._clip is None else self._from_clip(self._clip, wanted_ns)
        return None if begin_ns < wanted_ns else self._still(name, version, begin_ns)

    def _changed(self, name: str, version: Version) -> bool:
        try:
            status = os.stat(os.path.join(self._path, name))
        except OSError:
            return True
        return (status.st_size, status.st_mtime_ns) != version

    def _look(self) -> None:
        """Wait for the time of the next look, at most half a second, and take what is new and whole."""
        wait_s = (self._look_ns - time.monotonic_ns()) / NS_PER_S
        if wait_s > 0:
            self._sleep(min(wait_s, _LOOK_EVERY_S))
        if wait_s > _LOOK_EVERY_S:
            return
        began_ns = time.monotonic_ns()
        try:
            self._waiting = deque(self._arrivals.take(look(self._path)).items())
            self._gone = ""
        except OSError as error:  # a share that is away for a while: what was answered stays known
            if not self._gone:
                _log.warning("%s: cannot be read: %s; looking again", self._name, error.strerror)
            self._gone = error.strerror or type(error).__name__
        now_ns = time.monotonic_ns()
        self._look_ns = now_ns + max(int(_LOOK_EVERY_S * NS_PER_S), _LOOK_SHARE * (now_ns - began_ns))

    def _still(self, name: str, version: Version, t_ns: int) -> Picture | None:
        try:
            image = read_still(os.path.join(self._path, name), _shown(name))
        except SourceError as error:
            self._lose(str(error))
            return None
        height, width, _ = image.shape
        self._facts = SourceFacts(suffix(name)[1:], width, height)
        self._given += 1
        if not self._watch:
            return Picture(t_ns, None, "media", lambda: image)
        return Picture(t_ns, _written_at(version), "arrival", lambda: image)

    def _begin(self, name: str, begin_ns: int) -> _Clip | None:
        path = os.path.join(self._path, name)
        source = FileSource(path, hwaccel=self._hwaccel)
        try:
            source.open()
        except SourceError as error:
            source.close()
            self._lose(self._brief(str(error)))
            return None
        self._next_ns = begin_ns
        return _Clip(source, begin_ns)

    def _from_clip(self, clip: _Clip, wanted_ns: int) -> Picture | None:
        try:
            picture = clip.source.read(max(0, wanted_ns - clip.begin_ns))
        except SourceError as end:
            if not isinstance(end, SourceEnded):
                self._lose(self._brief(str(end)))
            # By the packets that were read, not by the pictures: those that nobody wanted count as well.
            end_ns = clip.begin_ns + (clip.source.end_ns or self._interval_ns)
            self._next_ns = max(self._next_ns, end_ns)
            self._clip = None
            clip.source.close()
            return None
        self._facts = clip.source.facts
        if picture is None:
            return None
        t_ns = clip.begin_ns + picture.t_ns
        self._next_ns = max(self._next_ns, t_ns + 1)
        self._given += 1
        return replace(picture, t_ns=t_ns)

    def _lose(self, what: str) -> None:
        self._lost += 1
        if len(self._damaged) < _NAMED:
            self._damaged.append(what)
        if self._watch:
            _log.warning("%s: %s; left out", self._name, what)

    def _brief(self, message: str) -> str:
        """A clip's error without the folder's path, which the whole message begins with."""
        return _shown(message.replace(os.path.join(self._path, ""), "", 1))

    def _ending(self) -> SourceError:
        reasons = "; ".join(self._damaged) + ("; …" if self._lost > len(self._damaged) else "")
        if self._lost and not self._given:
            return SourceRefused(f"{self._name}: not one picture in it can be read: {reasons}")
        if self._lost:
            return SourceUnavailable(f"{self._name}: {self._lost} of {self._files} files damaged: {reasons}")
        return SourceEnded(f"{self._name}: end")


def _written_at(version: Version) -> datetime:
    """When a file was last written; now, where its time lies in the future or is none."""
    now = utc_now()
    try:
        return min(now, datetime.fromtimestamp(version.mtime_ns / NS_PER_S, UTC))
    except (ValueError, OverflowError, OSError):
        return now


def _shown(name: str) -> str:
    """A path that can be printed and stored: file names may hold bytes that are no text."""
    return os.fsencode(name).decode("utf-8", "replace")
