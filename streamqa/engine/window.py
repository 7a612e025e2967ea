"""The sliding window of one question on one source: readings in, a decision out. Pure arithmetic.

A reading of time r is inside the window of time t when t - window < r <= t. Only readings in state `ok` vote.
Where none inside is ok, the decision has the state and reason of the latest reading, and no value.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from streamqa.types import Decision, Question, Reading, State, Value


class _Timed(NamedTuple):
    t_ns: int
    reading: Reading


class _Verdict(NamedTuple):
    """A value and the readings that stand behind it; no readings: undecided."""

    value: Value
    agreeing: Sequence[Reading]


class Window:
    """Keeps the readings of `(t - window, t]` and decides over them.

    - `latest`: the newest ok reading's value.
    - `majority`: the most frequent value; of equally frequent ones, that of the newest reading among them.
    - `any`: True where one ok reading is True, else False.
    - `all`: False where one ok reading is False, else True.
    - `mean`: the arithmetic mean of the values, a float; every ok reading agrees with it.
    - `k_of_n`: of the newest n readings, whatever their state: True where k are True; False where so many are
      False that the rest could not make k; else `unsure`, reason `too_few` (a start, or readings that failed).

    The confidence is the mean confidence of the agreeing readings (those without one left out), `agree` their
    number, `frames` all readings that were considered, `start_ns` the time of the oldest of them.
    Window 0 is the frame's own reading, except with `k_of_n`, where it is n times `every`.
    """

    def __init__(self, question: Question) -> None:
        self._decide = question.decide
        self._k, self._n = question.k_of_n or (1, 1)
        # An interval of 1 ns holds exactly the reading of t itself.
        self._length_ns = question.window_ns or (self._n * question.every_ns if question.k_of_n else 1)
        self._kept: deque[_Timed] = deque(maxlen=self._n if question.k_of_n else None)

    def add(self, t_ns: int, reading: Reading) -> Decision:
        """Take the reading of the frame at stream time `t_ns`; decide as of then.

        Raises:
            ValueError: `t_ns` is before the newest reading's; stream time never goes back.
        """
        kept = self._kept
        if kept and t_ns < kept[-1].t_ns:
            raise ValueError(f"stream time went back from {kept[-1].t_ns} to {t_ns} ns")
        kept.append(_Timed(t_ns, reading))
        while kept[0].t_ns <= t_ns - self._length_ns:
            kept.popleft()
        valid = [timed.reading for timed in kept if timed.reading.state == "ok"]
        if not valid:
            return self._decision(None, reading.state, reading.reason, ())
        value, agreeing = self._verdict(valid)
        if not agreeing:
            return self._decision(None, "unsure", "too_few", ())
        return self._decision(value, "ok", "", agreeing)

    def _verdict(self, valid: Sequence[Reading]) -> _Verdict:
        if self._decide == "k_of_n":
            return _k_of_n(valid, self._k, self._n)
        return _RULES[self._decide](valid)

    def _decision(self, value: Value, state: State, reason: str, agreeing: Sequence[Reading]) -> Decision:
        sure = [r.confidence for r in agreeing if r.confidence is not None]
        return Decision(
            value=value,
            confidence=fmean(sure) if sure else None,
            state=state,
            reason=reason,
            start_ns=self._kept[0].t_ns,
            frames=len(self._kept),
            agree=len(agreeing),
        )


def _with(value: Value, valid: Sequence[Reading]) -> _Verdict:
    return _Verdict(value, [r for r in valid if r.value == value])


def _latest(valid: Sequence[Reading]) -> _Verdict:
    return _with(valid[-1].value, valid)


def _majority(valid: Sequence[Reading]) -> _Verdict:
    # Counting from the newest back, `most_common` puts the newest of equally frequent values first.
    return _with(Counter(r.value for r in reversed(valid)).most_common(1)[0][0], valid)


def _any(valid: Sequence[Reading]) -> _Verdict:
    return _with(any(r.value for r in valid), valid)


def _all(valid: Sequence[Reading]) -> _Verdict:
    return _with(all(r.value for r in valid), valid)


def _mean(valid: Sequence[Reading]) -> _Verdict:
    return _Verdict(fmean(r.value for r in valid if isinstance(r.value, int | float)), valid)


def _k_of_n(valid: Sequence[Reading], k: int, n: int) -> _Verdict:
    yes, no = _with(True, valid), _with(False, valid)
    if len(yes.agreeing) >= k:
        return yes
    return no if len(no.agreeing) > n - k else _Verdict(None, ())


_RULES: Mapping[str, Callable[[Sequence[Reading]], _Verdict]] = {
    "latest": _latest,
    "majority": _majority,
    "any": _any,
    "all": _all,
    "mean": _mean,
}
