"""A frame per second of cameras: what that costs, and how late the frames are handed over.

A camera process plays a clip by RTSP, another one watches it with the line's capture and without a model. Each
picture shows its number, so it is known from outside when the camera was due to send it: what the frames themselves
say of their times is not believed here. That the camera is late itself is counted against us.

The baseline reads the clip from a file, as with recordings. Receiving is in our figure and not in that one: so
`ffmpeg` watches a camera of the same process at the same time as well, where there is only one to watch.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from streamqa.bench.camera_process import CameraProcess
from streamqa.bench.capture_clips import FPS, ClipKind
from streamqa.bench.capture_recorded import baseline_cpu_s, baseline_name, ffmpeg_command, target
from streamqa.bench.capture_watch import FIRST_FRAME_S, Taken
from streamqa.bench.figures import Figure, Target
from streamqa.bench.processes import run_counted
from streamqa.bench.stats import percentile
from streamqa.errors import StreamQAError
from streamqa.types import NS_PER_S

_START_S = 30.0  # beside what is asked: for the process to start and to answer
_MS = 1e6
_NONE = Target("<=", 0)
_HALF_A_SLIDE_MS = 500.0
_BESIDE = "/cam99"  # the camera that `ffmpeg` watches


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of so many cameras showed."""

    wall_s: float
    cpu_s: float  # of the process that watches
    camera_cpu_s: float
    late_ms: tuple[
        float, ...
    ]  # of each frame, from when its picture was due to be sent to when it was handed over
    handed_ms: tuple[float, ...]  # of each frame, from when it was read
    clocks: tuple[str, ...]  # what the frames' times were taken from
    missed: int  # ticks without a frame that was handed over
    states: tuple[str, ...]  # changes of state: none is right


class Watcher:
    """The process of `capture_watch`, from the side of whoever started it."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "streamqa.bench.capture_watch"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, command: str, takes_s: float) -> dict[str, Any]:
        """Give it a command that takes so long; its answer.

        Raises:
            StreamQAError: it could not do it, has ended, or did not answer in time.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        limit = threading.Timer(takes_s + _START_S, self.process.kill)
        limit.start()
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:
            line = ""
        finally:
            limit.cancel()
        if not line:
            raise StreamQAError(
                f"bench: the process that watches ended at `{command}`; its own words are above"
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise StreamQAError(answer["error"])
        return answer

    def close(self) -> None:
        """Let it end; kill it where it does not."""
        try:
            self.process.communicate(timeout=_START_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


@dataclass(frozen=True, slots=True)
class View:
    """Cameras that are being watched."""

    camera: CameraProcess
    watcher: Watcher
    began_ns: Mapping[str, int]  # of each, when its clip began, on the monotonic clock
    clip_ns: int  # how long the clip is

    def run(self, seconds: float) -> Run:
        """Watch them for so long.

        Raises:
            StreamQAError: a process ended, or a camera was connected anew, so that nothing is known of its times.
        """
        before = self.camera.stats()
        told = self.watcher.ask(f"measure {seconds:g}", seconds)
        after = self.camera.stats()
        if told["reconnects"]:
            raise StreamQAError(f"bench: a camera was connected anew: {'; '.join(told['states'])}")
        taken = [Taken(*frame) for frame in told["frames"]]
        return Run(
            told["wall_s"],
            told["cpu_s"],
            after["cpu_s"] - before["cpu_s"],
            tuple(late_ns(frame, self.began_ns[frame.source], self.clip_ns) / _MS for frame in taken),
            tuple((frame.taken_ns - frame.received_ns) / _MS for frame in taken),
            tuple(sorted({frame.clock for frame in taken})),
            missed(taken, self.began_ns, seconds),
            tuple(told["states"]),
        )


def late_ns(frame: Taken, began_ns: int, clip_ns: int) -> int:
    """From when a frame's picture was due to be sent, in the latest turn of the clip that fits, to its hand-over."""
    return (frame.taken_ns - began_ns - frame.number * NS_PER_S // FPS) % clip_ns


def missed(taken: Sequence[Taken], sources: Collection[str], seconds: float) -> int:
    """Ticks of a second without a frame, between the frames of each source, and of those that gave too few."""
    found = 0
    for source in sources:
        ticks = [frame.t_ns // NS_PER_S for frame in taken if frame.source == source]
        between = sum(after - before - 1 for before, after in pairwise(ticks))
        # A run that begins and ends between two frames holds one fewer than it has seconds.
        found += max(between, int(seconds) - 1 - len(ticks))
    return found


@contextmanager
def viewing(clip: Path, pictures: int, cameras: int, progress: Callable[[str], None]) -> Iterator[View]:
    """So many cameras that play `clip`, of so many pictures, watched; joined one after the other.

    Raises:
        StreamQAError: one gave no picture.
    """
    camera, watcher = CameraProcess(clip), Watcher()
    try:
        camera.start()
        began_ns: dict[str, int] = {}
        for number in range(cameras):
            name = f"cam{number}"
            watcher.ask(f"watch {name} {camera.url(path=f'/{name}')}", FIRST_FRAME_S)
            stats = camera.stats()
            if stats["played"] != number + 1:
                raise StreamQAError(f"bench: {name} was connected more than once")
            began_ns[name] = round(stats["played_s"] * NS_PER_S)
        progress(f"{cameras} {'cameras are' if cameras > 1 else 'camera is'} being watched")
        yield View(camera, watcher, began_ns, pictures * NS_PER_S // FPS)
    except RuntimeError as error:  # the camera's
        raise StreamQAError(f"bench: {error}") from None
    finally:
        watcher.close()
        camera.kill()


@dataclass(frozen=True, slots=True)
class Row:
    """So many cameras that show one clip."""

    kind: ClipKind
    cameras: int
    runs: tuple[Run, ...]
    # CPU seconds that a second of the clip takes the baseline, of each round; and `ffmpeg` watching, too.
    baseline: tuple[float, ...]
    beside: tuple[float, ...] = ()

    @property
    def ours(self) -> tuple[float, ...]:
        """CPU seconds per second and camera, of each round."""
        return tuple(run.cpu_s / run.wall_s / self.cameras for run in self.runs)

    @property
    def ratio(self) -> float:
        """Of the medians."""
        return median(self.ours) / median(self.baseline)

    @property
    def late_ms(self) -> list[float]:
        """Of all frames of all rounds."""
        return [late for run in self.runs for late in run.late_ms]

    @property
    def late_frames(self) -> int:
        """Frames that were handed over later than half a slide after they were due."""
        return sum(late > _HALF_A_SLIDE_MS for late in self.late_ms)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure of one clip."""

    kind: ClipKind
    clip: Path
    cameras: int
    seconds: float  # of the clip, and of each run
    rounds: int
    # Before the first run: how far apart keyframes are and frames are wanted, capture has to see first.
    settle_s: float = 5.0


def measure(plan: Plan, progress: Callable[[str], None]) -> Row:
    """Watch the cameras of a plan, and decode their clip with the baseline, in turns.

    Raises:
        StreamQAError: a process failed, or a camera gave nothing.
    """
    runs, baseline, beside = [], list[float](), list[float]()
    pictures = max(1, round(plan.seconds * FPS))
    with (
        viewing(plan.clip, pictures, plan.cameras, progress) as view,
        ThreadPoolExecutor(1) as other,
    ):
        if plan.settle_s:
            view.run(plan.settle_s)
        for number in range(1, plan.rounds + 1):
            watching = _watching(view.camera.url(path=_BESIDE), plan) if plan.cameras == 1 else None
            waiting = other.submit(run_counted, watching) if watching is not None else None
            runs.append(view.run(plan.seconds))
            beside += [] if waiting is None else [waiting.result().cpu_s / plan.seconds]
            baseline.append(baseline_cpu_s(plan.clip) * FPS / pictures)
            ours = runs[-1].cpu_s / runs[-1].wall_s
            progress(f"round {number}: {ours:.3f} of a core; {len(runs[-1].late_ms)} frames")
    return Row(plan.kind, plan.cameras, tuple(runs), tuple(baseline), tuple(beside))


def _watching(url: str, plan: Plan) -> list[str] | None:
    """`ffmpeg` as one more viewer, for as long as a run."""
    return ffmpeg_command(url, "-rtsp_transport", "tcp", "-t", f"{plan.seconds:g}")


def cost_figures(row: Row) -> list[Figure]:
    """Of a single camera: what it costs."""
    name = f"live, {row.kind.label}"
    ratios = tuple(a / b for a, b in zip(row.ours, row.baseline, strict=True))
    watching = tuple(a / b for a, b in zip(row.ours, row.beside or row.ours, strict=True))
    late = tuple(percentile(run.late_ms, 0.5) for run in row.runs)
    return [
        Figure(f"{name}: of the baseline's CPU", "x", ratios, target(row.kind)),
        *([Figure(f"{name}: of ffmpeg's CPU, watching as well", "x", watching)] if row.beside else []),
        Figure(f"{name}: from camera to hand-over, p50", "ms", late),
    ]


def late_figures(row: Row) -> list[Figure]:
    """Of many cameras: whether the frames are in time."""
    name = f"{row.cameras} cameras, {row.kind.label}"
    return [
        *(
            Figure(
                f"{name}: from camera to hand-over, {word}",
                "ms",
                tuple(percentile(run.late_ms, share) for run in row.runs),
            )
            for word, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
        ),
        Figure(f"{name}: frames later than half a slide", "frames", (row.late_frames,), _NONE),
        Figure(f"{name}: ticks missed", "ticks", (sum(run.missed for run in row.runs),), _NONE),
        Figure(f"{name}: CPU of ours", "cores", tuple(run.cpu_s / run.wall_s for run in row.runs)),
        Figure(
            f"{name}: CPU of the cameras", "cores", tuple(run.camera_cpu_s / run.wall_s for run in row.runs)
        ),
    ]


def as_json(row: Row) -> dict[str, Any]:
    """A row, with all that was measured."""
    late = row.late_ms
    return {
        "clip": row.kind.name,
        "label": row.kind.label,
        "cameras": row.cameras,
        "baseline": baseline_name(),
        "ratio": round(row.ratio, 4),
        "ratio_beside": round(median(row.ours) / median(row.beside), 4) if row.beside else None,
        "cpu_per_camera_s": {
            "ours": [round(s, 4) for s in row.ours],
            "baseline": [round(s, 4) for s in row.baseline],
            "ffmpeg beside": [round(s, 4) for s in row.beside],
        },
        "cores": round(median(run.cpu_s / run.wall_s for run in row.runs), 4),
        "camera_cores": round(median(run.camera_cpu_s / run.wall_s for run in row.runs), 4),
        "frames": len(late),
        "late_ms": {
            "p50": round(percentile(late, 0.5), 2),
            "p99": round(percentile(late, 0.99), 2),
            "max": round(max(late), 2),
        },
        "handed_over_ms_max": round(max(ms for run in row.runs for ms in run.handed_ms), 2),
        "late_frames": row.late_frames,
        "missed": sum(run.missed for run in row.runs),
        "clocks": sorted({clock for run in row.runs for clock in run.clocks}),
        "states": [state for run in row.runs for state in run.states],
    }
