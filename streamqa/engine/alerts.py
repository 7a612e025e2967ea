"""All alert rules on all sources. Pure: answers and the states of sources in, alert records out.

A source that is not seen makes its open alerts blind: a camera that was switched off does not keep its last detection
for ever, and its return decides. What an answer says about a frozen picture is not heard either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from streamqa.conditions import AlertRule
from streamqa.engine.alert_rule import RuleState, Told
from streamqa.engine.window import BETWEEN
from streamqa.records import Alert, Answer, SourceStatus
from streamqa.types import Question, Value

_NOT_BLIND = ("live", "ended")
_Key = tuple[str, str, str]  # question id, rule name, source


class Alerts:
    """At most one alert is open for each rule and source."""

    def __init__(self, questions: Sequence[Question], earlier: Iterable[Alert] = ()) -> None:
        """`earlier`: the newest record of each alert of an earlier process, the newest alerts first."""
        self._questions = {question.id: question for question in questions}
        self._followers = _followers(questions)
        self._states: dict[_Key, RuleState] = {}
        self._blind: dict[str, str] = {}  # source -> why
        self._orphans: list[tuple[Alert, str]] = []  # open, and with no rule to go on with, and why
        for alert in earlier:
            self._restore(alert)

    def decided(self, answer: Answer) -> Told:
        """Take an answer."""
        question = self._questions.get(answer.question)
        # What comes out of the model after a pause has begun is not heard: nothing would come after it.
        if question is None or self._paused(question) or answer.source in self._blind:
            return Told([])
        told = [self._state(question, rule, answer.source).decided(answer) for rule in question.alerts]
        alerts = [alert for one in told for alert in one.alerts]
        if answer.decision.reason != BETWEEN:  # then what was decided last still stands
            alerts += self._unasked(answer, answer.question, answer.decision.value)
        return Told(alerts, any(one.held_back for one in told))

    def status(self, status: SourceStatus) -> list[Alert]:
        """Take the state of a source. One that has ended is not blind: its last answers may still come (`finish`)."""
        if status.state in _NOT_BLIND:
            self._blind.pop(status.source, None)
            return []
        reason = f"{status.state}: {status.reason}" if status.reason else status.state
        self._blind[status.source] = reason
        return [
            alert
            for state in self._of_source(status.source)
            for alert in state.blind(reason, status.t_ns, status.at)
        ]

    def looked(self, at: datetime) -> list[Alert]:
        """It is `at` on the wall clock: nothing is seen for questions of live sources that are out of their hours."""
        told: list[Alert] = []
        for key, state in self._states.items():
            hours = [one.when for one in self._chain(self._questions[key[0]]) if one.when is not None]
            out = next((when for when in hours if not when.active(at)), None) if state.is_live else None
            if out is not None:
                told += state.blind(f"outside of {out}", None, at)
        return told

    def finish(self, source: str, reason: str, at: datetime) -> list[Alert]:
        """Nothing will come of a source any more: its alerts end, and all that is remembered of it is freed."""
        self._blind.pop(source, None)
        ended = [alert for state in self._of_source(source) for alert in state.end(reason, None, at)]
        for key in [key for key in self._states if key[2] == source]:
            del self._states[key]
        return ended

    def replace(self, questions: Sequence[Question], at: datetime) -> list[Alert]:
        """Judge by these from now on. What is open of a rule that is gone or changed ends; a pause makes it blind."""
        before, self._questions = self._questions, {question.id: question for question in questions}
        self._followers = _followers(questions)
        told: list[Alert] = []
        for key, state in list(self._states.items()):
            old, new = before.get(key[0]), self._questions.get(key[0])
            if old is None or new is None or replace(old, is_paused=new.is_paused) != new:
                told += state.end("question removed" if new is None else "question changed", None, at)
                del self._states[key]
            elif reason := self._paused(new):
                told += state.blind(reason, None, at)
        return told

    def orphans(self, sources: Iterable[str], at: datetime) -> list[Alert]:
        """End what was open in an earlier process and has no rule, or none of these sources, any more."""
        known = set(sources)
        told = [
            replace(
                one,
                phase="end",
                reason=reason,
                at=at,
                ended_ns=one.t_ns,
                ended_at=None if one.began_at is None else at,
                is_blind=False,
            )
            for one, reason in self._orphans
        ]
        self._orphans = []
        for key, state in list(self._states.items()):
            if key[2] not in known or not self._questions[key[0]].asks(key[2]):
                told += state.end("question changed" if key[2] in known else "source removed", None, at)
                del self._states[key]
        return told

    def open(self) -> list[Alert]:
        """All alerts that are open."""
        return [state.open for state in self._states.values() if state.open is not None]

    def _chain(self, question: Question) -> Iterator[Question]:
        """A question, the one that has to hold for it, and so on; of a circle, which is never asked, once round."""
        seen: set[str] = set()
        one: Question | None = question
        while one is not None and one.id not in seen:
            yield one
            seen.add(one.id)
            one = None if one.only_if is None else self._questions.get(one.only_if.question)

    def _paused(self, question: Question) -> str:
        """Why nothing is asked: it is paused, or what it waits for; "": it is asked."""
        paused = next((one for one in self._chain(question) if one.is_paused), None)
        if paused is None:
            return ""
        return "question paused" if paused is question else f"not asked: {paused.id} is paused"

    def _unasked(self, answer: Answer, question: str, value: Value) -> list[Alert]:
        """Of questions that are asked no longer, since what `question` says does not hold, nothing is seen."""
        told: list[Alert] = []
        for one in self._followers.get(question, ()):
            follow = one.only_if
            if follow is None or follow.condition.holds(value):
                continue
            for rule in one.alerts:
                state = self._states.get((one.id, rule.name, answer.source))
                if state is not None:
                    reason = f"not asked: {follow} does not hold"
                    told += state.blind(reason, answer.t_ns, answer.answered_at)
            told += self._unasked(answer, one.id, None)
        return told

    def _restore(self, alert: Alert) -> None:
        question = self._questions.get(alert.question)
        rules = question.alerts if question is not None else ()
        rule = next((rule for rule in rules if rule.name == alert.rule), None)
        # A recording begins anew with each process: what was open in it belongs to the run before.
        is_over = alert.began_at is None
        if question is None or rule is None or str(rule.when) != alert.when or is_over:
            if alert.phase != "end":
                self._orphans.append((alert, "stopped" if is_over else "rule removed"))
        elif (question.id, rule.name, alert.source) not in self._states:
            self._state(question, rule, alert.source).restore(alert)
        elif alert.phase != "end":  # another one came after it: the log was full when it ended
            self._orphans.append((alert, "its end was not recorded"))

    def _of_source(self, source: str) -> list[RuleState]:
        return [state for key, state in self._states.items() if key[2] == source]

    def _state(self, question: Question, rule: AlertRule, source: str) -> RuleState:
        key = (question.id, rule.name, source)
        if key not in self._states:
            self._states[key] = RuleState(rule)
        return self._states[key]


def _followers(questions: Iterable[Question]) -> dict[str, list[Question]]:
    """Of each question those that wait for it."""
    found: dict[str, list[Question]] = {}
    for question in questions:
        if question.only_if is not None:
            found.setdefault(question.only_if.question, []).append(question)
    return found
