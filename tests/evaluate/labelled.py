"""Labelled readings of a yes_no question, one a second, made from the probability of yes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from streamqa.evaluate.trials import Track
from streamqa.types import NS_PER_S, Question, Reading

TRUTHS = {"y": True, "n": False, " ": None}


def person(**fields: Any) -> Question:
    return Question(**{"id": "person", "ask": "Anybody?", "kind": "yes_no", "every_ns": NS_PER_S, **fields})


def reading(yes: float | None) -> Reading:
    """None: off the list."""
    if yes is None:
        return Reading(None, None, "unsure", "off_list")
    return Reading(yes > 0.5, max(yes, 1 - yes), "ok", scores=(("yes", yes), ("no", 1 - yes)))


def track(truths: str, yes: Iterable[float | None], source: str = "a") -> Track:
    """`truths`: y, n, or a blank where no label says."""
    readings = tuple(map(reading, yes))
    times = tuple(n * NS_PER_S for n in range(len(readings)))
    return Track(source, times, readings, tuple(TRUTHS[truth] for truth in truths))


def as_said(saids: Sequence[str], sure: float = 0.9) -> list[float]:
    """`y` and `n` as probabilities of yes."""
    return [sure if said == "y" else 1 - sure for said in saids]
