"""Pure arithmetic of calibration: how often decisions are true, how honest their probabilities are, how they flip.

All of it over labelled ticks: those of a question's readings of which a label says what is true.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from streamqa.evaluate.labels import Truth, value_text
from streamqa.types import NS_PER_S, Kind, Value

BINS = 10  # of confidence, equally wide
_NS_PER_H = 3600 * NS_PER_S


class Tick(NamedTuple):
    """What was decided at a labelled tick, and what is true. In order of time within each recording."""

    source: str  # the recording
    truth: Truth
    said: Value  # the decided value; None: unsure
    scores: tuple[tuple[str, float], ...] = ()  # of each option; closed kinds only
    confidence: float | None = None
    turned: bool = False  # another truth than at the labelled tick before it
    flipped: bool = False  # another value than the last one that was decided at a labelled tick
    stretch: int = 0  # ticks of one recording with the same number have one truth, and follow each other

    @property
    def is_right(self) -> bool:
        """Whether the decided value is the true one."""
        said = answer_of(self.said)
        # True == 1 in Python, but "yes" is no answer to "how many"
        return type(said) is type(self.truth) and said == self.truth

    @property
    def top(self) -> tuple[float, bool] | None:
        """How sure of its first choice, and whether that is true; None where no probability is known."""
        if self.scores:
            name, score = max(self.scores, key=lambda one: one[1])
            return score, name == value_text(self.truth)
        return None if self.confidence is None else (self.confidence, self.is_right)


class Bin(NamedTuple):
    """Ticks of about the same confidence."""

    n: int
    confidence: float  # mean
    accuracy: float  # share whose first choice is true


@dataclass(frozen=True, slots=True)
class Figures:
    """How one setting of a question does on labelled ticks. Shares are from 0 to 1; None: not defined there.

    - `precision`, `recall`, `f1`: yes_no: of yes, where it occurs; choice, number: the mean over all values that are
      true or decided somewhere, each against the rest, 0 where one has none; other kinds: none. Unsure is not yes,
      and no value.
    - `accuracy`: share of ticks whose decided value is true; unsure is not.
    - `brier`: mean over ticks of the sum over options of (score - truth)², so from 0 to 2.
    - `ece`: expected calibration error: the mean distance of confidence and accuracy over `bins`, by their sizes.
    - `flips`: changes of the decided value beyond one for each change of the truth; `flips_in_all`: every one.
    """

    n: int
    accuracy: float
    precision: float | None
    recall: float | None
    f1: float | None
    brier: float | None
    ece: float | None
    bins: tuple[Bin, ...]
    flips: int
    flips_in_all: int
    hours: float  # of stream time that the ticks stand for
    unsure: float  # share of ticks without a decided value

    @property
    def flips_per_hour(self) -> float:
        """Those beyond the truth's."""
        return self.flips / self.hours

    @property
    def objective(self) -> float:
        """What a choice is made by: F1 of yes where yes occurs, else accuracy."""
        return self.accuracy if self.f1 is None else self.f1

    def as_json(self) -> dict[str, Any]:
        """Plain numbers, rounded to four digits."""
        return {
            "n": self.n,
            "precision": _rounded(self.precision),
            "recall": _rounded(self.recall),
            "f1": _rounded(self.f1),
            "accuracy": _rounded(self.accuracy),
            "brier": _rounded(self.brier),
            "ece": _rounded(self.ece),
            "flips_per_hour": _rounded(self.flips_per_hour),
            "flips_per_hour_in_all": _rounded(self.flips_in_all / self.hours),
            "unsure": _rounded(self.unsure),
            "bins": [{"n": b.n, "confidence": _rounded(b.confidence), "accuracy": _rounded(b.accuracy)}
                     for b in self.bins],
        }  # fmt: skip


def figures(kind: Kind, ticks: Sequence[Tick], every_ns: int) -> Figures:
    """Score the ticks of one question, which stand for `every_ns` of stream time each.

    Raises:
        ValueError: no tick.
    """
    if not ticks:
        raise ValueError("nothing to score")
    precision, recall, f1 = _retrieval(kind, ticks)
    sized = bins(top for tick in ticks if (top := tick.top) is not None)
    scored = [brier(tick.scores, tick.truth) for tick in ticks if tick.scores]
    return Figures(
        n=len(ticks),
        accuracy=fmean(tick.is_right for tick in ticks),
        precision=precision,
        recall=recall,
        f1=f1,
        brier=fmean(scored) if scored else None,
        ece=calibration_error(sized),
        bins=sized,
        flips=extra_flips(ticks),
        flips_in_all=sum(tick.flipped for tick in ticks),
        hours=len(ticks) * every_ns / _NS_PER_H,
        unsure=fmean(tick.said is None for tick in ticks),
    )


def answer_of(value: Value) -> Value:
    """A decided value as it is held against labels: the mean of numbers counts as the nearest whole one."""
    return math.floor(value + 0.5) if isinstance(value, float) else value


def brier(scores: Iterable[tuple[str, float]], truth: Truth) -> float:
    """Sum over options of (score - 1 where it is true, else 0)², from 0 to 2."""
    true = value_text(truth)
    return math.fsum((score - (name == true)) ** 2 for name, score in scores)


def bins(tops: Iterable[tuple[float, bool]]) -> tuple[Bin, ...]:
    """Confidences, each with whether it was right, in ten bins of equal width; 1 belongs to the last."""
    sorted_in: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for confidence, is_right in tops:
        sorted_in[min(BINS - 1, int(confidence * BINS))].append((confidence, is_right))
    return tuple(
        Bin(len(one), fmean(c for c, _ in one), fmean(r for _, r in one)) if one else Bin(0, 0.0, 0.0)
        for one in sorted_in
    )


def calibration_error(sized: Sequence[Bin]) -> float | None:
    """Expected calibration error: how far accuracy lies from confidence in the mean; None where there is neither."""
    n = sum(one.n for one in sized)
    return math.fsum(one.n * abs(one.accuracy - one.confidence) for one in sized) / n if n else None


def extra_flips(ticks: Iterable[Tick]) -> int:
    """Changes of the decided value beyond the one, in each stretch of one truth, by which it follows that truth."""
    flips: Counter[tuple[str, int]] = Counter()
    owed: Counter[tuple[str, int]] = Counter()
    for tick in ticks:
        flips[tick.source, tick.stretch] += tick.flipped
        owed[tick.source, tick.stretch] += tick.turned
    return sum(max(0, n - owed[where]) for where, n in flips.items())


def _retrieval(kind: Kind, ticks: Sequence[Tick]) -> tuple[float | None, float | None, float | None]:
    """Precision, recall and F1."""
    if kind not in ("yes_no", "choice", "number"):
        return None, None, None
    hits: dict[Value, Counter[str]] = defaultdict(Counter)
    for tick in ticks:
        said = answer_of(tick.said)
        hits[tick.truth]["true"] += 1
        if said is not None:
            hits[said]["said"] += 1
        if said == tick.truth:
            hits[tick.truth]["hit"] += 1
    if kind == "yes_no":
        return _precision(hits[True]), _recall(hits[True]), _f1(hits[True])
    counts = list(hits.values())
    return (
        fmean(_precision(one) or 0.0 for one in counts),
        fmean(_recall(one) or 0.0 for one in counts),
        fmean(_f1(one) or 0.0 for one in counts),
    )


def _precision(counts: Mapping[str, int]) -> float | None:
    return counts["hit"] / counts["said"] if counts["said"] else None


def _recall(counts: Mapping[str, int]) -> float | None:
    return counts["hit"] / counts["true"] if counts["true"] else None


def _f1(counts: Mapping[str, int]) -> float | None:
    if not counts["true"]:
        return None
    return 2 * counts["hit"] / (counts["true"] + counts["said"])


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 4)
