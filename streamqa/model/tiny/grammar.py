"""Questions and true answers about a scene, in many wordings; some wordings are held out of training."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from streamqa.model.tiny import outside, phrases
from streamqa.model.tiny.phrases import Clause, Clauses, Split
from streamqa.scenes.truth import Facts
from streamqa.scenes.world import COLOURS

CANNOT_TELL = "I can't tell."
_COUNTED = ("person", "car", "dog", "box")
_PLURALS = {
    "person": ("people", "people", "persons"),
    "car": ("cars", "cars", "vehicles"),
    "dog": ("dogs",),
    "box": ("boxes",),
}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QA:
    """A question and its answer. `task` is "query", or the length of a caption, which has no question."""

    type: str
    question: str
    answer: str
    task: str = "query"


class Writer:
    """Words questions at random, either as training does or only in ways that training never sees."""

    def __init__(self, rng: random.Random, heldout: bool = False) -> None:
        """`heldout` decides which half of the wordings is used."""
        self.rng = rng
        self.heldout = heldout

    def yes_no(self, clauses: Clauses, **words: str) -> str:
        """A yes/no question from a clause."""
        clause, frames = self._choose(clauses, phrases.YES_NO)
        if frames is None or (not self.heldout and self.rng.random() < 0.4):
            return self._finish(clause[0] + "?", words)
        frame = self.rng.choice(frames).replace("{q}", clause[0]).replace("{s}", clause[1])
        return self._finish(frame, words)

    def open(
        self, clauses: Clauses, nouns: Split | None = None, bare: Split | None = None, **words: str
    ) -> str:
        """An open question from a clause ("how many …"), a noun ("the number of …"), or complete sentences."""
        kind = self.rng.random()
        if bare is not None and kind < 0.12:
            return self._finish(self.rng.choice(self._part(bare)), words)
        if nouns is not None and nouns.train and kind < 0.3:
            return self._noun(nouns, words)
        clause, frames = self._choose(clauses, _BY_CLAUSE)
        if frames is None or (not self.heldout and self.rng.random() < 0.45):
            return self._finish(clause[0] + "?", words)
        return self._finish(
            self.rng.choice(frames).replace("{q}", clause[0]).replace("{s}", clause[1]), words
        )

    def sentence(self, choices: Split, **words: str) -> str:
        """A sentence complete in itself."""
        return self._finish(self.rng.choice(self._part(choices)), words)

    def _part(self, split: Split) -> tuple[str, ...]:
        return split.heldout if self.heldout else split.train

    def _noun(self, nouns: Split, words: dict[str, str]) -> str:
        if self.heldout and self.rng.random() < 0.5:
            noun, frames = self.rng.choice(nouns.heldout), _BY_NOUN.train
        else:
            noun, frames = self.rng.choice(nouns.train), self._part(_BY_NOUN)
        return self._finish(self.rng.choice(frames).replace("{n}", noun), words)

    def _choose(self, clauses: Clauses, frames: Split) -> tuple[Clause, tuple[str, ...] | None]:
        """A clause and the frames it may stand in; None for the frame means as a plain question."""
        if not self.heldout:
            return self.rng.choice(clauses.train), frames.train
        if self.rng.random() < 0.5:
            return self.rng.choice(clauses.train), frames.heldout
        return self.rng.choice(clauses.heldout), None if self.rng.random() < 0.5 else frames.train

    def _finish(self, text: str, words: dict[str, str]) -> str:
        for name, value in words.items():
            text = text.replace("{" + name + "}", value)
        rng = self.rng
        if "picture" in text and rng.random() < 0.4:
            text = text.replace("picture", rng.choice(("image", "photo", "scene")))
        if "colour" in text and rng.random() < 0.5:
            text = text.replace("colour", "color")
        text = text[0].upper() + text[1:]
        return text if self.heldout else _roughen(text, rng)


_BY_CLAUSE = Split(
    *(tuple(f for f in part if "{n}" not in f) for part in (phrases.OPEN.train, phrases.OPEN.heldout))
)
_BY_NOUN = Split(
    *(tuple(f for f in part if "{n}" in f) for part in (phrases.OPEN.train, phrases.OPEN.heldout))
)


def _roughen(text: str, rng: random.Random) -> str:
    """What people do to sentences: no capitals, no full stop, a letter wrong."""
    if rng.random() < 0.12:
        text = text.lower()
    elif rng.random() < 0.02:
        text = text.upper()
    if rng.random() < 0.12:
        text = text.rstrip("?.")
    if rng.random() < 0.03 and len(text) > 12:
        at = rng.randrange(1, len(text) - 2)
        text = (
            text[:at]
            + rng.choice((text[at + 1] + text[at], "", text[at] * 2))
            + text[at + (2 if rng.random() < 0.5 else 1) :]
        )
    return text


def _yes(value: bool) -> str:
    return "Yes" if value else "No"


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" and not noun.startswith("uni") else f"a {noun}"


def _plural(noun: str) -> str:
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    return noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun + "s"


# --- one function per type: a question with its true answer, or None where there is none ---


def _exist(known: Facts, w: Writer) -> QA | None:
    kind = w.rng.choice(("person", "person", "car", "car", "dog", "box", "fire", "gate", "lamp"))
    there = {**known.present, "gate": known.has_gate, "lamp": known.has_lamp}[kind]
    if there is None:
        return None
    a, m = w.rng.choice(phrases.NOUNS[kind])
    if w.rng.random() < 0.1:
        question = w.sentence(phrases.THERE_BARE, a=a, m=m)
    elif kind == "fire" and w.rng.random() < 0.4:
        question = w.yes_no(phrases.CLAUSES["fire"])
    else:
        question = w.yes_no(phrases.THERE, a=a, m=m)
    return QA(f"exist_{kind}", question, _yes(there))


def _fire(known: Facts, w: Writer) -> QA | None:
    burning = known.present["fire"]
    return None if burning is None else QA("exist_fire", w.yes_no(phrases.CLAUSES["fire"]), _yes(burning))


def _exist_outside(known: Facts, w: Writer) -> QA | None:
    del known
    noun = w.rng.choice(outside.NOUNS.heldout if w.heldout and w.rng.random() < 0.5 else outside.NOUNS.train)
    a, m = _article(noun), _plural(noun)
    if w.rng.random() < 0.1:
        return QA("exist_outside", w.sentence(phrases.THERE_BARE, a=a, m=m), "No")
    return QA("exist_outside", w.yes_no(phrases.THERE, a=a, m=m), "No")


def _exist_coloured(known: Facts, w: Writer) -> QA | None:
    kind = w.rng.choice(("person", "car"))
    present = known.colours[kind]
    if present is None:
        return None
    absent = [c for c in COLOURS if c not in present]
    colour = w.rng.choice(present if present and w.rng.random() < 0.5 else (absent or present))
    a, m = (text.format(c=colour) for text in w.rng.choice(phrases.COLOURED[kind]))
    return QA("exist_coloured", w.yes_no(phrases.THERE, a=a, m=m), _yes(colour in present))


def _colour(known: Facts, w: Writer) -> QA | None:
    kind = w.rng.choice(("person", "car", "car"))
    present = known.colours[kind]
    if present is None or len(set(present)) > 1 or (not present and w.rng.random() < 0.7):
        return None
    question = w.open(phrases.COLOUR[kind], phrases.COLOUR_NOUN[kind])
    return QA("colour", question, present[0] if present else CANNOT_TELL)


def _count(known: Facts, w: Writer) -> QA | None:
    kind = w.rng.choices((*_COUNTED, "outside"), (0.42, 0.36, 0.09, 0.08, 0.05))[0]
    if kind == "outside":
        number: int | None = 0
        plural = _plural(w.rng.choice(outside.NOUNS.train))
    else:
        number = known.counts[kind]
        plural = w.rng.choice(_PLURALS[kind])
    if number is None:
        return None
    question = w.open(phrases.COUNT, phrases.COUNT_NOUN, phrases.COUNT_BARE, m=plural)
    return QA(f"count_{kind}", question, str(number))


def _either(known: Facts, w: Writer, name: str) -> QA | None:
    light = None if known.light is None else ("on" if known.light else "off")
    answer = {"gate": known.gate, "light": light, "daytime": known.daytime}[name]
    question = w.open(phrases.EITHER[name], phrases.EITHER_NOUN[name], phrases.EITHER_BARE[name])
    missing = {"gate": not known.has_gate, "light": not known.has_lamp, "daytime": False}[name]
    if missing:
        return QA("missing", question, CANNOT_TELL)
    return None if answer is None else QA(name, question, answer)


def _either_yes_no(known: Facts, w: Writer, name: str) -> QA | None:
    first, second = {
        "gate": ("gate_open", "gate_closed"),
        "light": ("light_on", "light_off"),
        "daytime": ("day", "night"),
    }[name]
    is_first = {
        "gate": None if known.gate is None else known.gate == "open",
        "light": known.light,
        "daytime": None if known.daytime is None else known.daytime == "day",
    }[name]
    if is_first is None:
        return None
    asked_first = w.rng.random() < 0.6
    question = w.yes_no(phrases.CLAUSES[first if asked_first else second])
    return QA(f"{name}_yes_no", question, _yes(asked_first == is_first))


def _at_gate(known: Facts, w: Writer) -> QA | None:
    return (
        None
        if known.at_gate is None
        else QA("at_gate", w.yes_no(phrases.CLAUSES["at_gate"]), _yes(known.at_gate))
    )


def _fallen(known: Facts, w: Writer) -> QA | None:
    # One in four scenes has somebody lying: asking less often elsewhere brings Yes and No near each other.
    if known.fallen is None or (not known.fallen and not w.heldout and w.rng.random() < 0.5):
        return None
    return QA("fallen", w.yes_no(phrases.CLAUSES["fallen"]), _yes(known.fallen))


def _outside(known: Facts, w: Writer) -> QA | None:
    del known
    kind = w.rng.random()
    if kind < 0.08 and not w.heldout:
        return QA("outside", w.sentence(Split(outside.BARE, ())), CANNOT_TELL)
    if kind < 0.3:
        return QA("outside", w.yes_no(outside.YES_NO), CANNOT_TELL)
    if kind < 0.62:
        question, noun = w.rng.choice(_traits(w.heldout))
        pair = Clauses(((question, question),), ((question, question),))
        return QA("outside", w.open(pair, Split((noun,), (noun,))), CANNOT_TELL)
    return QA("outside", w.open(outside.OPEN), CANNOT_TELL)


@lru_cache(maxsize=2)
def _traits(heldout: bool) -> list[Clause]:
    return outside.traits(heldout)


def _describe(known: Facts, w: Writer) -> QA | None:
    return QA("describe", w.sentence(phrases.DESCRIBE), caption(known, "normal"))


_TYPES: dict[str, tuple[float, Callable[[Facts, Writer], QA | None]]] = {
    "exist": (0.13, _exist),
    "fire": (0.03, _fire),
    "exist_outside": (0.05, _exist_outside),
    "exist_coloured": (0.06, _exist_coloured),
    "colour": (0.06, _colour),
    "count": (0.22, _count),
    "gate": (0.05, lambda known, w: _either(known, w, "gate")),
    "gate_yes_no": (0.04, lambda known, w: _either_yes_no(known, w, "gate")),
    "light": (0.03, lambda known, w: _either(known, w, "light")),
    "light_yes_no": (0.06, lambda known, w: _either_yes_no(known, w, "light")),
    "daytime": (0.04, lambda known, w: _either(known, w, "daytime")),
    "daytime_yes_no": (0.03, lambda known, w: _either_yes_no(known, w, "daytime")),
    "at_gate": (0.07, _at_gate),
    "fallen": (0.07, _fallen),
    "outside": (0.08, _outside),
    "describe": (0.01, _describe),
}


def questions_for(known: Facts, rng: random.Random, heldout: bool = False) -> list[QA]:
    """One question of every type that can be answered about a scene."""
    writer = Writer(rng, heldout)
    return [qa for _, make in _TYPES.values() if (qa := make(known, writer)) is not None]


def training_mix(known: Facts, rng: random.Random, count: int) -> list[QA]:
    """`count` questions at random with training's weights, and a caption now and then."""
    writer = Writer(rng)
    names, weights = list(_TYPES), [weight for weight, _ in _TYPES.values()]
    found: list[QA] = []
    for name in rng.choices(names, weights, k=2 * count):
        qa = _TYPES[name][1](known, writer)
        if qa is not None and len(found) < count:
            found.append(qa)
    if rng.random() < 0.25:
        length = rng.choice(("short", "normal", "long"))
        found.insert(0, QA("caption", "", caption(known, length), length))
    return found


def caption(known: Facts, length: str) -> str:
    """What is certain about a scene, in a few words: short, normal or long."""
    parts = [_several(known, "person", ("person", "people")), _several(known, "car", ("car", "cars"))]
    if length != "short":
        parts += [
            "a fire" if known.present["fire"] else None,
            "a person is lying on the ground" if known.fallen else None,
        ]
    if length == "long":
        parts += [_several(known, "dog", ("dog", "dogs")) if known.counts["dog"] else None]
        parts += [_several(known, "box", ("box", "boxes")) if known.counts["box"] else None]
        parts += ["a person is at the gate" if known.at_gate else None]
    if length != "short":
        parts += [None if known.gate is None else f"the gate is {known.gate}"]
    if length == "long":
        parts += [None if known.light is None else f"the light is {'on' if known.light else 'off'}"]
    parts += [known.daytime]
    return ", ".join(part for part in parts if part is not None) + "."


def _several(known: Facts, kind: str, nouns: tuple[str, str]) -> str | None:
    number = known.counts[kind]
    if number is None:
        return None
    if number == 1:
        colours: Sequence[str] = known.colours.get(kind) or ()
        return f"1 {colours[0]} {nouns[0]}" if kind == "car" and colours else f"1 {nouns[0]}"
    return f"{number or 'no'} {nouns[1]}"
