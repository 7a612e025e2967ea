"""Slopes of measured points. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean, median


def least_squares(xs: Sequence[float], ys: Sequence[float]) -> float:
    """The slope of the line of least squares.

    Raises:
        ValueError: fewer than two different `xs`, or not as many `ys`.
    """
    _check(xs, ys)
    x_mean, y_mean = fmean(xs), fmean(ys)
    rise = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True))
    return rise / sum((x - x_mean) ** 2 for x in xs)


def typical(xs: Sequence[float], ys: Sequence[float]) -> float:
    """The median of the slopes between all pairs of points: what goes on all the time, not what happened once.

    Raises:
        ValueError: as `least_squares`.
    """
    _check(xs, ys)
    pairs = combinations(zip(xs, ys, strict=True), 2)
    return median([(y - y0) / (x - x0) for (x0, y0), (x, y) in pairs if x != x0])


def _check(xs: Sequence[float], ys: Sequence[float]) -> None:
    if len(xs) != len(ys) or len(set(xs)) < 2:
        raise ValueError("a slope needs two different places at least, and a value for each")
