"""`streamqa bench capture`: what a frame per second of recordings and of cameras costs, and how late it comes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from streamqa.bench import capture_live, capture_outage, capture_recorded
from streamqa.bench.capture_clips import LIVE, RECORDED, ClipKind, make_clip
from streamqa.bench.figures import Figure, report
from streamqa.bench.quick import machine
from streamqa.errors import ConfigError

PARTS = ("recorded", "live", "cameras", "outages")
_CAMERAS_CLIP = LIVE[1]  # 720p


@dataclass(frozen=True, slots=True)
class Settings:
    """What `bench capture` is asked for."""

    parts: tuple[str, ...] = PARTS
    seconds: float = 20.0  # of each clip, and of each live run
    rounds: int = 3
    cameras: int = 16
    reconnects: int = 200  # 0: what they leave behind is not measured
    clips: Path | None = None  # where clips are kept from one run to the next; None: nowhere
    size: tuple[int, int] | None = None  # of the clips, instead of their own: to try the bench itself

    def __post_init__(self) -> None:
        if not self.parts or set(self.parts) - set(PARTS):
            raise ConfigError(f"bench capture: no such part; there are {', '.join(PARTS)}")
        if min(self.rounds, self.cameras) < 1 or self.seconds < 2 or self.reconnects < 0:
            raise ConfigError("bench capture: needs a round, a camera and two seconds")


def measure(settings: Settings, progress: Callable[[str], None]) -> dict[str, Any]:
    """The whole report, JSON-ready. `progress` is told in one line what was measured.

    Raises:
        StreamQAError: a process failed.
    """
    where, figures, parts = machine(), list[Figure](), dict[str, Any]()
    with ExitStack() as stack:
        folder = settings.clips
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamqa-bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        for part, of in _MEASURES.items():
            if part in settings.parts:
                found, parts[part] = of(settings, folder, progress)
                figures += found
    asked = asdict(settings) | {"clips": None if settings.clips is None else str(settings.clips)}
    return report(where, asked, figures, **parts)


def _recorded(
    settings: Settings, folder: Path, progress: Callable[[str], None]
) -> tuple[list[Figure], dict[str, Any]]:
    clips = _clips(RECORDED, settings, folder, progress)
    rows, imports = capture_recorded.measure(clips, settings.rounds, progress)
    more = {
        "quoted": "CPU of our process from opening to closing the clip, of all the CPU of the baseline's process",
        "imports_cpu_s": round(median(imports), 4),
        "rows": [capture_recorded.as_json(row) for row in rows],
    }
    return capture_recorded.figures(rows), more


def _live(
    settings: Settings, folder: Path, progress: Callable[[str], None]
) -> tuple[list[Figure], dict[str, Any]]:
    plans = _plans(LIVE, 1, settings, folder, progress)
    rows = [capture_live.measure(plan, progress) for plan in plans]
    figures = [figure for row in rows for figure in capture_live.cost_figures(row)]
    return figures, {"rows": [capture_live.as_json(row) for row in rows]}


def _cameras(
    settings: Settings, folder: Path, progress: Callable[[str], None]
) -> tuple[list[Figure], dict[str, Any]]:
    (plan,) = _plans([_CAMERAS_CLIP], settings.cameras, settings, folder, progress)
    row = capture_live.measure(plan, progress)
    return capture_live.late_figures(row), {"rows": [capture_live.as_json(row)]}


def _outages(
    settings: Settings, folder: Path, progress: Callable[[str], None]
) -> tuple[list[Figure], dict[str, Any]]:
    (clip,) = _clips([_CAMERAS_CLIP], settings, folder, progress).values()
    progress(f"each outage {settings.rounds} times, {settings.reconnects} reconnects")
    outages, growth = capture_outage.measure(clip, settings.rounds, settings.reconnects)
    return capture_outage.figures(outages, growth), capture_outage.as_json(outages, growth)


_MEASURES = {"recorded": _recorded, "live": _live, "cameras": _cameras, "outages": _outages}


def _plans(
    kinds: Sequence[ClipKind], cameras: int, settings: Settings, folder: Path, progress: Callable[[str], None]
) -> list[capture_live.Plan]:
    clips = _clips(kinds, settings, folder, progress)
    return [
        capture_live.Plan(kind, clip, cameras, settings.seconds, settings.rounds)
        for kind, clip in clips.items()
    ]


def _clips(
    kinds: Sequence[ClipKind], settings: Settings, folder: Path, progress: Callable[[str], None]
) -> dict[ClipKind, Path]:
    clips = {}
    for kind in kinds:
        progress(f"making a clip: {kind.label}, {settings.seconds:g} s")
        made = kind if settings.size is None else kind.scaled(settings.size)
        clips[made] = make_clip(folder, made, settings.seconds)
    return clips


def markdown(result: dict[str, Any]) -> str:
    """A report as the table of the README."""
    where = result["machine"]
    parts = " ".join(f"--part {part}" for part in result["settings"]["parts"])
    lines = [
        f"{where['processor']}, {where['cores']} cores, load {where['load_average']:g},"
        f" `streamqa bench capture {parts}`, medians of {result['settings']['rounds']} rounds:",
    ]
    if "recorded" in result:
        lines += ["", *_recorded_table(result["recorded"]["rows"])]
    seen = [row for part in ("live", "cameras") if part in result for row in result[part]["rows"]]
    if seen:
        lines += ["", *_seen_table(seen)]
    if "outages" in result:
        lines += ["", *_outage_table(result["figures"])]
    return "\n".join(lines)


def _recorded_table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from _head(
        f"A frame/s of a recording | CPU s | {rows[0]['baseline']} | ratio | with imports | exact"
    )
    for row in rows:
        cpu, exact = row["cpu_s"], row["exact"]
        equal = exact["rgb_equal"] if exact["luma_equal"] is None else exact["luma_equal"]
        yield (
            f"| {row['label']} | {median(cpu['ours']):.2f} | {median(cpu['baseline']):.2f} | {row['ratio']:.2f}"
            f" | {row['ratio_with_imports']:.2f} | {equal} of {exact['due']} |"
        )


def _seen_table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from _head(
        f"A frame/s of cameras | of {rows[0]['baseline']} | of ffmpeg watching | cores, ours | cores, cameras"
        " | camera to hand-over, ms p50, p99, max | late | ticks missed"
    )
    for row in rows:
        late, count = row["late_ms"], row["cameras"]
        beside = "–" if row["ratio_beside"] is None else f"{row['ratio_beside']:.2f}"
        yield (
            f"| {count} × {row['label']} | {row['ratio']:.2f} | {beside} | {row['cores']:.2f}"
            f" | {row['camera_cores']:.2f}"
            f" | {late['p50']:.0f}, {late['p99']:.0f}, {late['max']:.0f}"
            f" | {row['late_frames']} of {row['frames']} | {row['missed']} |"
        )


def _outage_table(figures: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from _head("Outages | measured | to reach")
    for row in figures:
        if "reconnects" in row["name"] or row["name"].startswith("camera "):
            yield f"| {row['name']} | {row['value']:.3g} {row['unit']} | {row['target'] or '–'} |"


def _head(heading: str) -> Iterator[str]:
    yield f"| {heading} |"
    yield "|" + "---|" * (heading.count("|") + 1)
