"""The arithmetic of measurements. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, median


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line through measured points."""

    slope: float
    error: float  # one standard error of the slope
    start: float  # its value at 0


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of `values` do not exceed, between two of them in proportion.

    Raises:
        ValueError: no values, or a share outside of 0 to 1.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError(f"a quantile needs values and a share of 0 to 1, got {len(values)} and {share}")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def spread(values: Sequence[float]) -> float:
    """From the least to the greatest, as a part of the median; 0 where the median is 0."""
    middle = median(values)
    return (max(values) - min(values)) / abs(middle) if middle else 0.0


def fit(xs: Sequence[float], ys: Sequence[float]) -> Line:
    """The line of least squares.

    Raises:
        ValueError: fewer than two different `xs`, or not as many `ys`.
    """
    if len(xs) != len(ys) or len(set(xs)) < 2:
        raise ValueError("a line needs two different places at least, and a value for each")
    x_mean, y_mean = fmean(xs), fmean(ys)
    width = sum((x - x_mean) ** 2 for x in xs)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / width
    start = y_mean - slope * x_mean
    rest = sum((y - start - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))
    error = sqrt(rest / (len(xs) - 2) / width) if len(xs) > 2 else 0.0
    return Line(slope, error, start)
