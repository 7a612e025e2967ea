"""`streamqa bench growth`: what one more question, one more camera and ten thousand more frames cost.

The line runs with a model of no cost over recordings of small pictures, so that what is seen is its own work; what
a question costs in a model is measured with the embedded one. A round measures every point once, one after the other,
and a slope is fitted within a round: what else the machine does then moves all points of it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from streamqa.answers import prompt_for
from streamqa.bench.clips import small_clip
from streamqa.bench.figures import Figure, Target, report
from streamqa.bench.fixed import Cost
from streamqa.bench.line import LineSpec, Mark, run_line
from streamqa.bench.pipeline import check, questions, steady
from streamqa.bench.quick import machine
from streamqa.bench.slope import least_squares, typical
from streamqa.bench.stats import slope_percent
from streamqa.capture.source import SourceSpec
from streamqa.errors import ConfigError
from streamqa.types import NS_PER_S, Question, Request

if TYPE_CHECKING:
    from streamqa.model.base import VisionModel

_FPS = 25
_EVERY_NS = NS_PER_S // _FPS
_MIB = 2**20
_QUESTION = Target("<=", 3.0)
# A leak keeps an object of each answer at least (with 4 questions, 4 of a frame), or a buffer of each frame (a small
# picture has 18 kB). Noise stays below: what happens to wait in queues, and how full they ever were. Measured on two
# cores with a load of six to nine, nine runs: -1.5 to 0.5 objects and 0 to 410 bytes a frame.
_FLAT_OBJECTS, _FLAT_BYTES = Target("<=", 2.0), Target("<=", 500.0)


@dataclass(frozen=True, slots=True)
class Settings:
    """What `bench growth` is asked for."""

    questions: tuple[int, ...] = (1, 4, 16)
    cameras: tuple[int, ...] = (1, 4, 16)
    frames: int = 800  # of each camera, at each point
    long_run: int = 20_000  # frames of the run whose memory is watched, the first half to warm up
    long_cameras: int = 4
    model: str = "tiny"  # "" measures no model
    rounds: int = 3

    def __post_init__(self) -> None:
        counts = (*self.questions, *self.cameras, self.rounds, self.long_cameras)
        if min(counts) < 1 or min(self.frames, self.long_run // self.long_cameras) < 5:
            raise ConfigError(
                "bench growth: counts must be above 0, and frames enough for five of each camera"
            )
        if min(len(set(self.questions)), len(set(self.cameras))) < 2:
            raise ConfigError("bench growth: a slope needs two different numbers of questions and of cameras")


class FrameCost(NamedTuple):
    """What a frame cost the line."""

    cpu_ms: float
    wall_ms: float


def measure(settings: Settings, progress: Callable[[str], None]) -> dict[str, Any]:
    """The whole report, JSON-ready. `progress` is told in one line what was measured.

    Raises:
        StreamQAError: a run failed, lost an answer or left a tick unaccounted.
    """
    where = machine()
    with tempfile.TemporaryDirectory(prefix="streamqa-bench-") as name:
        folder = Path(name)
        figures = _line_figures(settings, folder, progress)
        marks = _long_run(settings, folder, progress)
    figures += memory_figures(marks)
    if settings.model:
        figures += _model_figures(settings, progress)
    memory = [{"frames": mark.frames, "rss_bytes": mark.rss_bytes, "objects": mark.objects} for mark in marks]
    return report(where, asdict(settings), figures, memory=memory)


def _line_figures(settings: Settings, folder: Path, progress: Callable[[str], None]) -> list[Figure]:
    rounds = []
    for number in range(1, settings.rounds + 1):
        by_questions = [_cost(folder, 1, count, settings.frames) for count in settings.questions]
        # As many of each: what fills the buffers of many cameras before the first answer must stay a small part.
        by_cameras = [_cost(folder, count, 1, count * settings.frames) for count in settings.cameras]
        rounds.append((by_questions, by_cameras))
        first = by_questions[0]
        progress(
            f"round {number}: a frame costs the line {first.cpu_ms:.2f} ms CPU, {first.wall_ms:.2f} ms in all"
        )
    figures = []
    for index, (what, counts) in enumerate((("question", settings.questions), ("camera", settings.cameras))):
        costs = [chosen[index] for chosen in rounds]
        for place, count in enumerate(counts):
            name = f"line: CPU per frame, {count} {what}{'s' if count > 1 else ''}"
            figures.append(Figure(name, "ms", tuple(cost[place].cpu_ms for cost in costs)))
            name = f"line: wall per frame, {count} {what}{'s' if count > 1 else ''}"
            figures.append(Figure(name, "ms", tuple(cost[place].wall_ms for cost in costs)))
        slopes = tuple(least_squares(counts, [point.cpu_ms for point in cost]) for cost in costs)
        figures.append(Figure(f"line: CPU per frame and added {what}", "ms", slopes))
    return figures


def _cost(folder: Path, cameras: int, asked: int, frames: int) -> FrameCost:
    """The line over `frames` frames in all."""
    run = run_line(_recorded(folder, cameras, asked, frames))
    check(run, full_speed=True)
    return cost_between(*steady(run.marks))


def cost_between(first: Mark, last: Mark) -> FrameCost:
    """Per frame."""
    frames = last.frames - first.frames
    return FrameCost((last.cpu_s - first.cpu_s) * 1e3 / frames, (last.at_ns - first.at_ns) / 1e6 / frames)


def _recorded(folder: Path, cameras: int, asked: int, frames: int) -> LineSpec:
    each = frames // cameras
    clip = folder / f"{each}.mp4"
    if not clip.exists():
        small_clip(clip, each, _FPS)
    clips = tuple(SourceSpec(f"clip{n}", str(clip)) for n in range(cameras))
    mark_every = max(1, frames // 100)
    return LineSpec(clips, questions(asked, _EVERY_NS), Cost(0.0), None, mark_every=mark_every, keep_calls=1)


def _long_run(settings: Settings, folder: Path, progress: Callable[[str], None]) -> tuple[Mark, ...]:
    started_s = time.monotonic()
    run = run_line(_recorded(folder, settings.long_cameras, 4, settings.long_run))
    check(run, full_speed=True)
    progress(f"memory: {run.marks[-1].frames} frames answered in {time.monotonic() - started_s:.1f} s")
    return run.marks


def memory_figures(marks: Sequence[Mark]) -> list[Figure]:
    """Memory over a run, and how it grows in the second half, where what is made once has been made.

    Steps of a few MiB are left there too, each time that queues were fuller than ever before; a leak is growth all
    the time. Hence the typical slope, not that of least squares.
    """
    half = [mark for mark in marks if mark.frames >= marks[-1].frames / 2]
    frames = [mark.frames for mark in half]
    name = "memory: typical growth over the second half"
    return [
        Figure("memory: at the start", "MiB", (marks[0].rss_bytes / _MIB,)),
        Figure("memory: half way", "MiB", (half[0].rss_bytes / _MIB,)),
        Figure("memory: at the end", "MiB", (marks[-1].rss_bytes / _MIB,)),
        Figure(name, "bytes/frame", (typical(frames, [mark.rss_bytes for mark in half]),), _FLAT_BYTES),
        Figure(name, "objects/frame", (typical(frames, [mark.objects for mark in half]),), _FLAT_OBJECTS),
    ]


_THINGS = ("person", "car", "dog", "box", "gate", "light", "fire", "bag", "bike", "cat", "tree", "bus")


def _asked(count: int) -> tuple[Question, ...]:
    """Closed questions of different texts: scored, so that each costs one more sequence in the pass."""
    return tuple(
        Question(
            f"q{n}",
            f"Is there a {_THINGS[n % len(_THINGS)]}{' now' * (n // len(_THINGS))}?",
            "yes_no",
            NS_PER_S,
        )
        for n in range(count)
    )


def _model_figures(settings: Settings, progress: Callable[[str], None]) -> list[Figure]:
    from streamqa.model.base import open_model
    from streamqa.scenes.script import GateScene

    image = GateScene(7).image(12.0)
    model = open_model(settings.model)
    counts = tuple(sorted({1, 2, 4, 8, 16} | set(settings.questions)))
    requests = [Request(image, tuple(prompt_for(question) for question in _asked(count))) for count in counts]
    try:
        _ = [model.answer([request]) for request in requests]  # whatever is made once
        rounds = [[_timed_ms(model, request) for request in requests] for _ in range(5 * settings.rounds)]
    finally:
        model.close()
    slopes = tuple(slope_percent([dict(zip(counts, took, strict=True))]) for took in rounds)
    name = f"{settings.model}: frame with {{}} questions"
    figures = [
        Figure(name.format(count), "ms", tuple(took[place] for took in rounds))
        for place, count in enumerate(counts)
    ]
    figures.append(Figure(f"{settings.model}: an added question, of a frame", "percent", slopes, _QUESTION))
    progress(f"{settings.model}: an added question costs {figures[-1].value:.1f} % of a frame")
    return figures


def _timed_ms(model: VisionModel, request: Request) -> float:
    started_ns = time.perf_counter_ns()
    model.answer([request])
    return (time.perf_counter_ns() - started_ns) / 1e6
