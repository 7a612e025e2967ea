"""The arithmetic of measurements: percentiles, spreads, paired ratios, slopes. No clock, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from streamqa.bench.slope import least_squares


def percentile(values: Sequence[float], share: float) -> float:
    """Linear between the nearest ranks; `share` from 0 to 1.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("no values, no percentile")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def spread(values: Sequence[float]) -> float:
    """Interquartile range over median: what half of the rounds differ by; one bad round is not in it."""
    return (percentile(values, 0.75) - percentile(values, 0.25)) / median(values)


def paired_ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Median of the rounds' own ratios: what slows a whole round down slows both sides of it."""
    return median([a / b for a, b in zip(over, under, strict=True)])


def slope_percent(rounds: Sequence[Mapping[float, float]]) -> float:
    """What a question adds, in percent of the time with the fewest questions: median over paired rounds.

    Args:
        rounds: for each round, number of questions -> seconds; at least two numbers.
    """
    return median([100 * least_squares(list(t), list(t.values())) / t[min(t)] for t in rounds])
