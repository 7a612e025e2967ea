"""Which threshold, window and wording a question should have, by its labelled readings. Pure.

Each candidate is tried on one half of the labels. The best one is chosen only if it is better there than what is
configured, and not worse on the other half, by which nothing was chosen: few labels fit many settings by chance.
Better is a higher F1 (accuracy of kinds other than yes_no), or as high a one with fewer flips.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import NamedTuple

from streamqa.evaluate.calibration import Figures, Tick, figures
from streamqa.evaluate.trials import Setting, Track, halves, setting_of, single_frame, threshold_of, ticks_of
from streamqa.types import CLOSED_KINDS, Decide, Question

SLIDES = (3, 5, 9)  # lengths of a window that are tried, beside none and the configured one
GRID = tuple(step / 20 for step in range(1, 20))  # thresholds that are tried
LEAST_TICKS = 20  # in each half, below which nothing is chosen
LEAST_OF_VALUE = 3  # ticks of at least two values in each half

_UNSTABLE = "what is best on one half of the labels is worse on the other than what is set, and is not taken"

Material = Mapping[str, Sequence[Track]]  # by wording; the same ticks in each


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What its labels say of a question."""

    question: Question
    single: Figures  # of each frame's own reading, on all labelled ticks
    configured: Figures  # as it is set, on all labelled ticks
    chosen: Setting  # as it is set, where nothing is gained by another
    # As set and as chosen, on the half of the ticks that nothing was chosen by; None where nothing else was chosen.
    there: tuple[Figures, Figures] | None
    as_good: (
        tuple[float, float] | None
    )  # yes_no: from and to which threshold all do as well as the chosen one
    note: str  # what to know of the choice

    @property
    def is_changed(self) -> bool:
        """Whether something else than what is set was chosen."""
        return self.chosen != setting_of(self.question)


class _Rank(NamedTuple):
    """The smaller, the better."""

    missed: float
    flips: int


class _Tried(NamedTuple):
    rank: _Rank
    wording: int  # in the order in which they are listed, that which is set first
    is_regraded: bool  # has another threshold than is set
    setting: Setting


def calibrate(question: Question, material: Material) -> Calibrated:
    """Score a question as it is set, and choose; `material` has its own wording and those to choose from.

    Raises:
        ValueError: no tick is labelled.
    """
    tracks = material[question.ask]
    alone, now = ticks_of(single_frame(question), tracks), ticks_of(question, tracks)
    single, configured = _figures(question, alone), _figures(question, now)
    second = halves(now)
    note, chosen, there = too_few(now, second), setting_of(question), None
    if not note:
        is_open = question.kind == "yes_no" and all(tick.top is not None and tick.top[1] for tick in alone)
        chosen, there, note = _choose(question, material, second, is_open)
        if is_open:
            note = "; ".join(filter(None, ("the readings never contradict the labels", note)))
    as_good = _as_good(chosen.on(question), material[chosen.ask]) if question.kind == "yes_no" else None
    return Calibrated(question, single, configured, chosen, there, as_good, note)


def too_few(ticks: Sequence[Tick], second: Sequence[bool]) -> str:
    """Why nothing can be chosen by so few labels; "" where it can."""
    for half in (False, True):
        truths = Counter(
            tick.truth for tick, is_second in zip(ticks, second, strict=True) if is_second == half
        )
        if truths.total() < LEAST_TICKS:
            return f"too few labels to choose by: {len(ticks)} ticks, and each half needs {LEAST_TICKS}"
        if sum(n >= LEAST_OF_VALUE for n in truths.values()) < 2:
            return (
                f"too few labels to choose by: each half needs {LEAST_OF_VALUE} ticks of at least two answers"
            )
    return ""


def settings(question: Question, wordings: Sequence[str], *, thresholds: bool) -> Iterator[Setting]:
    """Every setting that is tried, that which is set among them; `thresholds`: also other thresholds."""
    now = setting_of(question)
    graded = [(now.above, now.below)]
    if thresholds and question.kind == "yes_no":
        graded += [(step, None) for step in GRID if step != threshold_of(question)[0]]
    for ask in wordings:
        for window_ns, decide in _windows(question):
            yield from (Setting(ask, window_ns, decide, above, below) for above, below in graded)


def _windows(question: Question) -> list[tuple[int, Decide]]:
    """Windows that are tried, and how they decide."""
    now: tuple[int, Decide] = (question.window_ns, question.decide)
    if (
        question.decide == "k_of_n"
        or question.look == "storyboard"
        or question.kind in ("caption", "points", "boxes")
    ):
        return [now]  # of these the window is a part of what is asked, or there is nothing to decide
    deciding: Decide = question.decide
    if deciding == "latest":
        deciding = "mean" if question.kind in CLOSED_KINDS else "majority"
    lengths = [slides * question.every_ns for slides in SLIDES]
    return [now, *((ns, deciding) for ns in lengths if ns != now[0])] + (
        [(0, question.decide)] if now[0] else []
    )


def _choose(
    question: Question, material: Material, second: Sequence[bool], is_open: bool
) -> tuple[Setting, tuple[Figures, Figures] | None, str]:
    """The choice; where it is another setting, both on the second half; and what to know of it."""
    now = setting_of(question)
    first = [not one for one in second]
    wordings = [question.ask, *(ask for ask in material if ask != question.ask)]
    tried = []
    for setting in settings(question, wordings, thresholds=not is_open):
        found = ticks_of(setting.on(question), material[setting.ask])
        rank = _rank(_figures(question, list(compress(found, first))))
        is_regraded = (setting.above, setting.below) != (now.above, now.below)
        tried.append(_Tried(rank, wordings.index(setting.ask), is_regraded, setting))
    note, configured = "", _there(question, material, second, now)
    # Thresholds fit by chance first: where the best setting fails on the other half, those with the one that is set.
    for among in (tried, [one for one in tried if not one.is_regraded]):
        best = min(one.rank for one in among)
        equals = [one for one in among if one.rank == best]
        if any(one.setting == now for one in equals):
            return now, None, note
        chosen = _preferred(equals)
        found_there = _there(question, material, second, chosen)
        if _rank(found_there) <= _rank(configured):
            return chosen, (configured, found_there), note
        note = _UNSTABLE
    return now, None, note


def _preferred(equals: Sequence[_Tried]) -> Setting:
    """Of equally good settings: the shortest window, the wording listed first, the threshold that is set, else the
    one in the middle."""
    by = [(one.setting.window_ns, one.wording, one.is_regraded) for one in equals]
    same = [one.setting for one, key in zip(equals, by, strict=True) if key == min(by)]
    return same[len(same) // 2]


def _there(question: Question, material: Material, second: Sequence[bool], setting: Setting) -> Figures:
    found = ticks_of(setting.on(question), material[setting.ask])
    return _figures(question, list(compress(found, second)))


def _as_good(question: Question, tracks: Sequence[Track]) -> tuple[float, float]:
    """From and to which threshold all do as well as the one that is set, as far as the grid goes."""
    at = threshold_of(question)[0]
    assert at is not None
    now = setting_of(question)
    wanted = _rank(_figures(question, ticks_of(question, tracks)))

    def is_as_good(step: float) -> bool:
        tried = Setting(now.ask, now.window_ns, now.decide, step, None).on(question)
        return _rank(_figures(question, ticks_of(tried, tracks))) == wanted

    low = high = at
    for step in sorted((step for step in GRID if step < at), reverse=True):
        if not is_as_good(step):
            break
        low = step
    for step in (step for step in GRID if step > at):
        if not is_as_good(step):
            break
        high = step
    return low, high


def _figures(question: Question, ticks: Sequence[Tick]) -> Figures:
    return figures(question.kind, ticks, question.every_ns)


def _rank(found: Figures) -> _Rank:
    return _Rank(round(1 - found.objective, 9), found.flips)
