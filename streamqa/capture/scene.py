"""The synthetic camera: a rendered scene, live, on any machine."""

from __future__ import annotations

import time
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import numpy as np

from streamqa.capture.source import Picture, Source, SourceFacts, SourceSpec
from streamqa.errors import ConfigError, SourceUnavailable
from streamqa.types import NS_PER_S, utc_now

if TYPE_CHECKING:
    from streamqa.scenes.script import GateScene
    from streamqa.types import Image

_FPS = (1, 60)
_GRAMMAR = "give scene:gate or scene:gate?seed=7&fps=15"


def make(spec: SourceSpec) -> Source:
    """The source for `scene:gate` with optional `?seed=` (default 1) and `&fps=` (default 15).

    Raises:
        ConfigError: another scene, another key, a value that is no number in range.
    """
    name, _, query = spec.url.partition(":")[2].partition("?")
    if name != "gate":
        raise ConfigError(f"source {spec.url!r}: unknown scene {name!r}; {_GRAMMAR}")
    settings = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(set(settings) - {"seed", "fps"}):
        raise ConfigError(f"source {spec.url!r}: unknown setting {unknown[0]!r}; {_GRAMMAR}")
    try:
        seed, fps = int(settings.get("seed", "1")), Fraction(settings.get("fps", "15"))
    except (ValueError, ZeroDivisionError):
        raise ConfigError(f"source {spec.url!r}: seed and fps are numbers; {_GRAMMAR}") from None
    if not _FPS[0] <= fps <= _FPS[1]:
        raise ConfigError(f"source {spec.url!r}: fps is from {_FPS[0]} to {_FPS[1]}")
    return SceneSource(seed, fps)


class SceneSource:
    """Renders the gate scene in real time. Only pictures that are kept are drawn."""

    is_live = True

    def __init__(self, seed: int, fps: Fraction = Fraction(15)) -> None:
        self._seed = seed
        self._fps = fps
        self._scene: GateScene | None = None
        self._begin_ns = 0
        self._number = -1  # of the last picture; picture n is due n / fps seconds after opening

    def open(self) -> None:
        """Set the scene; its time begins now."""
        from streamqa.scenes.script import GateScene

        self._scene = GateScene(self._seed)
        self._begin_ns = time.monotonic_ns()
        self._number = -1

    @property
    def facts(self) -> SourceFacts:
        """The size is the scene's own."""
        return SourceFacts(codec="rendered", fps=float(self._fps))

    def read(self, wanted_ns: int = 0) -> Picture | None:
        """The next picture when it is due; pictures that nobody read in time are left out, as a camera does.

        Raises:
            SourceUnavailable: not open.
        """
        scene = self._scene
        if scene is None:
            raise SourceUnavailable("scene:gate: not open")
        now_ns = time.monotonic_ns() - self._begin_ns
        self._number = max(self._number + 1, int(now_ns * self._fps // NS_PER_S))
        t_ns = int(self._number * NS_PER_S // self._fps)
        if t_ns > now_ns:
            time.sleep((t_ns - now_ns) / NS_PER_S)
        return Picture(t_ns, utc_now(), "arrival", partial(_render, scene, t_ns))

    def close(self) -> None:
        """Forget the scene."""
        self._scene = None


def _render(scene: GateScene, t_ns: int) -> Image:
    return np.array(scene.image(t_ns / NS_PER_S), dtype=np.uint8)  # a copy: Pillow's own arrays are read-only
