"""`streamqa bench pipeline`: what the line costs beyond the model, with the model replaced by a fixed cost.

Each round runs, one after the other: the line with more frames than the model can take; the bare engine on batches
of the same sizes; the line at half load; and the line at no cost at all over recordings, which is its own ceiling.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from streamqa.bench.clips import scene_clip
from streamqa.bench.figures import Figure, Target, Value, report
from streamqa.bench.fixed import Call, Cost, FixedCostModel
from streamqa.bench.latency import Busy
from streamqa.bench.line import LineRun, LineSpec, Mark, run_line
from streamqa.bench.quick import machine
from streamqa.bench.stats import percentile
from streamqa.capture.buffer import Choose
from streamqa.capture.source import SourceSpec
from streamqa.engine.engine import Engine
from streamqa.errors import ConfigError, StreamQAError
from streamqa.metrics import Metrics
from streamqa.types import NS_PER_S, Frame, Question, utc_now

_FPS = (15, 60)  # of the cameras: a usual one, and what it may take to keep the model busy
_MS = 1e6
_PERCENT, _P50, _P99 = Target(">=", 95.0), Target("<=", 10.0), Target("<=", 40.0)


@dataclass(frozen=True, slots=True)
class Settings:
    """What `bench pipeline` is asked for."""

    cameras: int = 8
    questions: int = 4
    cost_ms: float = 20.0  # of the model, per frame
    batch_cost_ms: float = 0.0  # and per batch
    seconds: float = 8.0  # of each measured run
    rounds: int = 3
    warm_up_s: float = 1.0  # before each, once the subscriber is connected
    clip_s: float = 10.0  # of the clip that every camera shows again and again

    def __post_init__(self) -> None:
        if min(self.cameras, self.questions, self.rounds) < 1 or self.seconds <= 0 or self.cost_ms <= 0:
            raise ConfigError("bench pipeline: cameras, questions, rounds, seconds and cost must be above 0")
        if self.cameras * _FPS[1] * self.cost_ms < 1200:
            raise ConfigError(
                f"bench pipeline: {self.cameras} cameras cannot keep a model of {self.cost_ms:g} ms busy; "
                "raise --cameras or --cost"
            )

    @property
    def cost(self) -> Cost:
        """The model's."""
        return Cost(self.cost_ms / 1e3, self.batch_cost_ms / 1e3)

    @property
    def fps(self) -> int:
        """Of the cameras: what gives the model twice of what it can take."""
        return min(_FPS[1], max(_FPS[0], round(2000 / (self.cameras * self.cost_ms))))

    def every_ns(self, load: float) -> int:
        """The questions' period at which the frames of all cameras keep the model busy for `load` of its time.

        Whole microseconds, as the times on the wire.
        """
        return round(self.cameras * self.cost_ms * 1000 / load) * 1000


def measure(settings: Settings, progress: Callable[[str], None]) -> dict[str, Any]:
    """The whole report, JSON-ready. `progress` is told in one line what was measured.

    Raises:
        StreamQAError: a run failed, lost an answer or left a tick unaccounted.
    """
    where = machine()
    with tempfile.TemporaryDirectory(prefix="streamqa-bench-") as folder:
        progress("making a clip")
        clip = scene_clip(Path(folder) / "clip.mp4", settings.clip_s, settings.fps)
        rounds = [_round(settings, clip, number, progress) for number in range(1, settings.rounds + 1)]
    return report(where, asdict(settings), [Figure.over(same) for same in zip(*rounds, strict=True)])


def _round(settings: Settings, clip: Path, number: int, progress: Callable[[str], None]) -> list[Value]:
    busy_every_ns, half_every_ns = settings.every_ns(2.0), settings.every_ns(0.5)
    busy = run_line(_live(settings, clip, busy_every_ns))
    check(busy)
    line = whole_calls(busy.calls, warm_ns(busy, settings))
    line_fps = rate(line)
    bare_fps = typical_rate(bare(settings, [call.frames for call in line]))
    percent = 100 * line_fps / bare_fps
    progress(
        f"round {number}: busy {line_fps:.1f} frames/s, {percent:.1f} % of the bare engine's {bare_fps:.1f}"
    )
    half = run_line(_live(settings, clip, half_every_ns))
    check(half)
    late = late_ms(half, warm_ns(half, settings))
    progress(
        f"round {number}: half load, p50 {percentile(late, 0.5):.1f} ms, p99 {percentile(late, 0.99):.1f} ms"
    )
    free_every_ns = 900 // settings.fps * round(_MS)  # shorter than a frame: each is asked
    free = run_line(_recorded(settings, clip, free_every_ns))
    check(free, full_speed=True)
    first, last = steady(free.marks)
    free_fps = (last.frames - first.frames) * NS_PER_S / (last.at_ns - first.at_ns)
    progress(f"round {number}: at no cost {free_fps:.0f} frames/s")
    return [
        Value("busy: frames/s of the line", "frames/s", line_fps),
        Value("busy: frames/s of the bare engine", "frames/s", bare_fps),
        Value("busy: the line, of the bare engine", "percent", percent, _PERCENT),
        *_latencies("busy", late_ms(busy, warm_ns(busy, settings)), (None, None)),
        *_counts("busy", busy),
        *_latencies("half load", late, (_P50, _P99)),
        *_counts("half load", half),
        Value("no cost: the line's own ceiling, decoding included", "frames/s", free_fps),
        Value(
            "no cost: CPU per frame", "ms", (last.cpu_s - first.cpu_s) * 1e3 / (last.frames - first.frames)
        ),
    ]


def _latencies(load: str, late: Sequence[float], targets: tuple[Target | None, Target | None]) -> list[Value]:
    name = f"{load}: capture to subscriber beyond the model"
    return [
        Value(f"{name}, p50", "ms", percentile(late, 0.5), targets[0]),
        Value(f"{name}, p95", "ms", percentile(late, 0.95)),
        Value(f"{name}, p99", "ms", percentile(late, 0.99), targets[1]),
    ]


def _counts(load: str, run: LineRun) -> list[Value]:
    return [
        Value(f"{load}: frames kept", "frames", run.kept),
        Value(f"{load}: frames replaced by newer ones", "frames", run.dropped),
        Value(f"{load}: answers", "answers", run.answers),
        Value(f"{load}: ticks skipped", "ticks", sum(answer.skipped for answer in run.seen)),
        Value(f"{load}: memory before", "MiB", run.rss_before / 2**20),
        Value(f"{load}: memory after", "MiB", run.rss_after / 2**20),
    ]


def questions(count: int, every_ns: int) -> tuple[Question, ...]:
    """So many, closed and free ones in turn, all with one period."""
    return tuple(
        Question(f"q{n}", f"Is there thing {n}?", "text" if n % 2 else "yes_no", every_ns)
        for n in range(count)
    )


def _live(settings: Settings, clip: Path, every_ns: int) -> LineSpec:
    cameras = tuple(SourceSpec(f"cam{n}", str(clip), "realtime", loop=True) for n in range(settings.cameras))
    asked = questions(settings.questions, every_ns)
    return LineSpec(cameras, asked, settings.cost, settings.warm_up_s + settings.seconds)


def _recorded(settings: Settings, clip: Path, every_ns: int) -> LineSpec:
    clips = tuple(SourceSpec(f"clip{n}", str(clip)) for n in range(settings.cameras))
    return LineSpec(clips, questions(settings.questions, every_ns), Cost(0.0), None, mark_every=20)


def check(run: LineRun, full_speed: bool = False) -> None:
    """What must hold before a number means anything; at full speed a subscriber may fall behind.

    Raises:
        StreamQAError: a tick is unaccounted, or answers did not reach the subscriber.
    """
    if run.unaccounted or not run.answers:
        raise StreamQAError(
            f"bench: of the ticks of {run.answers} answers {run.unaccounted} were neither answered nor skipped"
        )
    if not run.seen or (len(run.seen) < run.answers and not full_speed):
        raise StreamQAError(
            f"bench: the subscriber got {len(run.seen)} of {run.answers} answers, gaps named {run.missed} records"
        )


def whole_calls(calls: Sequence[Call], after_ns: int) -> list[Call]:
    """The calls that began after `after_ns`.

    Raises:
        StreamQAError: fewer than two, which give no rate.
    """
    found = [call for call in calls if call.begin_ns >= after_ns]
    if len(found) < 2:
        raise StreamQAError("bench: too few batches to measure; give it more --seconds")
    return found


def rate(calls: Sequence[Call]) -> float:
    """Frames per second, from the end of the first call to the end of the last."""
    return sum(call.frames for call in calls[1:]) * NS_PER_S / (calls[-1].end_ns - calls[0].end_ns)


def typical_rate(calls: Sequence[Call]) -> float:
    """Frames per second if every batch took as long, from end to end, as the median one of its size.

    So for the bare engine, which is what the line is held against: what other processes take from its sleeping
    model would flatter the line. (Measured on two cores with a load of eight: 171 frames/s, typically 189.)
    """
    cycles: dict[int, list[int]] = {}
    for before, call in pairwise(calls):
        cycles.setdefault(call.frames, []).append(call.end_ns - before.end_ns)
    took_ns = sum(len(cycle) * median(cycle) for cycle in cycles.values())
    return sum(call.frames for call in calls[1:]) * NS_PER_S / took_ns


def steady(marks: Sequence[Mark]) -> tuple[Mark, Mark]:
    """Where to measure between: after the first fifth of the frames (start-up), and at the end.

    Where all came in one go, it is after the last mark before: start-up is in it, for want of more frames.

    Raises:
        StreamQAError: no frames.
    """
    early = [mark for mark in marks if mark.frames < marks[-1].frames]
    if not early:
        raise StreamQAError("bench: no frames to measure between")
    return next((mark for mark in early if mark.frames >= marks[-1].frames / 5), early[-1]), marks[-1]


def warm_ns(run: LineRun, settings: Settings) -> int:
    """When the warm-up was over, on the monotonic clock."""
    return run.hello_ns + round(settings.warm_up_s * NS_PER_S)


def late_ms(run: LineRun, from_ns: int) -> list[float]:
    """Milliseconds from decoded frame to parsed answer, beyond the model, of each frame decoded after `from_ns`."""
    busy = Busy(run.calls, run.utc_offset_ns)
    return [busy.beyond_ns(a) / _MS for a in run.seen if a.seen_ns - a.total_ms * _MS >= from_ns]


class _Batches:
    """Frames for the bare engine: prepared, in batches of given sizes, one tick further each time."""

    def __init__(self, sizes: Sequence[int], every_ns: int) -> None:
        self._sizes = list(reversed(sizes))
        self._every_ns = every_ns
        self._tick = 0
        self._image = np.zeros((360, 640, 3), np.uint8)

    def take(self, choose: Choose, timeout_s: float) -> list[Frame]:
        """The next batch."""
        if not self._sizes:
            return []
        count, self._tick = self._sizes.pop(), self._tick + 1
        now, t_ns = utc_now(), self._tick * self._every_ns
        return [
            Frame(f"cam{n}", self._tick, t_ns, now, "arrival", time.monotonic_ns(), self._image)
            for n in range(count)
        ]

    def wake(self) -> None:
        """`take` never waits."""

    @property
    def exhausted(self) -> bool:
        """Whether all are taken."""
        return not self._sizes


def bare(settings: Settings, sizes: Sequence[int]) -> list[Call]:
    """The engine by itself on batches of these sizes: no capture, no log, no server. Its calls of the model."""
    every_ns = settings.every_ns(2.0)
    model = FixedCostModel(settings.cost)
    asked = questions(settings.questions, every_ns)
    engine = Engine(asked, model, lambda _: None, Metrics())
    engine.run(_Batches(sizes, every_ns), threading.Event())
    return list(model.calls)
