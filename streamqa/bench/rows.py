"""From what was timed to the rows of the result. No clock, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from statistics import median
from typing import TYPE_CHECKING, Any

from streamqa.bench.grid import Cell
from streamqa.bench.products import Product, Work, total_flop
from streamqa.bench.rounds import Settled
from streamqa.bench.stats import paired_ratio, percentile, slope_percent, spread

if TYPE_CHECKING:
    from streamqa.bench.plain import PlainAnswer


@dataclass(slots=True)
class Samples:
    """Everything that was timed, by the number of its round."""

    calls: dict[Cell, dict[int, list[float]]] = field(default_factory=dict)  # seconds of each call of a row
    encodes: dict[int, dict[int, float]] = field(
        default_factory=dict
    )  # baseline, by crops: seconds of a picture
    questions: dict[int, dict[int, PlainAnswer]] = field(default_factory=dict)  # baseline, by question length

    def engine_s(self, cell: Cell, number: int) -> float:
        """Mean seconds of a row's call in a round."""
        calls = self.calls[cell][number]
        return sum(calls) / len(calls)

    def baseline_s(self, cell: Cell, work: Work, number: int, to_last: bool = False) -> float:
        """What the baseline would take for the same call, in a round: every picture, then every question."""
        question = self.questions[cell.question_tokens][number]
        times = question.seconds_to_last if to_last else question.seconds
        return work.frames * self.encodes[cell.crops][number] + work.prompts * times(cell.answer_tokens)


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a row besides its times."""

    work: Work
    products: Sequence[Product]
    ceiling_s: float  # sum of count x best isolated time of its products
    ceiling_linear_s: float  # of the linear layers among them
    more: Mapping[str, Any]  # what goes into the row as it is


def as_row(cell: Cell, settled: Settled, samples: Samples, about: About) -> dict[str, Any]:
    """One row of the result."""
    numbers = settled.attempt.rounds
    call_s = median(settled.attempt.seconds)
    work, flop = about.work, total_flop(about.products)
    calls_ms = [1e3 * seconds for number in numbers for seconds in samples.calls[cell][number]]
    engine = [samples.engine_s(cell, number) for number in numbers]
    baseline = [samples.baseline_s(cell, work, number) for number in numbers]
    to_last = [samples.baseline_s(cell, work, number, to_last=True) for number in numbers]
    return {
        "kind": cell.kind,
        "crops": cell.crops,
        "questions": cell.questions,
        "question_tokens": cell.question_tokens,
        "answer_tokens": cell.answer_tokens,
        "frames_in_flight": cell.frames_in_flight,
        "draft_acceptance": cell.draft_acceptance,
        "frames_per_s": _rounded(work.frames / call_s),
        "answers_per_s": _rounded(work.prompts / call_s),
        "p50_ms": round(percentile(calls_ms, 0.5), 2),
        "p95_ms": round(percentile(calls_ms, 0.95), 2),
        "tflops": _rounded(flop / call_s / 1e12),
        "percent_of_ceiling": round(100 * about.ceiling_s / call_s, 1),
        "percent_of_ceiling_linear": round(100 * about.ceiling_linear_s / call_s, 1),
        # Best against best: what is left of the gap when the machine's other work is taken out of both.
        "percent_of_ceiling_at_best": round(1e5 * about.ceiling_s / min(calls_ms), 1),
        "best_ms": round(min(calls_ms), 2),
        "baseline_ratio": round(paired_ratio(baseline, engine), 2),
        "baseline_ratio_to_last": round(paired_ratio(to_last, engine), 2),
        "baseline_ms": round(1e3 * median(baseline), 2),
        "gflop": round(flop / 1e9, 3),
        "rounds": len(numbers),
        "spread": round(settled.attempt.spread, 4),
        "noisy": settled.attempt.noisy,
        "reruns": settled.reruns,
        **about.more,
    }


def slopes(rows: Sequence[Cell], samples: Samples) -> list[dict[str, Any]]:
    """What an added question costs, of rows that differ in nothing but their number of questions."""
    found = []
    for alike, group in groupby(sorted(rows, key=_order), lambda cell: replace(cell, questions=1)):
        cells = list(group)
        if len(cells) < 2:
            continue
        shared = sorted(set.intersection(*(set(samples.calls[cell]) for cell in cells)))
        paired = [{cell.questions: samples.engine_s(cell, number) for cell in cells} for number in shared]
        each = [slope_percent([times]) for times in paired]
        found.append(
            {
                "kind": alike.kind,
                "crops": alike.crops,
                "answer_tokens": alike.answer_tokens,
                "frames_in_flight": alike.frames_in_flight,
                "draft_acceptance": alike.draft_acceptance,
                "questions": [cell.questions for cell in cells],
                "percent_of_a_frame": round(median(each), 2),
                "spread": round(spread(each), 4) if all(value > 0 for value in each) else None,
            }
        )
    return found


def _order(cell: Cell) -> tuple[Any, ...]:
    alike = replace(cell, questions=1)
    return (
        alike.kind,
        alike.crops,
        alike.question_tokens,
        alike.answer_tokens,
        alike.frames_in_flight,
        alike.draft_acceptance,
        cell.questions,
    )


def _rounded(value: float) -> float:
    """Four digits that count."""
    return float(f"{value:.4g}")
