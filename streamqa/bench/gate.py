"""`streamqa bench gate`: what the change gate saves, and what it gets wrong, on the embedded model's own scenes.

A rendered clip is answered twice over by the real line: every question on every frame, and with the gate. A reading
that was reused and differs from what asking gave is what the gate got wrong; what its own audits found of that is
shown beside it. Other pictures, other rates: a small thing in a large picture moves the measure little.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from streamqa.bench.clips import scene_clip
from streamqa.bench.figures import Figure, report
from streamqa.bench.line import total
from streamqa.bench.quick import machine
from streamqa.capture.source import SourceSpec
from streamqa.config import load_config
from streamqa.errors import ConfigError, StreamQAError
from streamqa.metrics import Metrics
from streamqa.model.base import open_model
from streamqa.pipeline import Parts
from streamqa.recorded import answer_all
from streamqa.sinks.base import Logged
from streamqa.sinks.log import AnswerLog
from streamqa.types import NS_PER_S, Gate, Question

if TYPE_CHECKING:
    from streamqa.model.base import VisionModel

_FPS = 15
_REFRESH_NS, _AUDIT = 30 * NS_PER_S, 0.05  # the settings' own defaults

Place = tuple[str, float]  # question, stream time
Said = tuple[Any, str]  # value and state of a reading


@dataclass(frozen=True, slots=True)
class Settings:
    """What `bench gate` is asked for."""

    thresholds: tuple[float, ...] = (0.01, 0.02, 0.05)
    seconds: float = 60.0  # of each round's clip
    rounds: int = 3  # a scene each

    def __post_init__(self) -> None:
        if self.rounds < 1 or not self.thresholds or not all(0 < t <= 1 for t in self.thresholds):
            raise ConfigError("bench gate: needs a round, and thresholds above 0 and at most 1")


class Run(NamedTuple):
    """One clip, answered."""

    readings: dict[Place, Said]
    reused: frozenset[Place]
    audits: int
    disagreements: int
    took_s: float


class _Readings:
    """A sink that keeps what each frame said."""

    def __init__(self) -> None:
        self.found: dict[Place, Said] = {}
        self.reused: set[Place] = set()

    def write(self, records: Sequence[Logged]) -> None:
        """Keep the answers."""
        for record in records:
            payload = record.payload
            if payload["type"] == "answer":
                place = payload["question"], payload["t_s"]
                self.found[place] = payload["reading"]["value"], payload["reading"]["state"]
                if payload["reused"]:
                    self.reused.add(place)

    def close(self) -> None:
        """Nothing is held."""


def measure(settings: Settings, questions: Path, progress: Callable[[str], None]) -> dict[str, Any]:
    """The whole report, JSON-ready. `questions` is a configuration; `progress` is told what was measured.

    Raises:
        StreamQAError: a run failed.
    """
    where, asked = machine(), load_config(questions).standing()
    rounds: list[tuple[Run, list[Run]]] = []
    with (
        tempfile.TemporaryDirectory(prefix="streamqa-bench-") as folder,
        closing(open_model("tiny")) as model,
    ):
        for number in range(settings.rounds):
            clip = scene_clip(
                Path(folder) / f"{number}.mp4", settings.seconds, _FPS, seed=47_000_001 + number
            )
            plain = _run(model, clip, asked)
            gated = [_run(model, clip, _with_gate(asked, t)) for t in settings.thresholds]
            rounds.append((plain, gated))
            progress(
                f"round {number + 1}: {len(plain.readings)} readings, {plain.took_s:.1f} s without the gate"
            )
    figures: list[Figure] = []
    for index, threshold in enumerate(settings.thresholds):
        figures += gate_figures(threshold, [(plain, gated[index]) for plain, gated in rounds])
    return report(
        where, asdict(settings), figures, note="the embedded model on its own scenes; other pictures differ"
    )


def gate_figures(threshold: float, pairs: Sequence[tuple[Run, Run]]) -> list[Figure]:
    """Of runs without and with a gate of `threshold`, over the same clips."""
    name = f"gate {threshold:g}"
    audited = sum(run.audits for _, run in pairs)
    wrong = sum(run.disagreements for _, run in pairs)
    return [
        Figure(f"{name}: readings reused", "%", tuple(_share(len(run.reused), run) for _, run in pairs)),
        Figure(
            f"{name}: readings that asking would have changed",
            "%",
            tuple(
                _share(sum(run.readings[p] != plain.readings[p] for p in run.reused), run)
                for plain, run in pairs
            ),
        ),
        Figure(
            f"{name}: audits that disagreed, of {audited}", "%", (100 * wrong / audited if audited else 0.0,)
        ),
        Figure(f"{name}: times as fast", "x", tuple(plain.took_s / run.took_s for plain, run in pairs)),
    ]


def _share(count: int, run: Run) -> float:
    return 100 * count / len(run.readings)


def _with_gate(questions: Sequence[Question], threshold: float) -> tuple[Question, ...]:
    gate = Gate(threshold, _REFRESH_NS, _AUDIT)
    return tuple(replace(question, gate=gate) for question in questions)


def _run(model: VisionModel, clip: Path, questions: Sequence[Question]) -> Run:
    kept, metrics = _Readings(), Metrics()
    source = SourceSpec("gate", str(clip))
    started_s = time.monotonic()
    with closing(AnswerLog(":memory:")) as log:
        parts = Parts(tuple(questions), (source,), model, log, (kept,), metrics)
        failures = answer_all(parts, threading.Event())
    if failures:
        raise StreamQAError(f"bench gate: {next(iter(failures.values()))}")
    took_s = time.monotonic() - started_s
    audits, wrong = total(metrics, "gate_audits"), total(metrics, "gate_disagreements")
    return Run(kept.found, frozenset(kept.reused), audits, wrong, took_s)
