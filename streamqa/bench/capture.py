"""`streamqa bench capture`: what it costs to have a frame per second of recordings, against `ffmpeg`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from streamqa.bench import capture_recorded
from streamqa.bench.capture_clips import RECORDED, ClipKind, make_clip
from streamqa.bench.figures import Figure, report
from streamqa.bench.quick import machine
from streamqa.errors import ConfigError

PARTS = ("recorded",)


@dataclass(frozen=True, slots=True)
class Settings:
    """What `bench capture` is asked for."""

    parts: tuple[str, ...] = PARTS
    seconds: float = 20.0  # of each clip, and of each live run
    rounds: int = 5
    clips: Path | None = None  # where clips are kept from one run to the next; None: nowhere
    size: tuple[int, int] | None = None  # of the clips, instead of their own: to try the bench itself

    def __post_init__(self) -> None:
        if not self.parts or set(self.parts) - set(PARTS):
            raise ConfigError(f"bench capture: no such part; there are {', '.join(PARTS)}")
        if self.rounds < 1 or self.seconds < 2:
            raise ConfigError("bench capture: needs a round, and two seconds")


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
        if "recorded" in settings.parts:
            found, parts["recorded"] = _recorded(settings, folder, progress)
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
        lines += ["", *_recorded_table(result["recorded"])]
    return "\n".join(lines)


def _recorded_table(recorded: dict[str, Any]) -> list[str]:
    rows = recorded["rows"]
    heading = f"A frame/s of a recording | CPU s | {rows[0]['baseline']} | ratio | with imports | exact"
    lines = [f"| {heading} |", "|" + "---|" * (heading.count("|") + 1)]
    for row in rows:
        cpu, exact = row["cpu_s"], row["exact"]
        equal = exact["rgb_equal"] if exact["luma_equal"] is None else exact["luma_equal"]
        lines.append(
            f"| {row['label']} | {median(cpu['ours']):.2f} | {median(cpu['baseline']):.2f} | {row['ratio']:.2f}"
            f" | {row['ratio_with_imports']:.2f} | {equal} of {exact['due']} |"
        )
    return lines
