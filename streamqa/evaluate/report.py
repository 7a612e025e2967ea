"""What calibration found: a table for people, an object for programs, settings for a configuration. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamqa.durations import format_duration
from streamqa.evaluate.calibration import Figures
from streamqa.evaluate.choosing import Calibrated
from streamqa.evaluate.diagram import Panel
from streamqa.evaluate.trials import Setting, setting_of, threshold_of
from streamqa.question_settings import QuestionConfig
from streamqa.types import NS_PER_S, Question

_HEAD = (
    "question",
    "setting",
    "n",
    "precision",
    "recall",
    "F1",
    "right",
    "Brier",
    "ECE",
    "flips/h",
    "unsure",
)
_HELD_OUT = "*  on the half of the ticks that nothing was chosen by"


def as_json(found: Sequence[Calibrated], labels: int) -> dict[str, Any]:
    """Every question's figures as it is set, with those of single frames and of what would be chosen beside them."""
    return {"labels": labels, "questions": {one.question.id: _object(one) for one in found}}


def table(found: Sequence[Calibrated]) -> list[str]:
    """Lines: three rows for each question, or four where something else is chosen, and what is chosen in words."""
    rows = [row for one in found for row in _rows(one)]
    widths = [max(len(row[at]) for row in [_HEAD, *rows]) for at in range(len(_HEAD))]
    lines = [_line(_HEAD, widths)]
    for one in found:
        lines += [_line(row, widths) for row in _rows(one)]
        lines += [f"    {sentence}" for sentence in _sentences(one)]
    return [*lines, _HELD_OUT] if any(one.is_changed for one in found) else lines


def panels(found: Sequence[Calibrated]) -> list[Panel]:
    """Reliability diagrams of the answers as they are set."""
    return [Panel(one.question.id, one.configured.bins, one.configured.ece) for one in found]


def settings(item: QuestionConfig, chosen: Setting) -> QuestionConfig:
    """The settings of a question with what was chosen; a wording that is replaced stays among the variants."""
    now = setting_of(item.question("question"))
    given = item.given()
    if (chosen.above, chosen.below) != (now.above, now.below):
        given |= {"above": chosen.above, "below": chosen.below}
    if chosen.window_ns != now.window_ns:
        given["window"] = format_duration(chosen.window_ns)
    if chosen.decide != now.decide:
        given["decide"] = chosen.decide
    if chosen.ask != now.ask:
        given["variants"] = [item.ask if ask == chosen.ask else ask for ask in item.variants]
        given["ask"] = chosen.ask
    return QuestionConfig.model_validate({key: value for key, value in given.items() if value is not None})


def described(question: Question) -> str:
    """A question's setting in words: `window 5s (mean), yes from 0.7, no up to 0.3`."""
    words = [
        f"window {format_duration(question.window_ns)} ({question.decide})"
        if question.window_ns
        else "one frame"
    ]
    if question.k_of_n is not None:
        words = [f"{question.k_of_n[0]} of {question.k_of_n[1]}"]
    above, below = threshold_of(question)
    if question.kind == "yes_no":
        words.append(f"yes from {above:g}" + (f", no up to {below:g}" if below != above else ""))
    elif above is not None:
        words.append(f"from {above:g}")
    return ", ".join(words)


def _object(one: Calibrated) -> dict[str, Any]:
    chosen = one.chosen.on(one.question)
    figures = one.there[1] if one.there else one.configured
    return {
        **_setting(one.question),
        **one.configured.as_json(),
        "single": one.single.as_json(),
        "chosen": {
            "changed": one.is_changed,
            **_setting(chosen),
            "held_out": one.there is not None,
            **figures.as_json(),
            "configured": (one.there[0] if one.there else one.configured).as_json(),
        },
        "as_good": one.as_good,
        "note": one.note or None,
    }


def _setting(question: Question) -> dict[str, Any]:
    above, below = threshold_of(question)
    return {
        "threshold": above,
        "below": below,
        "window_s": question.window_ns / NS_PER_S,
        "decide": question.decide if question.k_of_n is None else {"k_of_n": list(question.k_of_n)},
        "wording": question.ask,
    }


def _rows(one: Calibrated) -> list[tuple[str, ...]]:
    rows = [("", "one frame", one.single), ("", "as set", one.configured)]
    if one.there is not None:
        rows += [("", "as set *", one.there[0]), ("", "chosen *", one.there[1])]
    cells = [(setting, *_cells(figures)) for _, setting, figures in rows]
    return [(one.question.id if number == 0 else "", *row) for number, row in enumerate(cells)]


def _cells(figures: Figures) -> tuple[str, ...]:
    shares = (figures.precision, figures.recall, figures.f1, figures.accuracy, figures.brier, figures.ece)
    return (
        str(figures.n),
        *("–" if share is None else f"{share:.3f}" for share in shares),
        f"{figures.flips_per_hour:.1f}",
        f"{figures.unsure:.1%}",
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    left = [cell.ljust(width) for cell, width in zip(row[:2], widths, strict=False)]
    right = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
    return "  ".join([*left, *right]).rstrip()


def _sentences(one: Calibrated) -> list[str]:
    chosen = one.chosen.on(one.question)
    open_to = ""
    if one.as_good is not None and one.as_good[0] < one.as_good[1]:
        open_to = f" (thresholds from {one.as_good[0]:g} to {one.as_good[1]:g} do as well)"
    if one.is_changed:
        worded = f', asked "{chosen.ask}"' if chosen.ask != one.question.ask else ""
        said = f"chosen: {described(chosen)}{worded}{open_to}, instead of {described(one.question)}"
    else:
        said = f"kept: {described(one.question)}{open_to}"
    return [said, *([one.note] if one.note else [])]
