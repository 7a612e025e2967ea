"""Which questions could never be asked or answered sensibly, each by itself and all of them together. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streamqa.conditions import Condition
from streamqa.errors import ConfigError
from streamqa.types import CLOSED_KINDS, Question

ASK_LIMIT = (
    2_000  # characters; more is a mistake, and would not fit beside the picture in the model's context
)
CHOICE_LIMIT = 200  # characters of one choice
CHOICES_LIMIT = 100  # choices of one question
NUMBER_LIMIT = 100  # the largest `max` of a number question

_DECIDES: Mapping[str, tuple[str, ...]] = {
    "text": ("latest", "majority"),
    "yes_no": ("latest", "majority", "any", "all", "mean", "k_of_n"),
    "choice": ("latest", "majority", "mean"),
    "number": ("latest", "majority", "mean"),
    "caption": ("latest",),
    "points": ("latest",),
    "boxes": ("latest",),
}


class Problem(NamedTuple):
    """One mistake in a question."""

    field: str  # of `Question`, so that a configuration can point at its line
    message: str


def check_question(question: Question) -> None:
    """Refuse a question that could never be asked or answered sensibly.

    Raises:
        ConfigError: one line with every mistake that `question_problems` finds.
    """
    found = question_problems(question)
    if found:
        raise ConfigError(f"question {question.id!r}: " + "; ".join(f"{p.field}: {p.message}" for p in found))


def question_problems(question: Question) -> list[Problem]:
    """Every mistake in `question` that its type does not already exclude, by field."""
    found = [*_ask_problems(question), *_choice_problems(question), *_decide_problems(question)]
    found += [*_threshold_problems(question), *_look_problems(question), *_alert_problems(question)]
    if question.kind == "number" and not 1 <= question.max <= NUMBER_LIMIT:
        found.append(
            Problem("max", f"{question.max} is not within 1…{NUMBER_LIMIT}; give the largest number")
        )
    if question.max_tokens < 1:
        found.append(Problem("max_tokens", f"{question.max_tokens} leaves no room to answer; give 1 or more"))
    return found


def _ask_problems(question: Question) -> list[Problem]:
    ask = question.ask
    if not ask.strip() and question.kind != "caption":  # a caption needs no words
        return [Problem("ask", "empty; write what to ask of the picture")]
    if len(ask) > ASK_LIMIT:
        return [Problem("ask", f"{len(ask):,} characters, the limit is {ASK_LIMIT:,}; ask more briefly")]
    return [Problem("ask", f"holds {found}; remove it")] if (found := _unprintable(ask)) else []


def _choice_problems(question: Question) -> list[Problem]:
    choices = question.choices
    if question.kind != "choice":
        return [Problem("choices", f"not for kind {question.kind}; use kind: choice")] if choices else []
    if not 2 <= len(choices) <= CHOICES_LIMIT:
        return [Problem("choices", f"{len(choices)} given; a choice needs 2…{CHOICES_LIMIT}")]
    found: list[Problem] = []
    seen: dict[str, str] = {}
    for choice in choices:
        # The model accepts an option in any case, so options that differ only in that are the same to it.
        key = " ".join(choice.split()).casefold()
        if not key:
            found.append(Problem("choices", f"{choice!r} is blank; remove it"))
        elif key in seen:
            found.append(Problem("choices", f"{choice!r} is the same as {seen[key]!r}; remove one"))
        elif len(choice) > CHOICE_LIMIT:
            found.append(
                Problem("choices", f"one has {len(choice):,} characters, the limit is {CHOICE_LIMIT}")
            )
        elif bad := _unprintable(choice):
            found.append(Problem("choices", f"one holds {bad}; remove it"))
        seen.setdefault(key, choice)
    return found


def _decide_problems(question: Question) -> list[Problem]:
    allowed = _DECIDES[question.kind]
    if question.decide not in allowed:
        text = f"{question.decide!r} says nothing of kind {question.kind}; use one of {', '.join(allowed)}"
        return [Problem("decide", text)]
    if question.k_of_n is None:
        return []
    k, n = question.k_of_n
    if not 1 <= k <= n:
        return [Problem("k_of_n", f"[{k}, {n}] can never hold; give 1 <= k <= n")]
    if 0 < question.window_ns < n * question.every_ns:
        return [
            Problem("window", f"holds fewer than the {n} answers of k_of_n; give {n} times every, or none")
        ]
    return []


def _threshold_problems(question: Question) -> list[Problem]:
    above, below = question.above, question.below
    if above is None and below is None:
        return []
    field = "below" if above is None else "above"
    if question.kind not in CLOSED_KINDS:
        return [Problem(field, f"not for kind {question.kind}, whose answers have no scores; leave it out")]
    if below is not None and question.kind != "yes_no":
        return [Problem("below", f"not for kind {question.kind}; `above` alone says how sure is sure enough")]
    if above is not None and below is not None and above < below:
        return [Problem("above", f"{above:g} is less than below, {below:g}; give above >= below")]
    return []


def _look_problems(question: Question) -> list[Problem]:
    found = []
    if question.max_words is not None and question.kind not in ("text", "caption"):
        found.append(Problem("max_words", f"not for kind {question.kind}; it is for text and captions"))
    if question.look == "storyboard":
        if question.window_ns < 2 * question.every_ns:
            found.append(
                Problem(
                    "look", "a storyboard shows the frames of the window; give a window of 2 slides or more"
                )
            )
        if question.kind in ("points", "boxes"):
            found.append(Problem("look", f"{question.kind} lie in one picture; leave look out"))
        if question.gate is not None:
            found.append(Problem("look", "a storyboard changes with each frame; leave look or gate out"))
    return found


def _alert_problems(question: Question) -> list[Problem]:
    names = [rule.name for rule in question.alerts]
    found = [
        Problem("alert", f"two are called {name!r}; give each a name of its own")
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    for rule in question.alerts:
        if problem := condition_problem(rule.when, question):
            found.append(Problem("alert", f"when: {problem}"))
        if rule.when.op == "changed" and (rule.hold_ns or rule.k_of_n != (1, 1)):
            found.append(Problem("alert", "a change is a moment; leave for and k_of_n out, or write a value"))
        if rule.above is not None and question.kind in ("points", "boxes"):
            found.append(Problem("alert", f"above: {question.kind} have no confidence; leave it out"))
    return found


def condition_problem(condition: Condition, question: Question) -> str | None:
    """Why a condition can never hold of the answers to a question; None where it can."""
    if condition.op == "changed":
        return None
    kind, operand = question.kind, condition.operand
    compares = condition.op not in ("is", "not")
    if compares and kind not in ("number", "points", "boxes"):
        return f"{condition} compares sizes, and {kind} has none; write a value"
    if kind == "yes_no" and operand.casefold() not in ("yes", "no", "true", "false"):
        return f"{operand!r} is no answer to a yes_no question; write yes or no"
    if kind == "choice" and not any(
        condition.holds(choice) != (condition.op == "not") for choice in question.choices
    ):
        return f"{operand!r} is none of the choices; there are {', '.join(question.choices)}"
    if kind in ("number", "points", "boxes") and condition.number is None:
        return f"{operand!r} is no number; write 3, or >= 3"
    if kind == "number" and not any(condition.holds(n) for n in range(question.max + 1)):
        return f"{condition} never holds of 0…{question.max}; set max, or another number"
    return None


def together_problems(questions: Sequence[Question]) -> list[tuple[str, Problem]]:
    """Mistakes in how questions refer to each other by `if`, each with the id of its question."""
    known = {question.id: question for question in questions}
    found = []
    for question in questions:
        problem = None if question.only_if is None else _follow_problem(question, known)
        if problem is not None:
            found.append((question.id, Problem("if", problem)))
    return found


def check_together(questions: Sequence[Question]) -> None:
    """Refuse questions that refer to each other wrongly.

    Raises:
        ConfigError: one line with every mistake that `together_problems` finds.
    """
    found = together_problems(questions)
    if found:
        raise ConfigError("; ".join(f"question {name!r}: {p.field}: {p.message}" for name, p in found))


def _follow_problem(question: Question, known: Mapping[str, Question]) -> str | None:
    follow = question.only_if
    if follow is None:
        return None
    first = known.get(follow.question)
    if first is None:
        return f"there is no question {follow.question!r}; there are: {', '.join(known)}"
    chain = [question.id]
    while first is not None and first.only_if is not None and first.id not in chain:
        chain.append(first.id)
        first = known.get(first.only_if.question)
    if first is not None and first.id in chain:
        return f"a circle, {' -> '.join([*chain, first.id])}: none of them would ever be asked"
    first = known[follow.question]
    if (
        first.sources is not None
        and not set(question.sources or ()) & set(first.sources)
        and question.sources
    ):
        return f"{first.id} is asked of none of its sources; ask both of the same ones"
    if problem := condition_problem(follow.condition, first):
        if follow.condition.operand == "yes" and first.kind != "yes_no":
            return (
                f"{first.id} is a {first.kind}; say which value, as in `{first.id} >= 1` or `{first.id} red`"
            )
        return problem
    return None


def _unprintable(text: str) -> str | None:
    """The first character that no question may hold, named; None when there is none."""
    for char in text:
        if unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t":
            return f"the control character U+{ord(char):04X}"
    return None
