"""Which recordings labels are about: files beside them, recorded sources, or what stands for live ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from streamqa.capture.source import SourceSpec, make_source, redact
from streamqa.errors import ConfigError, SourceError

_MOST_ID_CHARS = 50


class Footage:
    """Finds recordings by how labels name them. One that goes by several names has one id, and is opened once."""

    def __init__(
        self, folder: Path, sources: Iterable[SourceSpec], stand_ins: Mapping[str, Path] | None = None
    ) -> None:
        """`folder`: where the labels lie; `sources`: of the configuration; `stand_ins`: recordings in their place.

        Raises:
            ConfigError: there is a recording in the place of a source that there is not.
        """
        self._folder = folder
        self._sources = {spec.id: spec for spec in sources}
        self._stand_ins = dict(stand_ins or {})
        self._found: dict[str, SourceSpec] = {}
        self._keys: dict[Any, str] = {}
        for name in self._stand_ins:
            if name not in self._sources:
                there = ", ".join(self._sources) or "none"
                raise ConfigError(f"--footage {name}: there is no such source; there are: {there}")

    @property
    def specs(self) -> dict[str, SourceSpec]:
        """What was found, by id, as it is to be replayed."""
        return dict(self._found)

    def find(self, source: str) -> str:
        """The id of the recording that is called so: the id of a source, or a file relative to the labels.

        Raises:
            ConfigError: it is no recording, or no name of one.
            SourceError: the recording is not there.
        """
        spec = self._source(self._sources[source]) if source in self._sources else self._file(source)
        key = _key(spec)
        if key not in self._keys:
            self._keys[key] = spec.id
            self._found[spec.id] = spec
        return self._keys[key]

    def _source(self, spec: SourceSpec) -> SourceSpec:
        """A source with its zone and masks, and with the recording that stands for it, where it is live."""
        if spec.id in self._stand_ins:
            path = self._stand_ins[spec.id]
            _check(path, f"--footage {spec.id}={path}")
            return _recorded(
                SourceSpec(
                    spec.id, str(path), zone=spec.zone, masks=spec.masks, detail=spec.detail, hwaccel=spec.hwaccel,
                    interval_ns=spec.interval_ns,
                )
            )  # fmt: skip
        if make_source(replace(spec, pace="auto", loop=False, watch=False)).is_live:
            raise ConfigError(
                f"source {spec.id} is live ({redact(spec.url)}); "
                f"name the recording of it that is labelled: --footage {spec.id}=FILE"
            )
        if "://" not in spec.url:
            _check(Path(re.sub(r"^folder:", "", spec.url, flags=re.IGNORECASE)), spec.url)
        return _recorded(spec)

    def _file(self, source: str) -> SourceSpec:
        if not source or "://" in source or "\0" in source:
            raise ConfigError(
                f"{redact(source)[:80]!r} is no recording; write a file, relative to the labels, or a source's id"
            )
        path = self._folder / source
        there = f", and no source has this id ({', '.join(self._sources)})" if self._sources else ""
        _check(path, source, there)
        return _recorded(SourceSpec(self._id(path), str(path)))

    def _id(self, path: Path) -> str:
        """The file's name, with a number where that is taken."""
        base = re.sub(r"[^A-Za-z0-9_.-]+", "-", path.name).strip("-.")[:_MOST_ID_CHARS] or "recording"
        taken = {
            *self._sources,
            *(spec.id for spec in self._found.values() if _where(spec) != path.resolve()),
        }
        name, number = base, 2
        while name in taken:
            name, number = f"{base}-{number}", number + 1
        return name


def parse_stand_ins(given: Iterable[str]) -> dict[str, Path]:
    """`ID=FILE` of the command line, each ID once.

    Raises:
        ConfigError: one is not of that form, or an ID is given twice.
    """
    found: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise ConfigError(f"--footage {redact(text)[:80]}: write ID=FILE, as in gate=gate.mp4")
        if name in found:
            raise ConfigError(f"--footage {name}: given twice; a source has one recording")
        found[name] = Path(path)
    return found


def _recorded(spec: SourceSpec) -> SourceSpec:
    """As fast as it goes, once, at any time of day."""
    return replace(spec, pace="fast", loop=False, watch=False, when=None, priority=0)


def _check(path: Path, name: str, there: str = "") -> None:
    try:
        is_there = path.exists()
    except (OSError, ValueError):  # a name that is too long for one
        is_there = False
    if not is_there:
        raise SourceError(f"{name[:200]}: no such file{there}; check the path")


def _where(spec: SourceSpec) -> Path | str:
    return spec.url if "://" in spec.url else Path(spec.url).resolve()


def _key(spec: SourceSpec) -> Any:
    """What two names of one recording have in common."""
    return _where(spec), spec.zone, spec.masks, spec.detail, spec.interval_ns
