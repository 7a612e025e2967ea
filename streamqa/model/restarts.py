"""How long to wait for a model's process, when to start it again, and how to say how it died. Pure."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from streamqa.types import Request

_WORDS = 160  # characters of a dead process's last line
_RECENT = 32  # answers that say how fast the model is
_TOKENS_PER_UNIT = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child process may take, in seconds."""

    load_s: float = 3600.0  # the first time: weights may have to be downloaded
    least_load_s: float = 120.0
    first_answer_s: float = 600.0  # compiling included
    least_answer_s: float = 60.0
    slow_factor: float = 20.0  # times slower than the slowest of late, then it hangs
    patience_s: float = 15.0  # and twice the time the first load took: how long a call waits for a restart
    longest_patience_s: float = 300.0
    first_wait_s: float = 0.5  # before the first restart
    longest_wait_s: float = 30.0
    steady_s: float = 60.0  # alive for so long, the waits start anew
    stop_s: float = 1.0  # to end by itself, then it is killed

    def patience(self, first_load_s: float) -> float:
        """How long a call waits for the model to be back."""
        return min(self.longest_patience_s, self.patience_s + 2 * first_load_s)

    def reload(self, first_load_s: float) -> float:
        """How long a later load may take."""
        return min(self.load_s, max(self.least_load_s, self.slow_factor * first_load_s))


class Backoff:
    """Growing waits between restarts, for ever."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._deaths = 0

    def after(self, lived_s: float, chance: float) -> float:
        """How long to wait after a process that lived for `lived_s`; `chance` in [0, 1) spreads several."""
        if lived_s >= self._limits.steady_s:
            self._deaths = 0
        wait_s = min(self._limits.longest_wait_s, self._limits.first_wait_s * 2.0 ** min(self._deaths, 16))
        self._deaths += 1
        return wait_s * (0.5 + 0.5 * chance)


class Pace:
    """How long an answer may take before the process hangs: learnt from the answers it gave."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._recent: deque[float] = deque(maxlen=_RECENT)  # seconds per unit of work

    def limit_s(self, units: int) -> float:
        """For a batch of so many `units`."""
        if not self._recent:
            return self._limits.first_answer_s
        return max(self._limits.least_answer_s, self._limits.slow_factor * max(self._recent) * units)

    def learn(self, units: int, took_s: float) -> None:
        """A batch of so many `units` was answered; one of none says nothing."""
        if units:
            self._recent.append(took_s / units)


def work_units(requests: Sequence[Request]) -> int:
    """How much a batch asks for, roughly: pictures, prompts, and what may be generated. Mere checks are none."""
    return sum(
        (request.image is not None)
        + sum(1 + (0 if p.options else p.max_tokens // _TOKENS_PER_UNIT) for p in request.prompts)
        for request in requests
        if not request.check_only
    )


def how_it_died(returncode: int | None, told: str) -> str:
    """What happened to a process, from its return code (negative: a signal) and the end of its stderr."""
    if returncode is None:
        return "does not end, although it was killed"
    if returncode == -signal.SIGKILL:  # it had no time for last words
        return "was killed (SIGKILL), probably out of memory (the kernel's log tells; a smaller model needs less)"
    words = f": {found}" if (found := last_words(told)) else ""
    if returncode < 0:
        return f"died of {_signal_name(-returncode)}{words}"
    return f"ended with exit code {returncode}{words}"


def last_words(told: str) -> str:
    """The line of a stderr that tells most: the last that speaks of an error, else the last; "" without one."""
    lines = [" ".join(line.split()) for line in told.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower() or "what():" in line]
    return (telling or lines or [""])[-1][:_WORDS]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
