"""Opens a source, reads the beginning of it, and says what it found: for `streamqa check`."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from streamqa.capture.source import Picture, Source, SourceFacts, SourceSpec, kind_of, make_source, redact
from streamqa.errors import SourceEnded, SourceError
from streamqa.types import NS_PER_S, Clock

LIMIT_S = 15.0  # for a source to be opened and to be read
_AT_ONCE = 32
_LISTEN_S = 6.0  # to a stream: sender reports come every 5 s, and some cameras' keyframes as seldom
_GLANCE_S = 1.0  # at what has no keyframes, and at a recording
_EVEN = 50  # pictures one after the other, whose spacing is looked at
_FEWEST = 10
_SECURE = {"rtsps": "rtsp", "https": "http", "rtmps": "rtmp"}


@dataclass(frozen=True, slots=True)
class Probe:
    """What a source said of itself. What is not known is empty."""

    kind: str  # file, folder, webcam, scene, or the scheme of a stream, without the s of a secure one
    live: bool = False
    facts: SourceFacts = field(default_factory=SourceFacts)  # the size is that of the upright picture
    clock: Clock | None = None  # the best that was seen
    first_after_s: float | None = None  # from the begin of opening to the first picture
    captured_at: datetime | None = None  # of the first picture
    uneven: bool = False  # a recording whose pictures are not equally far apart
    failure: str = ""  # one line without secrets


def kind_word(url: str) -> str:
    """What people call a source of that URL."""
    if "://" in url:
        scheme = url.partition(":")[0].lower()
        return _SECURE.get(scheme, scheme)
    kind = kind_of(url)
    return "folder" if kind == "video" and os.path.isdir(url) else "file" if kind == "video" else kind


def probe_all(
    specs: Sequence[SourceSpec],
    limit_s: float = LIMIT_S,
    make: Callable[[SourceSpec], Source] = make_source,
) -> Iterator[tuple[SourceSpec, Probe]]:
    """Probe sources side by side; each result in the order of `specs`, as soon as it is there.

    One that hangs is told after `limit_s` and left behind with its thread, which cannot be broken off.
    """
    for begin in range(0, len(specs), _AT_ONCE):
        group = specs[begin : begin + _AT_ONCE]
        results: list[Probe | None] = [None] * len(group)

        def one(place: int, spec: SourceSpec, results: list[Probe | None] = results) -> None:
            results[place] = probe(spec, limit_s, make)

        threads = [
            threading.Thread(target=one, args=(place, spec), name=f"check-{spec.id}", daemon=True)
            for place, spec in enumerate(group)
        ]
        deadline = time.monotonic() + limit_s + _GLANCE_S  # a little more than they allow themselves
        for thread in threads:
            thread.start()
        for place, (spec, thread) in enumerate(zip(group, threads, strict=True)):
            thread.join(max(0.0, deadline - time.monotonic()))
            hangs = f"{redact(spec.url)}: has not answered within {limit_s:g} s; is it reachable?"
            yield spec, results[place] or Probe(kind_word(spec.url), failure=hangs)


def probe(
    spec: SourceSpec, limit_s: float = LIMIT_S, make: Callable[[SourceSpec], Source] = make_source
) -> Probe:
    """Open a source, read until its keyframes, rate and clock are known, and close it; all by this thread.

    It takes at most about `limit_s`, unless a call of the source hangs.
    """
    seen = _Seen(spec, limit_s)
    try:
        source = make(spec)
        seen.live = source.is_live
        try:
            source.open()
            while not seen.enough:
                seen.take(source.read(seen.wanted_ns), source)
        except SourceEnded:
            pass
        finally:
            seen.facts = source.facts
            source.close()
    except SourceError as error:
        return seen.result(str(error))
    except Exception as error:  # a bug of ours or of a driver: told, and the other sources are checked
        return seen.result(f"{spec.url}: unexpected {type(error).__name__}: {error}")
    if seen.first is None and not spec.watch:
        return seen.result(f"{spec.url}: opened, but no picture within {limit_s:g} s")
    return seen.result("")


class _Seen:
    """What was read so far, and whether that is enough."""

    def __init__(self, spec: SourceSpec, limit_s: float) -> None:
        self.live = False
        self.facts = SourceFacts()
        self.first: Picture | None = None
        self.wanted_ns = 0
        self._kind = kind_word(spec.url)
        self._watch = spec.watch
        self._began_s = time.monotonic()
        self._deadline_s = self._began_s + limit_s
        self._first_s = 0.0
        self._size = (0, 0)
        self._clock: Clock | None = None
        self._times: list[int] = []

    def take(self, picture: Picture | None, source: Source) -> None:
        """A read gave this."""
        self.facts = source.facts
        if picture is None:
            return
        if self.first is None:
            height, width, _ = picture.to_image().shape
            self.first, self._first_s, self._size = picture, time.monotonic(), (width, height)
        if self._clock != "rtcp":
            self._clock = picture.clock
        if len(self._times) < _EVEN:
            self._times.append(picture.t_ns)
        elif not self.live:
            self.wanted_ns = (
                picture.t_ns + NS_PER_S
            )  # on to the next keyframes without decoding all before them

    @property
    def enough(self) -> bool:
        """Whether reading on would tell nothing new, or takes too long."""
        now_s = time.monotonic()
        if self.first is None:
            return now_s > (self._began_s + _GLANCE_S if self._watch else self._deadline_s)
        listened_s, gop_s = now_s - self._first_s, self.facts.gop_s
        if now_s > self._deadline_s or listened_s > _LISTEN_S:
            return True
        if not self.live or self._kind in ("webcam", "scene"):
            measured = gop_s is not None and len(self._times) == _EVEN
            return measured or listened_s > _GLANCE_S
        reports_may_come = self._kind == "rtsp" and self._clock == "arrival"
        return gop_s is not None and listened_s > 2 * gop_s and not reports_may_come

    def result(self, failure: str) -> Probe:
        """All of it."""
        width, height = self._size if self.first is not None else (self.facts.width, self.facts.height)
        return Probe(
            kind=self._kind,
            live=self.live,
            facts=replace(self.facts, width=width, height=height, fps=self.facts.fps or self._rate()),
            clock=self._clock,
            first_after_s=None if self.first is None else self._first_s - self._began_s,
            captured_at=None if self.first is None else self.first.captured_at,
            uneven=self._kind == "file" and not self.live and self._is_uneven(),
            failure=" ".join(redact(failure).split()),
        )

    def _rate(self) -> float | None:
        """Frames per second as they came; of a folder there is none."""
        span_ns = self._times[-1] - self._times[0] if self._times else 0
        if self._kind == "folder" or len(self._times) < _FEWEST or not span_ns:
            return None
        return (len(self._times) - 1) * NS_PER_S / span_ns

    def _is_uneven(self) -> bool:
        steps = [later - earlier for earlier, later in zip(self._times, self._times[1:], strict=False)]
        return len(steps) >= _FEWEST and max(steps) > 1.5 * min(steps)
