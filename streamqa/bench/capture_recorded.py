"""A frame per second of a recording: what that costs, against decoding all of it with `ffmpeg`.

Both are processes of their own, whose CPU time the kernel counts; rounds take turns. The figure is what our process
spends between opening and closing the clip, against all that ffmpeg's spends: a line of cameras loads Python once.
What loading it costs is told apart, and so is the ratio with it.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from streamqa.bench.capture_clips import ClipKind
from streamqa.bench.capture_exact import Exactness, compare
from streamqa.bench.figures import Figure, Target
from streamqa.bench.processes import run_counted
from streamqa.bench.rounds import interleaved
from streamqa.bench.stats import paired_ratio

_CHILD = (sys.executable, "-m", "streamqa.bench.capture_child")
_OURS, _WHOLE, _BASELINE, _PYAV = "ours", "ours with imports", "baseline", "PyAV"


@dataclass(frozen=True, slots=True)
class Row:
    """One clip; CPU time in seconds, of each round."""

    kind: ClipKind
    ours: tuple[float, ...]
    ours_whole: tuple[float, ...]  # with start and imports
    baseline: tuple[float, ...]
    pyav: tuple[float, ...]  # decoding everything with the FFmpeg that we use
    exact: Exactness

    @property
    def ratio(self) -> float:
        """Of the medians."""
        return median(self.ours) / median(self.baseline)


def ffmpeg_command(target: str | Path, *options: str) -> list[str] | None:
    """Decoding a clip or a stream with one thread; None where there is no `ffmpeg`."""
    program = shutil.which("ffmpeg")
    if program is None:
        return None
    quiet = ["-nostdin", "-hide_banner", "-loglevel", "error"]
    return [program, *quiet, "-threads", "1", *options, "-i", str(target), "-f", "null", "-"]


def baseline_cpu_s(clip: Path) -> float:
    """CPU seconds of decoding all of `clip` by what our figures are held against.

    Raises:
        StreamQAError: it failed.
    """
    command = ffmpeg_command(clip)
    return _pyav_cpu_s(clip) if command is None else run_counted(command).cpu_s


def _pyav_cpu_s(clip: Path) -> float:
    return float(json.loads(run_counted([*_CHILD, "all", str(clip)]).output)["cpu_s"])


def baseline_name() -> str:
    """What our figures are held against."""
    return (
        "ffmpeg -threads 1 -f null" if shutil.which("ffmpeg") else "PyAV decoding everything (no ffmpeg here)"
    )


def measure(
    clips: Mapping[ClipKind, Path], rounds: int, progress: Callable[[str], None]
) -> tuple[list[Row], list[float]]:
    """A row per clip, and what a process of ours costs before it begins: CPU seconds of each round.

    Raises:
        StreamQAError: a process failed.
    """
    whole: dict[str, list[float]] = {kind.name: [] for kind in clips}
    tasks: dict[tuple[str, str], Callable[[int], float]] = {
        ("", "imports"): lambda _: run_counted([*_CHILD, "nothing"]).cpu_s
    }
    for kind, clip in clips.items():
        tasks |= _tasks(kind.name, clip, whole[kind.name])
    found = interleaved(tasks, range(rounds), progress, lambda: True)
    rows = []
    for kind, clip in clips.items():
        ours, pyav = tuple(found[kind.name, _OURS]), tuple(found[kind.name, _PYAV])
        baseline = tuple(found[kind.name, _BASELINE])
        rows.append(Row(kind, ours, tuple(whole[kind.name]), baseline, pyav, compare(clip)))
        progress(f"{kind.label}: {rows[-1].ratio:.2f} of {baseline_name()}")
    return rows, found["", "imports"]


def _tasks(name: str, clip: Path, whole: list[float]) -> dict[tuple[str, str], Callable[[int], float]]:
    def ours(_: int) -> float:
        done = run_counted([*_CHILD, "sampled", str(clip)])
        whole.append(done.cpu_s)
        return float(json.loads(done.output)["cpu_s"])

    return {
        (name, _OURS): ours,
        (name, _BASELINE): lambda _: baseline_cpu_s(clip),
        (name, _PYAV): lambda _: _pyav_cpu_s(clip),
    }


def figures(rows: Sequence[Row]) -> list[Figure]:
    """The rows' ratios, and how many pictures are exact."""
    found = []
    for row in rows:
        name = f"recorded, {row.kind.label}"
        ratios = tuple(a / b for a, b in zip(row.ours, row.baseline, strict=True))
        found.append(Figure(f"{name}: of the baseline's CPU", "x", ratios, target(row.kind)))
        equal = row.exact.rgb_equal if row.exact.luma_equal is None else row.exact.luma_equal
        wrong = row.exact.due - min(equal, row.exact.rgb_equal) + row.exact.extra
        found.append(Figure(f"{name}: pictures not exact", "pictures", (wrong,), Target("<=", 0)))
    return found


def target(kind: ClipKind) -> Target | None:
    """Of the baseline's CPU, what a picture per second may cost."""
    return None if kind.share is None else Target("<=", kind.share)


def as_json(row: Row) -> dict[str, Any]:
    """A row, with all that was measured."""
    return {
        "clip": row.kind.name,
        "label": row.kind.label,
        "baseline": baseline_name(),
        "ratio": round(row.ratio, 4),
        "ratio_paired": round(paired_ratio(row.ours, row.baseline), 4),
        "ratio_with_imports": round(median(row.ours_whole) / median(row.baseline), 4),
        "ratio_to_pyav": round(median(row.ours) / median(row.pyav), 4),
        "cpu_s": {
            _OURS: [round(s, 4) for s in row.ours],
            _WHOLE: [round(s, 4) for s in row.ours_whole],
            _BASELINE: [round(s, 4) for s in row.baseline],
            _PYAV: [round(s, 4) for s in row.pyav],
        },
        "exact": row.exact._asdict(),
    }
