"""One alert rule on one source: decisions in, begin, update and end out. Pure: event time only, no clock.

Whatever is not known changes nothing. A decision that is unsure, stale or failed neither begins an alert nor ends
one; a source that gives no pictures makes it blind, and what had not become an alert yet begins anew when it is back.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from streamqa.conditions import AlertRule
from streamqa.engine.window import BETWEEN, run_start, said
from streamqa.records import Alert, Answer
from streamqa.types import Value, iso_ms

PEAK_STEP = 0.05  # so much more confidence than was told is an update
_PATIENCE = 3  # decisions in a row that say nothing, after which what was coming is not any more


class _Vote(NamedTuple):
    """A decision that is known, and whether it meets the condition."""

    is_met: bool
    since_ns: int


@dataclass(slots=True)
class _Coming:
    """The condition is met, and has not been for long enough."""

    since_ns: int
    best: Answer
    is_held_back: bool = False  # by the cooldown or the hours, and counted


class Told(NamedTuple):
    """What a rule has to say about a decision."""

    alerts: list[Alert]
    held_back: bool = False  # for the first time since the condition is met


class RuleState:
    """What is remembered of one rule on one source."""

    def __init__(self, rule: AlertRule) -> None:
        self._rule = rule
        self._votes: deque[_Vote] = deque(maxlen=rule.k_of_n[1])
        self._coming: _Coming | None = None
        self._last: Value = None  # the last decided value
        self._unknown = 0  # decisions in a row that said nothing
        self._told_peak = 0.0
        self._free_ns: int | None = None  # stream time from which on one may begin
        self._free_at: datetime | None = None  # the same of an alert that ended before a restart
        self._ended_ns = 0  # of the last alert
        self._is_anew = False  # nothing has been seen since what was coming was let go
        self._anew_ns = 0  # stream time of the first reading after that
        self._restored = False  # the open alert began in another process, on a stream time of its own
        self.open: Alert | None = None

    @property
    def is_live(self) -> bool:
        """Whether what is open, or coming, has a wall time; False also where nothing is."""
        if self.open is not None:
            return self.open.began_at is not None
        return self._coming is not None and self._coming.best.captured_at is not None

    def restore(self, newest: Alert) -> None:
        """Go on with what the newest record of an earlier process says."""
        if newest.phase == "end":
            self._free_at = newest.at + timedelta(microseconds=self._rule.cooldown_ns // 1000)
        else:
            self.open, self._restored = replace(newest, picture=None), True
            self._told_peak = newest.peak_confidence or 0.0

    def decided(self, answer: Answer) -> Told:
        """Take a decision; never raises for what an answer may hold."""
        decision = answer.decision
        if self._is_anew and answer.reading.state == "ok":
            self._is_anew, self._anew_ns = False, answer.t_ns
        if decision.state != "ok" or answer.reading.state != "ok":  # an older reading says nothing new
            if decision.reason != BETWEEN:
                self._unknown += 1
            if self._unknown >= _PATIENCE:
                # A window that has not decided yet is not blind.
                self._let_go(is_seen=answer.reading.state == "ok")
            return Told([])
        self._unknown = 0
        changed = self._last is not None and said(decision.value) != said(self._last)
        self._last = decision.value
        holds = self._rule.when.holds(decision.value, changed)
        is_met = holds and (self._rule.above is None or (decision.confidence or 0.0) >= self._rule.above)
        # What holds but is not sure enough is no vote for an end: an alert stays while its condition does.
        if is_met or not holds:
            since_ns = answer.t_ns if decision.since_ns is None else decision.since_ns
            self._votes.append(_Vote(is_met, since_ns))
        k, n = self._rule.k_of_n
        met = sum(vote.is_met for vote in self._votes)
        if self.open is not None:
            return Told(list(self._while_open(self.open, answer, holds, len(self._votes) - met > n - k)))
        if met < k:
            if not holds:
                self._coming = None
            return Told([])
        return self._met(answer) if is_met else Told([])

    def blind(self, reason: str, t_ns: int | None, at: datetime) -> list[Alert]:
        """Nothing is seen from now on: what is coming is forgotten, what is open is marked."""
        self._let_go(is_seen=False)
        # Told once: a camera that is away for days has one reason after the other.
        if self.open is None or self.open.is_blind:
            return []
        self.open = self._update(self.open, t_ns, None, at, reason)
        return [self.open]

    def end(self, reason: str, t_ns: int | None, at: datetime) -> list[Alert]:
        """Nothing will ever be seen again: what is open ends, as of the last that was seen."""
        self._let_go(is_seen=False)
        if self.open is None:
            return []
        return [self._ended(self.open, t_ns, None, at, reason, None)]

    def _let_go(self, *, is_seen: bool) -> None:
        self._coming, self._last = None, None
        self._is_anew = self._is_anew or not is_seen
        self._votes.clear()

    def _met(self, answer: Answer) -> Told:
        """The condition is met, and nothing is open: begin, wait, or hold back."""
        # The window's run may have begun before a time in which nothing was seen.
        since_ns = max(self._run_start(True, answer.t_ns), self._ended_ns, self._anew_ns)
        coming = self._coming = self._coming or _Coming(since_ns, answer)
        if (answer.decision.confidence or 0.0) > (coming.best.decision.confidence or 0.0):
            coming.best = answer
        if answer.t_ns - coming.since_ns < self._rule.hold_ns:
            return Told([])
        if self._is_closed(answer):
            first, coming.is_held_back = not coming.is_held_back, True
            return Told([], held_back=first)
        self._coming = None
        begun = self._begun(answer, coming)
        self.open, self._restored = replace(begun, picture=None), False  # 6 MB, for as long as it is open
        return Told([begun])

    def _run_start(self, is_met: bool, default_ns: int) -> int:
        """Where the run of decisions began that are as the newest one is."""
        votes = ((vote.since_ns, 1 if vote.is_met is is_met else -1) for vote in reversed(self._votes))
        return run_start(votes, default_ns)

    def _is_closed(self, answer: Answer) -> bool:
        """Whether no alert begins now, by the cooldown or the rule's hours."""
        wall = answer.captured_at
        if self._free_ns is not None and answer.t_ns < self._free_ns:
            return True
        if wall is None:
            return False
        if self._free_at is not None and wall < self._free_at:
            return True
        return self._rule.hours is not None and not self._rule.hours.active(wall)

    def _begun(self, answer: Answer, coming: _Coming) -> Alert:
        began_at = _wall(answer, coming.since_ns)
        peak = coming.best.decision.confidence
        self._told_peak = peak or 0.0
        return Alert(
            alert_id=_name(answer, self._rule, coming.since_ns, began_at),
            rule=self._rule.name,
            source=answer.source,
            question=answer.question,
            kind=answer.kind,
            phase="begin",
            severity=self._rule.severity,
            when=str(self._rule.when),
            value=answer.decision.value,
            confidence=answer.decision.confidence,
            peak_confidence=peak,
            is_blind=False,
            reason="",
            began_ns=coming.since_ns,
            began_at=began_at,
            ended_ns=None,
            ended_at=None,
            t_ns=answer.t_ns,
            at=answer.answered_at,
            duration_ns=answer.t_ns - coming.since_ns,
            picture=coming.best.view,
        )

    def _while_open(self, open_: Alert, answer: Answer, holds: bool, is_over: bool) -> Iterator[Alert]:
        t_ns, wall, decision = answer.t_ns, answer.captured_at, answer.decision
        if is_over:
            start = self._run_start(False, t_ns)
            yield self._ended(open_, t_ns, wall, answer.answered_at, "", start)
            return
        if not holds:
            return
        sure = decision.confidence
        peak = max((c for c in (open_.peak_confidence, sure) if c is not None), default=None)
        news = replace(open_, value=decision.value, confidence=sure, peak_confidence=peak, t_ns=t_ns)
        rises = (sure or 0.0) >= self._told_peak + PEAK_STEP
        if not (open_.is_blind or rises or said(decision.value) != said(open_.value)):
            self.open = news  # to be told with the next step
            return
        picture = answer.view if rises or said(decision.value) != said(open_.value) else None
        self._told_peak = peak or 0.0
        step = self._update(news, t_ns, wall, answer.answered_at, "")
        self.open = step
        yield replace(step, picture=picture)

    def _update(
        self, alert: Alert, t_ns: int | None, wall: datetime | None, at: datetime, blind: str
    ) -> Alert:
        """The same alert, later; `blind`: why nothing is seen, "": it is."""
        t_ns = alert.t_ns if t_ns is None else t_ns
        lasted_ns = self._lasted(alert, t_ns, wall or at)
        seen = replace(alert, is_blind=bool(blind), reason=blind, picture=None)
        return replace(seen, phase="update", t_ns=t_ns, at=at, duration_ns=lasted_ns)

    def _ended(
        self,
        open_: Alert,
        t_ns: int | None,
        wall: datetime | None,
        at: datetime,
        reason: str,
        start_ns: int | None,
    ) -> Alert:
        """The end of `open_`, known at `t_ns`; what ended it began at `start_ns`, or nobody knows."""
        t_ns = open_.t_ns if t_ns is None else t_ns
        ended_ns = t_ns if start_ns is None else start_ns
        if not self._restored:
            ended_ns = max(ended_ns, open_.began_ns)
        ended_at = None if wall is None else wall - timedelta(microseconds=(t_ns - ended_ns) / 1000)
        if ended_at is None and open_.began_at is not None:
            ended_at = at
        duration_ns = ended_ns - open_.began_ns
        if self._restored:
            duration_ns = self._lasted(open_, ended_ns, ended_at or at)
        self.open = None
        self._coming = None
        self._ended_ns, self._free_ns = ended_ns, t_ns + self._rule.cooldown_ns
        ended = replace(open_, is_blind=False, picture=None, duration_ns=duration_ns, reason=reason)
        return replace(ended, phase="end", ended_ns=ended_ns, ended_at=ended_at, t_ns=t_ns, at=at)

    def _lasted(self, alert: Alert, t_ns: int, wall: datetime) -> int:
        """How long it has lasted: by stream time, and by the wall's where it began in another process."""
        if self._restored and alert.began_at is not None:
            return max(0, round((wall - alert.began_at).total_seconds() * 1e9))
        return max(alert.duration_ns, t_ns - alert.began_ns)


def _wall(answer: Answer, t_ns: int) -> datetime | None:
    """The wall time of a moment before an answer's frame; None of a recording, which has none."""
    if answer.captured_at is None:
        return None
    return answer.captured_at - timedelta(microseconds=(answer.t_ns - t_ns) / 1000)


def _name(answer: Answer, rule: AlertRule, began_ns: int, began_at: datetime | None) -> str:
    """The id of an alert: the same footage gives the same one, and no two alerts of cameras share one."""
    words = "\n".join((answer.source, answer.question, rule.name, str(began_ns), iso_ms(began_at) or ""))
    return hashlib.sha256(words.encode("utf-8", "replace")).hexdigest()[:16]
