"""A measured number with its rounds, its target, and whether that was reached. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

from streamqa.bench.quick import Machine
from streamqa.bench.stats import spread


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure is to reach."""

    sense: Literal[">=", "<="]
    value: float

    def met_by(self, value: float) -> bool:
        """Whether `value` reaches it."""
        return value >= self.value if self.sense == ">=" else value <= self.value

    def __str__(self) -> str:
        return f"{self.sense} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Value:
    """What one round gave."""

    name: str
    unit: str
    value: float
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number; its value is the median of its rounds."""

    name: str
    unit: str
    rounds: tuple[float, ...]
    target: Target | None = None  # None: none was set, the number is for the reader

    def __post_init__(self) -> None:
        if not self.rounds:
            raise ValueError(f"figure {self.name!r} was not measured")

    @classmethod
    def over(cls, values: Sequence[Value]) -> Figure:
        """The same value of every round.

        Raises:
            ValueError: they are not of one name.
        """
        names = {value.name for value in values}
        if len(names) != 1:
            raise ValueError(f"one figure has one name, got {sorted(names)}")
        first = values[0]
        return cls(first.name, first.unit, tuple(value.value for value in values), first.target)

    @property
    def value(self) -> float:
        """The median."""
        return median(self.rounds)

    @property
    def reached(self) -> bool | None:
        """Whether the median reaches the target; None without one."""
        return None if self.target is None else self.target.met_by(self.value)

    def row(self) -> dict[str, Any]:
        """JSON-ready; `spread` is the interquartile range, as a part of the median."""
        return {
            "name": self.name,
            "unit": self.unit,
            "value": round(self.value, 4),
            "spread": round(abs(spread(self.rounds)), 4) if self.value else 0.0,
            "rounds": [round(value, 4) for value in self.rounds],
            "target": None if self.target is None else str(self.target),
            "reached": self.reached,
        }


def report(
    where: Machine, settings: dict[str, Any], figures: Sequence[Figure], **more: Any
) -> dict[str, Any]:
    """A whole result as one JSON-ready object."""
    return {
        "machine": asdict(where),
        "settings": settings,
        "figures": [figure.row() for figure in figures],
        **more,
    }


def table(result: dict[str, Any]) -> str:
    """A report for a person to read."""
    where = result["machine"]
    heading = f"{where['processor']}, {where['cores']} cores, Python {where['python']}, load {where['load_average']}"
    return "\n".join([heading, *map(_line, result["figures"])])


def _line(row: dict[str, Any]) -> str:
    shown = f"{row['value']:10.3f} {row['unit']:<12} {row['name']:<56} spread {row['spread']:4.0%}"
    if row["target"] is None:
        return shown
    return f"{shown}  target {row['target']}: {'reached' if row['reached'] else 'MISSED'}"
