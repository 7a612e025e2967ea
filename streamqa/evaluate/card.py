"""The model card's tables, in Markdown, from a measurement as `embedded.measure` gives it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from streamqa.evaluate.table import OVERLAP


class Goal(NamedTuple):
    """What the issue that asked for the model wants of it, and what was measured."""

    what: str
    wanted: float
    measured: float

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.measured >= self.wanted


# Without things that no scene has: those are answered No unseen.
_THERE = tuple(
    f"exist_{kind}" for kind in ("person", "car", "dog", "box", "fire", "gate", "lamp", "coloured")
)
# what -> (columns, types by the beginning of their names, share wanted)
_POOLED: dict[str, tuple[tuple[str, ...], tuple[str, ...], float]] = {
    "yes/no existence": (("static_scored",), _THERE, 0.97),
    "colour": (("static",), ("colour",), 0.97),
    "gate": (("static", "static_scored"), ("gate",), 0.97),
    "light": (("static", "static_scored"), ("light",), 0.97),
    "day or night": (("static", "static_scored"), ("daytime",), 0.97),
    "count 0–4": (("static",), ("count_person", "count_car"), 0.95),
    "out of scene: I can't tell.": (("static",), ("outside",), 0.97),
    "unseen wordings, all but descriptions": (("heldout",), ("",), 0.90),
}
_FREE_TYPES = {"gate", "light", "daytime"}  # whose yes/no questions are another type, counted as scored
_RECALLED = {"fallen": "fallen person", "at_gate": "person at the gate"}
_RECALL_WANTED = 0.95


def goals(measured: Mapping[str, Any]) -> list[Goal]:
    """Every goal beside what was measured: pooled over its types, or the lower of Yes- and No-recall."""
    found = [Goal(what, wanted, _pooled(measured, *of)) for what, (*of, wanted) in _POOLED.items()]
    for name, what in _RECALLED.items():
        for column, where in (("static_scored", "scenes"), ("clips", "clips")):
            recall = measured[column].get(name, {}).get("recall", {})
            found += [Goal(f"{what}, {r}-recall, {where}", _RECALL_WANTED, p) for r, (p, _) in recall.items()]
    return found


def _pooled(measured: Mapping[str, Any], columns: Sequence[str], names: Sequence[str]) -> float:
    right = asked = 0.0
    for column in columns:
        for name, entry in measured[column].items():
            if name.startswith(tuple(names)) and name != "describe" and not _twice(columns, column, name):
                right, asked = right + entry["n"] * entry["accuracy"], asked + entry["n"]
    return right / asked if asked else 0.0


def _twice(columns: Sequence[str], column: str, name: str) -> bool:
    """A yes/no question's free text, where its scored form counts, too."""
    return len(columns) > 1 and column == "static" and name not in _FREE_TYPES


def markdown(measured: Mapping[str, Any]) -> str:
    """The tables of a measurement (see `embedded.measure`) as the model card shows them, in Markdown."""
    sections = [
        "Against the goals (static scenes in trained wordings; yes/no questions as scored):\n\n"
        + _goal_table(measured),
        f"Moving clips, the standing questions as closed kinds, by `reading` ({measured['clip_count']} clips of "
        f"{measured['clip_s']:g} s, seeds from {measured['first_seed']:,}, every 500 ms):\n\n"
        + _recall_table(measured["clips"]),
        f"Static scenes ({measured['scene_count']}), the grammar's questions in trained and in held-out wordings, "
        "free text, greedy, exact match; and the same yes/no questions scored as `yes_no`. The last column is the "
        "control: free text in trained wordings, but about the picture of another scene:\n\n"
        + _static_table(measured),
        "Yes and No apart, where both occur (scored, trained wordings; held-out wordings):\n\n"
        + _yes_no_table(measured),
        f"Points and boxes (a point inside the thing; a box with an overlap above {OVERLAP:g}; as many as there "
        "are things):\n\n" + _region_table(measured["region"]),
    ]
    return "\n\n".join(sections) + "\n"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _recalls(entry: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{k} {_percent(p)} ({n})" for k, (p, n) in (entry or {}).get("recall", {}).items())


def _recall_table(table: Mapping[str, Any]) -> str:
    return _markdown(
        ("question", "n", "right %", "majority %", "recall % by true answer (n)"),
        [
            (name, str(e["n"]), _percent(e["accuracy"]), _percent(e["majority"]), _recalls(e))
            for name, e in table.items()
        ],
    )


def _static_table(measured: Mapping[str, Any]) -> str:
    columns = ("static", "static_scored", "heldout", "heldout_scored", "shuffled")
    types = sorted(set().union(*(measured[column] for column in columns)))
    rows = []
    for name in types:
        cells = [measured[column].get(name) for column in columns]
        counted = [str(cell["n"]) if cell else "0" for cell in (cells[0], cells[2])]
        shown = [_percent(cell["accuracy"]) if cell else "–" for cell in cells]
        majority = _percent(next(cell for cell in cells if cell)["majority"])
        rows.append((name, counted[0], *shown[:2], counted[1], *shown[2:4], majority, shown[4]))
    head = ("type", "n", "trained", "scored", "n", "held out", "scored", "majority", "wrong picture")
    return _markdown(head, rows)


def _goal_table(measured: Mapping[str, Any]) -> str:
    rows = [
        (goal.what, _percent(goal.wanted), _percent(goal.measured), "yes" if goal.met else "**no**")
        for goal in goals(measured)
    ]
    return _markdown(("goal", "wanted %", "measured %", "met"), rows)


def _yes_no_table(measured: Mapping[str, Any]) -> str:
    one, two = measured["static_scored"], measured["heldout_scored"]
    names = [name for name in one if len(one[name].get("recall", {})) == 2]
    return _markdown(
        ("type", "trained", "held out"), [(n, _recalls(one[n]), _recalls(two.get(n))) for n in names]
    )


def _region_table(shares: Mapping[str, Any]) -> str:
    return _markdown(
        ("what", "n", "right %"), [(what, str(n), _percent(share)) for what, (share, n) in shares.items()]
    )
