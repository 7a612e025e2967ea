"""The answer kinds: how a question is put to a model, and how what it says becomes a reading.

Pure: no model, no clock, no numpy. Closed kinds (yes_no, choice, number) are scored, never parsed: the model
gives each option's full-vocabulary probability and the rule in `_Closed.read` does the rest. To add a kind:
one class with `prompt` and `read`, one entry in `ANSWER_KINDS`, one in `types.Kind`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from streamqa.types import Generation, Option, Prompt, Question, Reading, Task, Value

_TOKENS_A_WORD = 4  # English takes about 1.4; long names and other languages take more
_SHORT = 20  # words up to which a short caption is asked for
MASS_FLOOR = 0.5  # below, the model would rather have said something that is not on the list

_TO_NINETEEN = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = (
    *_TO_NINETEEN.split(),
    *(f"{ten}-{one}" if one != "zero" else ten for ten in _TENS.split() for one in _TO_NINETEEN.split()[:10]),
    "one hundred",
)
# C0, DEL and C1 could steer the terminal that shows an answer; line feed and tab are text.
_CONTROLS = dict.fromkeys([c for c in range(0x20) if c not in (0x09, 0x0A)] + list(range(0x7F, 0xA0)))


@dataclass(frozen=True, slots=True)
class Wording:
    """What a family of models is told beside the question, so that it answers as the kind wants it; "": nothing.

    `{}` stands for the choices, or for how many words. Models that were trained on plain questions are told nothing.
    """

    yes_no: str = ""
    choice: str = ""
    number: str = ""
    max_words: str = ""
    storyboard: str = ""  # before the question


PLAIN = Wording()
# Not measured: no real weights could be had. moondream's own evaluation asks yes/no questions in this way.
_MOONDREAM = Wording(
    yes_no="\nAnswer yes or no.",
    choice="\nChoose one of: {}.",
    number="\nAnswer with one number.",
    max_words="\nAnswer in at most {} words.",
    storyboard="This picture shows frames of one video, numbered in the order in which they were taken. ",
)
_WORDINGS: Mapping[str, Wording] = {"moondream2": _MOONDREAM}


class AnswerKind(Protocol):
    """One kind of answer."""

    def prompt(self, question: Question, wording: Wording) -> Prompt:
        """How `question` is put to the model; its text goes as the user wrote it, and as `wording` adds to it."""
        ...

    def read(self, question: Question, generation: Generation) -> Reading:
        """What `generation`, the answer to `prompt(question)`, says. Never raises for what a model may say."""
        ...


def prompt_for(question: Question, model: str = "") -> Prompt:
    """How `question` is put to the model of that name (`ModelInfo.name`); unknown ones are told nothing more."""
    return ANSWER_KINDS[question.kind].prompt(question, _WORDINGS.get(model, PLAIN))


def read_answer(question: Question, generation: Generation) -> Reading:
    """What the model's answer to `prompt_for(question)` says."""
    return ANSWER_KINDS[question.kind].read(question, generation)


def error_reading(detail: str) -> Reading:
    """The reading of a prompt that failed: state `error`, reason `model_error: …` on one line of ≤ 200."""
    line = " ".join(clean_text(detail).split()) or "no reason given"
    return Reading(value=None, confidence=None, state="error", reason=f"model_error: {line}"[:200])


def clean_text(text: str) -> str:
    """`text` as it may be shown and stored: no control characters but line feed and tab, valid Unicode."""
    return text.translate(_CONTROLS).encode("utf-8", "replace").decode("utf-8")


def number_word(number: int) -> str | None:
    """The English word of 0…100, None beyond."""
    return _WORDS[number] if 0 <= number < len(_WORDS) else None


@dataclass(frozen=True, slots=True)
class _Closed:
    """A closed list of options, scored by the model in the same pass as everything else."""

    options: Callable[[Question], tuple[Option, ...]]

    def prompt(self, question: Question, wording: Wording) -> Prompt:
        choices = ", ".join(choice.strip() for choice in question.choices)
        added = {"yes_no": wording.yes_no, "choice": wording.choice, "number": wording.number}[question.kind]
        text = _introduced(question, wording) + (added.format(choices) if added else "")
        return Prompt(text=text, options=self.options(question), max_tokens=question.max_tokens)

    def read(self, question: Question, generation: Generation) -> Reading:
        """design.md 6: mass = sum of the options' probabilities; score = probability / mass; value = the
        largest (the first of equals), confidence = its score.

        mass < 0.5 → `unsure`, reason `off_list`, no value and no confidence; the scores stay. mass 0 has no
        scores. Probabilities that are none (NaN, outside [0, 1] by more than rounding, too few) → `error`.
        """
        if generation.finish == "error":
            return error_reading(generation.error)
        options = self.options(question)
        given = generation.option_probs
        if len(given) != len(options) or not all(-1e-3 <= p <= 1.001 for p in given):
            return error_reading(f"{len(options)} option probabilities expected, got {given}")
        probs = [max(0.0, p) for p in given]  # a difference of probabilities may round to just below 0
        mass = math.fsum(probs)
        if mass == 0.0:
            return Reading(value=None, confidence=None, state="unsure", reason="off_list", mass=0.0)
        scores = tuple((_label(o), p / mass) for o, p in zip(options, probs, strict=True))
        if mass < MASS_FLOOR:
            said = clean_text(generation.text).strip()
            return Reading(None, None, "unsure", "off_list", text=said, scores=scores, mass=mass)
        best = max(range(len(probs)), key=probs.__getitem__)
        return Reading(
            value=options[best].value,
            confidence=scores[best][1],
            state="ok",
            text=options[best].variants[0],
            scores=scores,
            mass=mass,
        )


@dataclass(frozen=True, slots=True)
class _Free:
    """Generated text; the confidence is the mean token probability exp(mean log-probability)."""

    task: Task

    def prompt(self, question: Question, wording: Wording) -> Prompt:
        text, words = _introduced(question, wording), question.max_words
        if words is None:
            return Prompt(text=text, task=self.task, max_tokens=question.max_tokens)
        return Prompt(
            text=text if self.task == "caption" else text + wording.max_words.format(words),
            task=self.task,
            max_tokens=min(question.max_tokens, words * _TOKENS_A_WORD),
            length="short" if words <= _SHORT else "normal",
        )

    def read(self, question: Question, generation: Generation) -> Reading:
        """The value is the text, stripped, cut after `max_words`. A model that says nothing is `unsure`, `empty`."""
        if generation.finish == "error":
            return error_reading(generation.error)
        text = _cut(clean_text(generation.text).strip(), question.max_words)
        if not text:
            return Reading(value=None, confidence=None, state="unsure", reason="empty")
        return Reading(value=text, confidence=_mean_probability(generation), state="ok", text=text)


@dataclass(frozen=True, slots=True)
class _Places:
    """Points or boxes of what the question names; none found is an answer, the empty tuple."""

    task: Task

    def prompt(self, question: Question, wording: Wording) -> Prompt:
        return Prompt(text=question.ask, task=self.task)

    def read(self, question: Question, generation: Generation) -> Reading:
        """Coordinates that are not finite → `error`."""
        if generation.finish == "error":
            return error_reading(generation.error)
        value: Value = generation.points if self.task == "point" else generation.boxes
        numbers = [x for p in generation.points for x in (p.x, p.y)]
        numbers += [x for b in generation.boxes for x in (b.x_min, b.y_min, b.x_max, b.y_max)]
        if not all(math.isfinite(x) for x in numbers):
            return error_reading("a coordinate is not finite")
        confidence = _mean_probability(generation) if generation.tokens else None
        return Reading(
            value=value, confidence=confidence, state="ok", text=clean_text(generation.text).strip()
        )


def _introduced(question: Question, wording: Wording) -> str:
    """The question's words, and of a storyboard what it is shown."""
    return wording.storyboard + question.ask if question.look == "storyboard" else question.ask


def _cut(text: str, most: int | None) -> str:
    """Its first words, with a sign where there were more."""
    words = text.split()
    return text if most is None or len(words) <= most else " ".join(words[:most]) + "…"


def _mean_probability(generation: Generation) -> float | None:
    """exp(mean log-probability), at most 1; None where the model gave no finite number."""
    if not math.isfinite(generation.logprob):
        return None
    return math.exp(min(0.0, generation.logprob))


def _label(option: Option) -> str:
    """An option's name in `scores`."""
    if isinstance(option.value, bool):
        return "yes" if option.value else "no"
    return str(option.value)


def _yes_no(_: Question) -> tuple[Option, ...]:
    return (Option(True, ("Yes",)), Option(False, ("No",)))


def _choice(question: Question) -> tuple[Option, ...]:
    return _choices(question.choices)


def _number(question: Question) -> tuple[Option, ...]:
    return _numbers(question.max)


@lru_cache(maxsize=256)  # built for every answer otherwise
def _choices(choices: tuple[str, ...]) -> tuple[Option, ...]:
    return tuple(Option(choice, (choice.strip(),)) for choice in choices)


@lru_cache(maxsize=256)
def _numbers(largest: int) -> tuple[Option, ...]:
    words = ((n, number_word(n)) for n in range(largest + 1))
    return tuple(Option(n, (str(n), word) if word else (str(n),)) for n, word in words)


ANSWER_KINDS: Mapping[str, AnswerKind] = {
    "text": _Free("query"),
    "yes_no": _Closed(_yes_no),
    "choice": _Closed(_choice),
    "number": _Closed(_number),
    "caption": _Free("caption"),
    "points": _Places("point"),
    "boxes": _Places("detect"),
}
