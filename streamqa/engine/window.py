"""The sliding window of one question on one source: readings in, a decision out. Pure arithmetic.

A reading of time r is inside the window of time t when t - window < r <= t. Only readings in state `ok` vote.
Where none inside is ok, the decision has the state and reason of the latest reading, and no value.

Closed kinds have scores. Those of a window are pooled by the mean of their log-odds (`pooled`), so that one frame
that is not sure does not undo four that are. With thresholds, `above` and `below`, a value counts only where its
score says so: between the two the decision is `unsure`, reason `between`, and what was decided last still stands.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple, TypeAlias

from streamqa.types import Decision, Question, Reading, State, Value

Scores: TypeAlias = tuple[tuple[str, float], ...]

BETWEEN = "between"  # the reason of a decision that leaves the one before it standing
SETTLING = "settling"  # and of one before the first that was decided for long enough
# A frame that is surer than this counts as so sure: log-odds 9.2, which three frames of 95 % outweigh.
_SUREST = 0.9999


class _Timed(NamedTuple):
    t_ns: int
    reading: Reading
    vote: Value  # its value where its score is beyond the thresholds, else None


class _Verdict(NamedTuple):
    """A value and the readings that stand behind it; no value: undecided, with the reason."""

    value: Value
    agreeing: Sequence[Reading]
    reason: str = ""


class _Run(NamedTuple):
    """A value that is decided, or would be if it held for longer."""

    value: Value
    since_ns: int  # of its first reading
    known_ns: int  # of the reading by which it was decided


class Window:
    """Keeps the readings of `(t - window, t]` and decides over them.

    - `latest`: the newest ok reading's value.
    - `majority`: the most frequent value; of equally frequent ones, that of the newest reading among them.
    - `any`: True where one ok reading is True, else False.
    - `all`: False where one ok reading is False, else True.
    - `mean`: the option with the largest pooled score; of numbers without scores their arithmetic mean, a float.
    - `k_of_n`: of the newest n readings, whatever their state: True where k are True; False where so many are
      False that the rest could not make k; else `unsure`, reason `too_few` (a start, or readings that failed), or
      `between` where one of them lies between the thresholds.

    With thresholds, readings between them do not vote. A value takes the place of another one only when it was
    decided for `hold`; until then the old one stays.

    The confidence is the score of the decided value: the newest reading's with `latest`, pooled over all ok readings
    with `majority` and `mean`, over those that agree with the others; the mean confidence where there are no scores.
    `agree` is the number of readings with the decided value, `frames` all readings that were considered, `start_ns`
    the time of the oldest of them, `since_ns` that of the first reading of the run that decided the value.
    Window 0 is the frame's own reading, except with `k_of_n`, where it is n times `every`.
    """

    def __init__(self, question: Question) -> None:
        self._decide = question.decide
        self._hold_ns = question.hold_ns
        self._above, self._below = thresholds(question)
        self._k, self._n = question.k_of_n or (1, 1)
        # An interval of 1 ns holds exactly the reading of t itself.
        self._length_ns = question.window_ns or (self._n * question.every_ns if question.k_of_n else 1)
        self._kept: deque[_Timed] = deque(maxlen=self._n if question.k_of_n else None)
        self._decided: _Run | None = None
        self._coming: _Run | None = None  # decided now, and not for long enough

    def add(self, t_ns: int, reading: Reading) -> Decision:
        """Take the reading of the frame at stream time `t_ns`; decide as of then.

        Raises:
            ValueError: `t_ns` is before the newest reading's; stream time never goes back.
        """
        kept = self._kept
        if kept and t_ns < kept[-1].t_ns:
            raise ValueError(f"stream time went back from {kept[-1].t_ns} to {t_ns} ns")
        kept.append(_Timed(t_ns, reading, self._vote(reading)))
        while kept[0].t_ns <= t_ns - self._length_ns:
            kept.popleft()
        valid = [timed for timed in kept if timed.reading.state == "ok"]
        if not valid:
            self._decided = self._coming = None
            return self._undecided(reading.state, reading.reason, reading.scores)
        scores = self._scores([timed.reading for timed in valid])
        verdict = self._verdict(valid, scores)
        if verdict.value is None:
            self._coming = None
            if verdict.reason != BETWEEN:
                self._decided = None
            return self._undecided("unsure", verdict.reason, scores)
        return self._settled(t_ns, verdict, valid, scores)

    def _vote(self, reading: Reading) -> Value:
        if reading.state != "ok":
            return None
        return self._beyond(reading.scores, reading.value)

    def _beyond(self, scores: Scores, value: Value) -> Value:
        """`value`, the best option's, or what the thresholds make of its scores; None: between them."""
        if self._above is None or not scores:
            return value
        if self._below is None:
            return value if max(score for _, score in scores) >= self._above else None
        yes = dict(scores).get("yes", 0.0)
        # Above first: where both are the same, as a plain threshold, it is reached at once.
        return True if yes >= self._above else False if yes <= self._below else None

    def _scores(self, valid: Sequence[Reading]) -> Scores:
        return valid[-1].scores if self._decide == "latest" else pooled([r.scores for r in valid])

    def _verdict(self, valid: Sequence[_Timed], scores: Scores) -> _Verdict:
        readings = [timed.reading for timed in valid]
        if self._decide == "mean" and scores:
            best = max(scores, key=lambda one: one[1])[0]
            named = next(
                (r.value for r in readings if _label(r.value) == best), _value_of(best, readings[-1].value)
            )
            value = self._beyond(scores, named)
            return _with(value, valid) if value is not None else _Verdict(None, (), BETWEEN)
        if self._decide == "latest" and valid[-1].vote is None:
            return _Verdict(None, (), BETWEEN)
        voting = [timed for timed in valid if timed.vote is not None]
        if self._decide == "k_of_n":
            verdict = _k_of_n(voting, self._k, self._n)
            is_between = verdict.value is None and len(voting) < len(valid)
            return _Verdict(None, (), BETWEEN) if is_between else verdict
        return _RULES[self._decide](voting) if voting else _Verdict(None, (), BETWEEN)

    def _settled(self, t_ns: int, verdict: _Verdict, valid: Sequence[_Timed], scores: Scores) -> Decision:
        """The verdict, or while it has not held for long enough, what stood before it."""
        decided, coming = self._decided, self._coming
        if decided is not None and said(decided.value) == said(verdict.value):
            self._decided, self._coming = decided._replace(value=verdict.value), None
            return self._decision(self._decided, verdict, scores)
        if coming is None or said(coming.value) != said(verdict.value):
            coming = _Run(verdict.value, run_start(_votes_for(verdict.value, valid), t_ns), t_ns)
        if t_ns - coming.known_ns >= self._hold_ns:
            self._decided, self._coming = coming._replace(value=verdict.value), None
            return self._decision(self._decided, verdict, scores)
        self._coming = coming
        if decided is None:
            return self._undecided("unsure", SETTLING, scores)
        return self._decision(decided, _with(decided.value, valid), scores)

    def _decision(self, run: _Run, verdict: _Verdict, scores: Scores) -> Decision:
        return Decision(
            value=run.value,
            confidence=self._confidence(verdict, scores),
            state="ok",
            reason="",
            start_ns=self._kept[0].t_ns,
            frames=len(self._kept),
            agree=len(verdict.agreeing),
            since_ns=run.since_ns,
            scores=scores,
        )

    def _undecided(self, state: State, reason: str, scores: Scores) -> Decision:
        oldest = self._kept[0].t_ns
        return Decision(None, None, state, reason, oldest, len(self._kept), 0, scores=scores)

    def _confidence(self, verdict: _Verdict, scores: Scores) -> float | None:
        agreeing = verdict.agreeing
        if scores and self._decide in ("any", "all", "k_of_n") and agreeing:
            scores = pooled([reading.scores for reading in agreeing])
        if scores and (self._decide != "mean" or not isinstance(verdict.value, float)):
            return dict(scores).get(_label(verdict.value))
        sure = [r.confidence for r in agreeing if r.confidence is not None]
        return fmean(sure) if sure else None


def thresholds(question: Question) -> tuple[float | None, float | None]:
    """`above` and `below` as they apply; (None, None) where the more probable option is decided.

    Of yes_no each is the other's mirror image where only one is given: `above: 0.8` alone is `below: 0.2`, and
    `above: 0.3`, less than a half, is `below: 0.3`. Other closed kinds have no `below`.
    """
    above, below = question.above, question.below
    if question.kind != "yes_no":
        return above, None
    if above is None:
        return (None, None) if below is None else (max(below, _mirrored(below)), below)
    return above, min(above, _mirrored(above)) if below is None else below


def _mirrored(share: float) -> float:
    """1 - share as one would write it: of 0.8 it is 0.2, and not 0.19999999999999996."""
    return round(1 - share, 12)


def pooled(scores: Sequence[Scores]) -> Scores:
    """The scores of several readings as one: the mean of each option's log-odds against the others, as shares of 1.

    With p the score of an option in each of n readings it is exp(mean(ln p)), divided by the sum of that over all
    options; of two options this is the logistic function of the mean log-odds. Readings without scores are left out.
    A reading with a part of the options is not: all are answers to one question.
    """
    given = [one for one in scores if one]
    if len(given) <= 1:
        return given[0] if given else ()
    least = 1 - _SUREST
    logs = [
        (name, fmean(math.log(min(_SUREST, max(least, one[i][1]))) for one in given))
        for i, (name, _) in enumerate(given[-1])
    ]
    largest = max(log for _, log in logs)
    weights = [(name, math.exp(log - largest)) for name, log in logs]
    total = math.fsum(weight for _, weight in weights)
    return tuple((name, weight / total) for name, weight in weights)


def said(value: Value) -> Value:
    """What of a value makes it another one: of points and boxes their number, which moves less than they do."""
    return len(value) if isinstance(value, tuple) else value


def run_start(newest_first: Iterable[tuple[int, int]], default_ns: int) -> int:
    """Stream time of the first of a run of votes, each given by its time and +1, -1, or 0 where it says nothing.

    The place from which on those for it outnumber the others most, the earliest of equal ones: the estimate of
    Page's CUSUM for when a change came. A single slip before the change or after it moves it by nothing.
    `default_ns`: where there is no such place.
    """
    start, most, balance = default_ns, 0, 0
    for t_ns, vote in newest_first:
        balance += vote
        if balance > 0 and balance >= most:
            start, most = t_ns, balance
    return start


def _votes_for(value: Value, valid: Sequence[_Timed]) -> Iterator[tuple[int, int]]:
    """As `run_start` takes them: for what was decided, against it, or between the thresholds."""
    for timed in reversed(valid):
        yield timed.t_ns, 0 if timed.vote is None else 1 if said(timed.vote) == said(value) else -1


def _label(value: Value) -> str:
    """A value's name in the scores."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _value_of(label: str, like: Value) -> Value:
    """The value that a label names; `like` is another one of the same question."""
    if isinstance(like, bool):
        return label == "yes"
    return int(label) if isinstance(like, int) else label


def _with(value: Value, voting: Sequence[_Timed]) -> _Verdict:
    return _Verdict(value, [timed.reading for timed in voting if timed.vote == value])


def _latest(voting: Sequence[_Timed]) -> _Verdict:
    return _with(voting[-1].vote, voting)


def _majority(voting: Sequence[_Timed]) -> _Verdict:
    # Counting from the newest back, `most_common` puts the newest of equally frequent values first.
    return _with(Counter(timed.vote for timed in reversed(voting)).most_common(1)[0][0], voting)


def _any(voting: Sequence[_Timed]) -> _Verdict:
    return _with(any(timed.vote for timed in voting), voting)


def _all(voting: Sequence[_Timed]) -> _Verdict:
    return _with(all(timed.vote for timed in voting), voting)


def _mean(voting: Sequence[_Timed]) -> _Verdict:
    numbers = [timed.vote for timed in voting if isinstance(timed.vote, int | float)]
    return _Verdict(fmean(numbers), [timed.reading for timed in voting])


def _k_of_n(voting: Sequence[_Timed], k: int, n: int) -> _Verdict:
    yes, no = _with(True, voting), _with(False, voting)
    if len(yes.agreeing) >= k:
        return yes
    return no if len(no.agreeing) > n - k else _Verdict(None, (), "too_few")


_RULES: Mapping[str, Callable[[Sequence[_Timed]], _Verdict]] = {
    "latest": _latest,
    "majority": _majority,
    "any": _any,
    "all": _all,
    "mean": _mean,
}
