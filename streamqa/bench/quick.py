"""The figures a user meets first, measured from outside: real processes, wall time, the embedded model.

Each figure is the best of its rounds: other work on the machine can only make a round slower.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from streamqa.errors import StreamQAError

_COMMAND = [sys.executable, "-m", "streamqa.cli.main"]
_CLIP_S = 60.0
_QUESTIONS = (
    ("person", "Is there a person?", "yes_no"),
    ("car", "Is there a car?", "yes_no"),
    ("cars", "How many cars are there?", "number, max: 4"),
    ("light", "Is the light on?", "yes_no"),
    ("fire", "Is something burning?", "yes_no"),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number."""

    name: str
    value: float
    unit: str
    command: str
    rounds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured."""

    processor: str
    cores: int
    python: str
    load_average: float


def machine() -> Machine:
    """This one, now."""
    return Machine(_processor(), os.cpu_count() or 1, platform.python_version(), round(os.getloadavg()[0], 2))


def measure(rounds: int, live_s: float) -> list[Figure]:
    """All figures; `live_s` is how long the live scene is watched, in seconds.

    Raises:
        StreamQAError: a command failed, so there is nothing to measure.
    """
    with tempfile.TemporaryDirectory(prefix="streamqa-bench-") as name:
        folder = Path(name)
        (folder / "1s.yaml").write_text(_config("1s"))
        (folder / "500ms.yaml").write_text(_config("500ms"))
        _run("scene", "gate", "--seed", "30000022", "--seconds", str(_CLIP_S), "-o", str(folder / "clip.mp4"))
        ask = ("ask", str(folder / "clip.mp4"), "--config", str(folder / "1s.yaml"))
        return [
            _figure("--help", "s", "streamqa --help", rounds, min, lambda: _run("--help")[0]),
            _figure("first answer", "s", "streamqa demo", rounds, min, _first_answer_s),
            _figure(
                "60 s clip, 1 frame/s, 5 questions",
                "× real time",
                "streamqa ask CLIP --config 5-QUESTIONS.yaml",
                rounds,
                max,
                lambda: _CLIP_S / _run(*ask)[0],
            ),
            _figure(
                "live scene, 5 questions, 2 Hz asked",
                "Hz answered",
                "streamqa ask scene:gate --config 5-QUESTIONS.yaml --every-answer",
                1,
                max,
                lambda: _live_hz(folder / "500ms.yaml", live_s),
            ),
        ]


def report(figures: list[Figure], where: Machine) -> dict[str, Any]:
    """The result as one JSON-ready object."""
    return {"machine": asdict(where), "figures": [asdict(figure) for figure in figures]}


def _figure(
    name: str, unit: str, command: str, rounds: int, best: Callable[..., float], once: Callable[[], float]
) -> Figure:
    values = tuple(round(once(), 3) for _ in range(rounds))
    return Figure(name, best(values), unit, command, values)


def _config(every: str) -> str:
    lines = [f'  {q}: {{ask: "{ask}", kind: {kind}, every: {every}}}' for q, ask, kind in _QUESTIONS]
    return "model: tiny\nquestions:\n" + "\n".join(lines) + "\n"


def _run(*arguments: str) -> tuple[float, str]:
    """Run a command to its end: seconds, and what it printed."""
    started_s = time.monotonic()
    done = subprocess.run([*_COMMAND, *arguments], capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise StreamQAError(
            f"streamqa {arguments[0]} ended with {done.returncode}: {done.stderr.strip()[-300:]}"
        )
    return time.monotonic() - started_s, done.stdout


def _start(*arguments: str) -> tuple[subprocess.Popen[str], IO[str]]:
    process = subprocess.Popen(
        [*_COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    return process, process.stdout


def _first_answer_s() -> float:
    started_s = time.monotonic()
    demo, output = _start("demo", "--port", "0", "--no-browser")
    try:
        heading, answer = output.readline(), output.readline()
        took_s = time.monotonic() - started_s
    finally:
        _stop(demo)
    if not (heading and answer):
        raise StreamQAError("streamqa demo ended before its first answer; run it by itself to see why")
    return took_s


def _live_hz(config: Path, live_s: float) -> float:
    """Frames answered, each on all questions, per second of stream time, between the first and the last."""
    ask, output = _start("ask", "scene:gate", "--config", str(config), "--every-answer", "--format", "jsonl")
    try:
        answers = [json.loads(output.readline())]
        until_s = time.monotonic() + live_s
        while time.monotonic() < until_s:
            answers.append(json.loads(output.readline()))
    finally:
        _stop(ask)
    return answered_hz(answers)


def answered_hz(answers: Sequence[dict[str, Any]]) -> float:
    """Of the frames on which every question was answered: how many came per second of stream time."""
    by_time = Counter(answer["t_s"] for answer in answers)
    whole = sorted(t_s for t_s, count in by_time.items() if count == len(_QUESTIONS))
    return (len(whole) - 1) / (whole[-1] - whole[0]) if len(whole) > 1 else 0.0


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    if process.stdout is not None:
        process.stdout.close()
    process.wait(30)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
