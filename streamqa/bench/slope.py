"""A straight line through measured points. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line through measured points."""

    slope: float
    error: float  # one standard error of the slope
    start: float  # its value at 0


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
