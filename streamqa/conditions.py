"""What answers are compared with: the conditions of alerts and of follow-up questions. Pure.

A condition is written as one word or comparison and says nothing about kinds by itself: `yes`, `red`, `>= 3`,
`changed`. Whether it can ever hold of a question's answers is `questions`' to check.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from streamqa.hours import Hours

Severity = Literal["info", "warning", "critical"]
Op = Literal["is", "not", ">=", "<=", ">", "<", "changed"]

CONDITION_ADVICE = "yes, no, a choice, >= 3, or changed"
_WRITTEN = re.compile(r"(>=|<=|==|!=|>|<|=)?\s*(.+)", re.DOTALL)
_OPS: dict[str, Op] = {"=": "is", "==": "is", "!=": "not", ">=": ">=", "<=": "<=", ">": ">", "<": "<"}
_YES_NO = {"yes": True, "true": True, "no": False, "false": False}
MOST_COUNTED = 1_000  # k and n of "k of the last n"


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison with a decided value; `changed` holds when that is another one than before."""

    op: Op
    operand: str = ""

    def __post_init__(self) -> None:
        if self.op not in get_args(Op):
            raise ValueError(f"unknown comparison {self.op!r}")
        if (self.op == "changed") != (not self.operand):
            raise ValueError(f"a condition compares with something; write {CONDITION_ADVICE}")
        if self.op in (">=", "<=", ">", "<") and self.number is None:
            raise ValueError(f"{self.operand!r} is no number; write {self.op} 3")

    def __str__(self) -> str:
        if self.op in ("is", "changed"):
            return self.operand or "changed"
        return f"{'!=' if self.op == 'not' else self.op} {self.operand}"

    @property
    def number(self) -> float | None:
        """What it compares with, as a number."""
        try:
            return float(self.operand)
        except ValueError:
            return None

    def holds(self, value: object, changed: bool = False) -> bool:
        """Whether a decided value meets it. Of points and boxes their number counts; None meets nothing."""
        if value is None:
            return False
        if self.op == "changed":
            return changed
        if self.op in ("is", "not"):
            return self._is(value) == (self.op == "is")
        wanted, number = self.number, _number(value)
        if wanted is None or number is None:
            return False
        return {">=": number >= wanted, "<=": number <= wanted, ">": number > wanted, "<": number < wanted}[
            self.op
        ]

    def _is(self, value: object) -> bool:
        if isinstance(value, bool):
            return _YES_NO.get(self.operand.casefold()) is value
        number = _number(value)
        if number is not None:
            return number == self.number
        return " ".join(str(value).split()).casefold() == " ".join(self.operand.split()).casefold()


def parse_condition(text: str) -> Condition:
    """Read `yes`, `red`, `3`, `>= 3`, `!= open` or `changed`.

    Raises:
        ValueError: it says nothing, or compares sizes with what is no number.
    """
    match = _WRITTEN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"empty; write {CONDITION_ADVICE}")
    if match[1] is None and match[2].casefold() == "changed":
        return Condition("changed")
    return Condition(_OPS[match[1] or "="], match[2].strip())


@dataclass(frozen=True, slots=True)
class Follow:
    """A question is asked only while the decision of another one meets a condition."""

    question: str
    condition: Condition

    def __str__(self) -> str:
        return f"{self.question} {self.condition}"


def parse_follow(text: str) -> Follow:
    """Read `person`, which is `person yes`, or `cars >= 2`: a question and a condition on its answers.

    Raises:
        ValueError: no question is named, or the condition is none.
    """
    name, _, rest = text.strip().partition(" ")
    if not name:
        raise ValueError("empty; name the question that has to hold: person, or cars >= 2")
    condition = parse_condition(rest or "yes")
    if condition.op == "changed":
        raise ValueError("`changed` holds for a moment only; write a value, as in: gate open")
    return Follow(name, condition)


@dataclass(frozen=True, slots=True)
class AlertRule:
    """When the answers to one question are an alert, at each of its sources."""

    name: str
    when: Condition
    above: float | None = None  # the decision's least confidence; None: any
    hold_ns: int = 0  # stream time for which it has to be met before the alert begins
    k_of_n: tuple[int, int] = (1, 1)  # of the last n decisions that are known, at least k meet it
    cooldown_ns: int = 0  # stream time after the end of an alert in which no other begins
    severity: Severity = "warning"
    hours: Hours | None = None  # in which alerts begin, of frames with a wall time (live ones); None: always

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("an alert rule needs a name")
        if self.above is not None and not 0 < self.above <= 1:
            raise ValueError(f"above must lie within (0, 1], got {self.above}")
        if self.hold_ns < 0 or self.cooldown_ns < 0:
            raise ValueError("for and cooldown must not be negative")
        k, n = self.k_of_n
        if not 1 <= k <= n <= MOST_COUNTED:
            raise ValueError(f"k_of_n [{k}, {n}] can never hold; give 1 <= k <= n <= {MOST_COUNTED}")


def _number(value: object) -> float | None:
    if isinstance(value, tuple):
        return float(len(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
