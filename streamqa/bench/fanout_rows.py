"""What the rounds of `bench fanout` come to: rows with medians, ratios of the same round, targets. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from streamqa.bench.stats import paired_ratio

BASELINE = "websockets.broadcast"


@dataclass(frozen=True, slots=True)
class Run:
    """One server, once."""

    deliveries_per_cpu_s: float  # of user and system time of the server's process
    p50_ms: float | None  # from publishing to the client's read
    p99_ms: float | None
    lost: int
    kib_per_subscriber: float


@dataclass(frozen=True, slots=True)
class Row:
    """One server at one size: medians of its rounds."""

    name: str
    subscribers: int
    messages_per_s: float
    deliveries_per_cpu_s: float
    ratio: float  # to the baseline of the same round, median
    p50_ms: float | None
    p99_ms: float | None
    lost: int  # of all rounds
    kib_per_subscriber: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, rounded as far as it means something."""
        return {
            name: float(f"{value:.4g}") if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def rows(subscribers: int, per_s: float, rounds: Sequence[Mapping[str, Run]]) -> list[Row]:
    """A row for each server; every round has one run of each, the baseline among them."""
    base = [one[BASELINE].deliveries_per_cpu_s for one in rounds]
    found = []
    for name in rounds[0]:
        runs = [one[name] for one in rounds]
        rates = [run.deliveries_per_cpu_s for run in runs]
        found.append(
            Row(
                name,
                subscribers,
                per_s,
                median(rates),
                paired_ratio(rates, base),
                _middle([run.p50_ms for run in runs]),
                _middle([run.p99_ms for run in runs]),
                sum(run.lost for run in runs),
                median(run.kib_per_subscriber for run in runs),
            )
        )
    return found


def markdown(result: Mapping[str, Any]) -> str:
    """A result as tables for people."""
    lines = [
        "| subscribers, messages/s | server | deliveries/CPU-s | × broadcast | p50, p99 ms | lost | KiB each |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        late = "–" if row["p50_ms"] is None else f"{row['p50_ms']:.1f}, {row['p99_ms']:.1f}"
        lines.append(
            f"| {row['subscribers']}, {row['messages_per_s']:g} | {row['name']} | "
            f"{row['deliveries_per_cpu_s']:,.0f} | {row['ratio']:.2f} | {late} | {row['lost']} | "
            f"{row['kib_per_subscriber']:.1f} |"
        )
    lines += [f"\n{row['name']} at {row['subscribers']}: not run, {row['why']}" for row in result["not_run"]]
    if result["figures"]:
        lines += ["", "| figure | measured | to reach |", "|---|---|---|"]
        for figure in result["figures"]:
            lines.append(
                f"| {figure['name']} | {figure['value']:.4g} {figure['unit']} | {figure['target'] or '–'} |"
            )
    return "\n".join(lines)


def _middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
