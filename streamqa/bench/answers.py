"""`streamqa bench answers`: whether answers can be relied on, and what it costs to ask so that they can.

Four parts: how often closed answers are true (`kinds`), what a window gains (`window`), whether events become alerts,
each once and in time (`events`), and what scoring costs (`scoring`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from streamqa.bench import answers_events, answers_kinds, answers_scoring, answers_window
from streamqa.bench.figures import Figure, report
from streamqa.bench.quick import machine
from streamqa.bench.weights import SIZES
from streamqa.errors import ConfigError
from streamqa.model.base import open_model

PARTS = ("kinds", "window", "events", "scoring")
Progress: TypeAlias = Callable[[str], None]
Rows: TypeAlias = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What `bench answers` is asked for."""

    parts: tuple[str, ...] = PARTS
    scenes: int = 1200  # static ones, of kinds
    clips: int = 24  # moving ones, of kinds
    clip_s: float = 10.0
    stills: int = 80  # scenes under each kind of noise, of window
    starved: int = 4  # clips, of window
    starved_s: float = 30.0
    streams: int = 3  # of ten minutes, of events
    events: int = answers_events.EVENTS  # of each of them; fewer make it shorter
    rounds: int = 20  # of scoring
    size: str = "full"  # of scoring's moondream2

    def __post_init__(self) -> None:
        if not self.parts or set(self.parts) - set(PARTS):
            raise ConfigError(f"bench answers: no such part; there are {', '.join(PARTS)}")
        if min(self.scenes, self.stills, self.streams, self.events, self.rounds) < 1:
            raise ConfigError("bench answers: needs a scene, a still, a stream, an event and a round")
        if min(self.clips, self.starved) < 0:
            raise ConfigError("bench answers: there are no fewer than 0 clips")
        if self.size not in SIZES:
            raise ConfigError(f"bench answers: no size {self.size}; there are {', '.join(SIZES)}")


def measure(settings: Settings, progress: Progress) -> dict[str, Any]:
    """The whole report, JSON-ready. `progress` is told in one line what is being measured.

    Raises:
        StreamQAError: a run failed.
    """
    where, figures, tables = machine(), list[Figure](), dict[str, Rows]()
    for part, of in _MEASURES.items():
        if part in settings.parts:
            progress(f"measuring {part}")
            found, tables[part] = of(settings, progress)
            figures += found
    return report(where, asdict(settings), figures, bench="answers", tables=tables)


def _kinds(settings: Settings, _: Progress) -> tuple[list[Figure], Rows]:
    with closing(open_model("tiny")) as model, tempfile.TemporaryDirectory(prefix="streamqa-bench-") as name:
        cases = answers_kinds.measure(model, settings.scenes, settings.clips, settings.clip_s, Path(name))
    return answers_kinds.figures(cases), answers_kinds.rows(cases)


def _window(settings: Settings, _: Progress) -> tuple[list[Figure], Rows]:
    with closing(open_model("tiny")) as model, tempfile.TemporaryDirectory(prefix="streamqa-bench-") as name:
        rows = answers_window.measure(
            model, settings.stills, settings.starved, settings.starved_s, Path(name)
        )
    return answers_window.figures(rows), rows


def _events(settings: Settings, _: Progress) -> tuple[list[Figure], Rows]:
    with closing(open_model("tiny")) as model, tempfile.TemporaryDirectory(prefix="streamqa-bench-") as name:
        rows = answers_events.measure(model, settings.streams, settings.events, Path(name))
    return answers_events.figures(rows), rows


def _scoring(settings: Settings, progress: Progress) -> tuple[list[Figure], Rows]:
    rows = answers_scoring.measure(settings.size, settings.rounds, progress)
    return answers_scoring.figures(rows), rows


_MEASURES: Mapping[str, Callable[[Settings, Progress], tuple[list[Figure], Rows]]] = {
    "kinds": _kinds,
    "window": _window,
    "events": _events,
    "scoring": _scoring,
}
_TABLES: Mapping[str, Callable[[Sequence[Mapping[str, Any]]], list[str]]] = {
    "kinds": answers_kinds.markdown,
    "window": answers_window.markdown,
    "events": answers_events.markdown,
    "scoring": answers_scoring.markdown,
}


def markdown(result: Mapping[str, Any]) -> str:
    """A result as the README's tables: one for each part, and one of what is to be reached."""
    where = result["machine"]
    lines = [f"{where['processor']}, {where['cores']} cores, load {where['load_average']:g}:"]
    for part, rows in result["tables"].items():
        lines += ["", *_TABLES[part](rows)]
    wanted = [row for row in result["figures"] if row["target"] is not None]
    if wanted:
        lines += ["", "| figure | measured | to reach | reached |", "|---|---|---|---|"]
    for row in wanted:
        reached = "yes" if row["reached"] else "**no**"
        lines.append(f"| {row['name']} | {row['value']:.4g} {row['unit']} | {row['target']} | {reached} |")
    return "\n".join(lines)
