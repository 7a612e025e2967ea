"""The arithmetic of answers beside the truth: shares with an interval by scenes. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from streamqa.evaluate.calibration import bins, calibration_error

_Z = 1.96  # standard deviations of a 95 % interval


@dataclass(frozen=True, slots=True)
class Case:
    """One reading of a closed question beside what is true."""

    question: str
    scene: str  # what is asked about one scene goes wrong together
    is_right: bool
    confidence: float | None  # None: it was off the list, so it has none; it counts as wrong
    brier: float | None


@dataclass(frozen=True, slots=True)
class Share:
    """How many are right, and where that share lies with 95 % certainty."""

    n: int
    scenes: int
    value: float
    low: float
    high: float


def share(rights: Sequence[tuple[str, bool]]) -> Share:
    """The share of right ones of (scene, right); its interval is Wilson's, for as many cases as they are worth.

    Cases of one scene go wrong together, so that they are worth less than as many by themselves: as much less as
    the scenes' own shares scatter; where all are right, or all wrong, one for each scene.

    Raises:
        ValueError: no case.
    """
    if not rights:
        raise ValueError("no case, no share")
    by_scene: dict[str, list[bool]] = defaultdict(list)
    for scene, right in rights:
        by_scene[scene].append(right)
    n = len(rights)
    value = sum(right for _, right in rights) / n
    scatter = math.fsum((sum(of_one) - value * len(of_one)) ** 2 for of_one in by_scene.values())
    worth = float(len(by_scene)) if scatter == 0 else min(n, n * n * value * (1 - value) / scatter)
    low, high = wilson(value, worth)
    return Share(n, len(by_scene), value, low, high)


def wilson(value: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a share `value` of `n` independent cases."""
    square = _Z * _Z / n
    middle = (value + square / 2) / (1 + square)
    half = _Z * math.sqrt(value * (1 - value) / n + square / (4 * n)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def summary(cases: Sequence[Case]) -> dict[str, Any]:
    """Everything about some cases, JSON-ready. Raises ValueError: there are none."""
    found = share([(case.scene, case.is_right) for case in cases])
    sure = [(case.confidence, case.is_right) for case in cases if case.confidence is not None]
    scores = [case.brier for case in cases if case.brier is not None]
    error = calibration_error(bins(sure))
    return {
        "n": found.n,
        "scenes": found.scenes,
        "right": round(found.value, 5),
        "low": round(found.low, 5),
        "high": round(found.high, 5),
        "off_list": len(cases) - len(sure),
        "ece": None if error is None else round(error, 5),
        "brier": round(math.fsum(scores) / len(scores), 5) if scores else None,
    }
