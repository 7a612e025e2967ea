"""How the processes of a model are: where their state changes, who waits for that, and who is told.

One object for all workers of a model, made by whoever wires the line and handed to both sides of it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from streamqa.errors import StreamQAError
from streamqa.metrics import Metrics
from streamqa.records import Fault
from streamqa.types import utc_now

CODE = "model_worker"

_WAITING = 64  # faults before anybody is told; the oldest go first
_logger = logging.getLogger(__name__)


class Health:
    """Thread-safe. Faults that come before `attach` wait for it."""

    def __init__(self, metrics: Metrics | None = None) -> None:
        self.changed = threading.Condition()  # any state of any worker, and `stopping`
        self._metrics = metrics
        self._down: dict[str, str] = {}  # worker -> why, and what is done about it
        self._told: dict[str, str] = {}  # worker -> the fault that was last reported
        self._waiting: deque[Fault] = deque(maxlen=_WAITING)
        self._report: Callable[[Fault], None] | None = None
        self._stopping = False

    @property
    def stopping(self) -> bool:
        """Whether the line is on its way out, so that nobody should wait for a restart."""
        return self._stopping

    def attach(self, report: Callable[[Fault], None]) -> None:
        """Tell `report` of every fault from now on, in the thread that finds it."""
        with self.changed:
            self._report, self._stopping = report, False
            waiting = list(self._waiting)
            self._waiting.clear()
        for fault in waiting:
            self._deliver(report, fault)

    def detach(self) -> None:
        """The line stops: tell nobody any more, and let nobody wait for a restart."""
        with self.changed:
            self._report, self._stopping = None, True
            self.changed.notify_all()

    def died(self, worker: str, reason: str) -> None:
        """A process is dead, or could not be started again. Told once for each reason, until it is back."""
        fault = Fault(CODE, f"the model's process {worker} {reason}; it is started again", utc_now())
        with self.changed:
            self._down[worker] = f"{reason}; it is started again"
            self.changed.notify_all()
            if self._told.get(worker) == reason:
                return
            self._told[worker] = reason
            report = self._report
            if report is None:
                self._waiting.append(fault)
        if report is not None:
            self._deliver(report, fault)

    def restarting(self, worker: str, attempt: int) -> None:
        """It is being started again, for the `attempt`-th time in a row."""
        with self.changed:
            reason = self._told.get(worker, "is down")
            self._down[worker] = f"{reason}; being started again, attempt {attempt}"

    def back(self, worker: str) -> None:
        """It answers again."""
        with self.changed:
            self._down.pop(worker, None)
            self._told.pop(worker, None)
        if self._metrics is not None:
            self._metrics.model_restarts.inc()

    def trouble(self) -> list[str]:
        """Processes that are down, one line each; empty while all is well."""
        with self.changed:
            return [f"the model's process {worker} {why}" for worker, why in self._down.items()]

    @staticmethod
    def _deliver(report: Callable[[Fault], None], fault: Fault) -> None:
        _logger.info("%s", fault.message)
        try:
            report(fault)
        except StreamQAError as error:  # the log has failed or is closing, which its owner reports
            _logger.warning("not recorded: %s (%s)", fault.message, error)
