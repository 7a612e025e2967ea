"""Pure arithmetic of accuracy tables: cases to scores, floors for tests, points and boxes to shares."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from streamqa.types import Box, Point, Value

Corners: TypeAlias = tuple[
    float, float, float, float
]  # x_min, y_min, x_max, y_max in units of width and height
Shares: TypeAlias = dict[str, tuple[float, int]]  # what -> (share that is right, of how many)

MOST_TRUTHS = 8  # a type with more true answers than that (captions) has no recall by answer
SURE_FLOOR = 0.97  # nothing is promised above: a measured 100 % of some hundred scenes shows no more
YES, NO = "Yes", "No"
OVERLAP = 0.5  # intersection over union from which a box counts as found


@dataclass(frozen=True, slots=True)
class Case:
    """One question about one picture: what is true, and what was said (None: nothing usable)."""

    type: str
    truth: Value
    said: Value


@dataclass(frozen=True, slots=True)
class Score:
    """The cases of one type. All numbers but `n` are shares from 0 to 1."""

    n: int
    accuracy: float
    majority: float  # what always giving the commonest true answer would reach
    recall: Shares  # by true answer; empty where there are too many

    def as_json(self) -> dict[str, Any]:
        """Plain numbers, rounded to a hundredth of a percent."""
        plain: dict[str, Any] = {
            "n": self.n,
            "accuracy": round(self.accuracy, 4),
            "majority": round(self.majority, 4),
        }
        if self.recall:
            plain["recall"] = shares_as_json(self.recall)
        return plain


def score(cases: Sequence[Case]) -> Score:
    """Score cases of one type.

    Raises:
        ValueError: no case.
    """
    if not cases:
        raise ValueError("nothing to score")
    by_truth: dict[str, list[bool]] = defaultdict(list)
    for case in cases:
        by_truth[label(case.truth)].append(_right(case))
    recall = {truth: (_share(rights), len(rights)) for truth, rights in sorted(by_truth.items())}
    return Score(
        n=len(cases),
        accuracy=_share([_right(case) for case in cases]),
        majority=max(len(rights) for rights in by_truth.values()) / len(cases),
        recall=recall if len(recall) <= MOST_TRUTHS else {},
    )


def scores(cases: Iterable[Case]) -> dict[str, Score]:
    """Score by type, in the order of their names."""
    by_type: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        by_type[case.type].append(case)
    return {name: score(of_type) for name, of_type in sorted(by_type.items())}


def label(truth: Value) -> str:
    """A true answer as the tables name it."""
    if isinstance(truth, bool):
        return YES if truth else NO
    return str(truth)


def floor(accuracy: float, scenes: int) -> float:
    """The least accuracy that `scenes` fresh scenes show, given what was measured on many: three standard errors.

    Scenes and not questions, since questions about one scene go wrong together. Near 100 % the normal
    distribution promises too much, hence the bound.
    """
    return min(SURE_FLOOR, accuracy - 3 * math.sqrt(accuracy * (1 - accuracy) / scenes))


def shares_as_json(shares: Shares) -> dict[str, list[float | int]]:
    """Plain lists, rounded as scores are."""
    return {name: [round(share, 4), n] for name, (share, n) in shares.items()}


def overlap(one: Corners, other: Corners) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (_area(one) + _area(other) - width * height)


def places(kind: str, wanted: Sequence[Corners], said: Value, boxed: bool) -> Iterable[tuple[str, bool]]:
    """How well the points, or boxes, said for all things of a kind fit: (what, right) by thing, and their number."""
    found = said if isinstance(said, tuple) else ()
    task = f"{kind}, {'boxes' if boxed else 'points'}"
    for thing in wanted:
        yield task, any(_hits(thing, place) for place in found)
    yield f"{task}, how many", said is not None and len(found) == len(wanted)


def _hits(thing: Corners, place: Point | Box) -> bool:
    if isinstance(place, Box):
        return overlap(thing, (place.x_min, place.y_min, place.x_max, place.y_max)) > OVERLAP
    return thing[0] <= place.x <= thing[2] and thing[1] <= place.y <= thing[3]


def tally(found: Iterable[tuple[str, bool]]) -> Shares:
    """(what, right) to shares by what."""
    rights: dict[str, list[bool]] = defaultdict(list)
    for what, right in found:
        rights[what].append(right)
    return {what: (_share(r), len(r)) for what, r in sorted(rights.items())}


def _right(case: Case) -> bool:
    # True == 1 in Python, but "yes" is no answer to "how many"
    return type(case.said) is type(case.truth) and case.said == case.truth


def _share(rights: Sequence[bool]) -> float:
    return sum(rights) / len(rights)


def _area(box: Corners) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
