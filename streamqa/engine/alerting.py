"""Between the engine and the log: alerts follow the answers and source states that they come from. Thread-safe."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from streamqa.engine.alerts import Alerts
from streamqa.metrics import Metrics
from streamqa.records import Alert, Answer, Record, SourceStatus
from streamqa.types import Question, utc_now


class Alerting:
    """Puts records in order: each alert right after what it comes from.

    Whoever comes waits while another one puts, so that an alert never overtakes the one before it.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        put: Callable[[Sequence[Record]], None],
        metrics: Metrics,
        earlier: Iterable[Alert] = (),
    ) -> None:
        """`put` takes records and may wait; `earlier`: as `Alerts`."""
        self._alerts = Alerts(questions, earlier)
        self._put, self._metrics = put, metrics
        self._lock = threading.Lock()
        self._ending: dict[
            str, str
        ] = {}  # sources of which the last answers may still come, and why they end

    def begin(self, sources: Iterable[str]) -> None:
        """End what was open in an earlier process and is watched no longer. Raises what `put` raises."""
        with self._lock:
            self._tell(self._alerts.orphans(sources, utc_now()))
            for alert in self._alerts.open():
                self._show(alert.source, alert.question)

    def answers(self, answers: Sequence[Answer]) -> None:
        """Put answers, each followed by its alerts. Raises what `put` raises."""
        records: list[Record] = []
        with self._lock:
            for answer in answers:
                told = self._alerts.decided(answer)
                if told.held_back:
                    self._metrics.alerts_held_back.labels(answer.source, answer.question).inc()
                records.append(answer if answer.view is None else replace(answer, view=None))
                records += told.alerts
                self._count(told.alerts)
            self._put(records)

    def status(self, status: SourceStatus) -> None:
        """Put the state of a source, followed by what it means for open alerts. Raises what `put` raises."""
        with self._lock:
            self._ending.pop(status.source, None)
            if status.state == "ended":
                self._ending[status.source] = (
                    "source removed" if status.reason == "removed" else "source ended"
                )
            alerts = self._alerts.status(status)
            self._count(alerts)
            self._put([status, *alerts])

    def looked(self, at: datetime) -> None:
        """It is `at` on the wall clock, which no answer may tell. Raises what `put` raises."""
        with self._lock:
            self._tell(self._alerts.looked(at))

    def ending(self) -> list[str]:
        """Sources that have ended, and are not known to be answered to their end."""
        with self._lock:
            return list(self._ending)

    def finish(self, source: str) -> None:
        """All answers about a source that has ended are given. Nothing happens where it has begun again."""
        with self._lock:
            reason = self._ending.pop(source, None)
            if reason is not None:
                self._tell(self._alerts.finish(source, reason, utc_now()))

    def replace(self, questions: Sequence[Question]) -> None:
        """Judge by these from now on. Raises what `put` raises."""
        with self._lock:
            self._tell(self._alerts.replace(questions, utc_now()))

    def open(self) -> list[Alert]:
        """All alerts that are open."""
        with self._lock:
            return self._alerts.open()

    def _tell(self, alerts: Sequence[Alert]) -> None:
        self._count(alerts)
        if alerts:
            self._put(alerts)

    def _count(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            self._metrics.alerts.labels(alert.source, alert.question, alert.severity, alert.phase).inc()
            self._show(alert.source, alert.question)

    def _show(self, source: str, question: str) -> None:
        count = sum(one.source == source and one.question == question for one in self._alerts.open())
        self._metrics.alerts_open.labels(source, question).set(count)
