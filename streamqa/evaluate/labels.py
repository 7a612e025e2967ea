"""Labels: what is true of recordings from when to when, as a file of comma-separated values says it. Pure.

    source,from,to,question,value
    gate.mp4,0:00,0:12.5,person,no
    gate.mp4,12.5,60,person,yes

Times are seconds or [hh:]mm:ss of the recording, half open: [from, to). A value is written as its kind says it:
yes or no, a choice, a number, of text the exact words. What no label covers counts for nothing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from streamqa.errors import ConfigError, SourceError, StreamQAError
from streamqa.types import NS_PER_S, Question

HEADER = ("source", "from", "to", "question", "value")
MAX_FILE_BYTES = 10_000_000
MAX_LABELS = 100_000
KINDS_WITH_LABELS = ("yes_no", "choice", "number", "text", "caption")

_MOST_TOLD = 50  # mistakes
_LONGEST_S = 366 * 86_400
_LINE_END = re.compile(r"\r\n|\n|\r")
_QUOTED = re.compile(r' *"((?:[^"]|"")*)" *(?=,|$)')
_PLAIN = re.compile(r"[^,]*")
_TIME = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,6}):)?(\d{1,9})(\.\d{1,9})?", re.ASCII)
_YES_NO = {"yes": True, "no": False}

Truth: TypeAlias = bool | int | str


@dataclass(frozen=True, slots=True)
class Label:
    """What is true, as an answer to `question`, in [from_ns, to_ns) of a recording's stream time."""

    source: str  # the recording
    from_ns: int
    to_ns: int
    question: str  # id
    value: Truth
    line: int  # of the file, from 1

    def __post_init__(self) -> None:
        if not 0 <= self.from_ns < self.to_ns:
            raise ValueError(
                f"a label lasts from a time to a later one, got {self.from_ns} to {self.to_ns} ns"
            )


@dataclass(frozen=True, slots=True)
class Known:
    """What the rows of a file may speak of."""

    questions: Mapping[str, Question]  # by id: those that may be labelled
    # A recording's one name, from how it is written; raises ConfigError or SourceError where there is none.
    find: Callable[[str], str] = str
    skip_others: bool = False  # rows about other questions are left out, instead of being mistakes


class _Mistake(NamedTuple):
    line: int
    column: int  # in characters, from 1
    text: str
    is_missing: bool = False  # a recording that is not there: nothing is wrong with the file


class _Field(NamedTuple):
    column: int
    text: str


class _Wrong(Exception):
    """A field that cannot be read, in words for its owner."""


def parse_labels(raw: bytes, name: str, known: Known) -> tuple[Label, ...]:
    """The labels of a file, in its order; `name` stands before each mistake.

    Raises:
        ConfigError: one line for each mistake, as `file:line:column: what; what instead`.
        SourceError: the same, where only recordings are missing.
    """
    labels, mistakes = _read(raw, known)
    mistakes += _contradictions(labels)
    if not mistakes:
        return tuple(labels)
    mistakes.sort()
    told = [f"{name}:{m.line}:{m.column}: {m.text}" for m in mistakes[:_MOST_TOLD]]
    if len(mistakes) > _MOST_TOLD:
        told.append(f"{name}: {len(mistakes) - _MOST_TOLD:,} more mistakes; the first {_MOST_TOLD} are told")
    error: type[StreamQAError] = SourceError if all(m.is_missing for m in mistakes) else ConfigError
    raise error("\n".join(told))


def labels_text(rows: Iterable[tuple[str, int, int, str, Truth]]) -> str:
    """A file of labels: source, from and to in ns, question and value of each."""
    lines = [",".join(HEADER)]
    for source, from_ns, to_ns, question, value in rows:
        fields = (source, _seconds(from_ns), _seconds(to_ns), question, value_text(value))
        lines.append(",".join(map(_quoted, fields)))
    return "\n".join(lines) + "\n"


def value_text(value: object) -> str:
    """A value as labels and people write it."""
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def parse_time(text: str) -> int:
    """`12.5`, `1:02.5` or `1:00:02` in nanoseconds, exactly.

    Raises:
        ValueError: it is no such time; one line that says what to write.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is no time; write seconds such as 12.5, or [hh:]mm:ss")
    hours, minutes, seconds = (int(part or 0) for part in found.groups()[:3])
    if (found[2] and seconds >= 60) or (found[1] and minutes >= 60):
        raise ValueError(f"{text[:40]!r} is no time: after a colon comes a number below 60")
    whole_s = 3600 * hours + 60 * minutes + seconds
    if whole_s > _LONGEST_S:
        raise ValueError(f"{text[:40]!r} is more than a year")
    return whole_s * NS_PER_S + int(Decimal(found[4] or 0) * NS_PER_S)


def _read(raw: bytes, known: Known) -> tuple[list[Label], list[_Mistake]]:
    if len(raw) > MAX_FILE_BYTES:
        return [], [_Mistake(1, 1, f"{len(raw):,} bytes; the limit is {MAX_FILE_BYTES:,}: use several files")]
    try:
        text = raw.decode("utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        return [], [_Mistake(line, 1, f"not UTF-8 text (byte {error.start}); save it as CSV in UTF-8")]
    lines = _LINE_END.split(text)
    if wrong := _header_mistake(lines[0]):
        return [], [_Mistake(1, 1, wrong)]
    written = [(number, line) for number, line in enumerate(lines[1:], 2) if line.strip()]
    if not written:
        return [], [_Mistake(2, 1, "no label; write at least one line below the first")]
    if len(written) > MAX_LABELS:
        what = f"{len(written):,} labels; the limit is {MAX_LABELS:,}: use several files"
        return [], [_Mistake(written[MAX_LABELS][0], 1, what)]
    rows = _Rows(known)
    labels = [label for number, line in written if (label := rows.label(number, line)) is not None]
    if not labels and not rows.mistakes:
        asked = ", ".join(known.questions)
        rows.mistakes.append(_Mistake(2, 1, f"no label of the questions that are wanted: {asked}"))
    return labels, rows.mistakes


def _header_mistake(line: str) -> str:
    wanted = ",".join(HEADER)
    if not line.strip():
        return f"empty; the first line is {wanted}"
    try:
        found = tuple(field.text.strip().casefold() for field in _fields(line))
    except _Wrong as wrong:
        return str(wrong)
    if found == HEADER:
        return ""
    if any(tuple(line.casefold().split(separator)) == HEADER for separator in ";\t"):
        return f"the columns must stand apart by commas; save it as comma-separated values: {wanted}"
    return f"the first line names the columns: {wanted}"


class _Rows:
    """Reads row by row, and keeps what is wrong."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._found: dict[str, str | StreamQAError] = {}  # a recording is looked for once
        self.mistakes: list[_Mistake] = []

    def label(self, number: int, line: str) -> Label | None:
        """The label of a line; None: there is a mistake in it, or it is about another question."""
        try:
            fields = _fields(line)
        except _Wrong as wrong:
            self._tell(number, 1, str(wrong))
            return None
        if len(fields) != len(HEADER):
            self._tell(number, 1, f"{len(fields)} columns; there are {len(HEADER)}: {','.join(HEADER)}")
            return None
        source, begin, end, question, value = fields
        asked = self._known.questions.get(question.text)
        if asked is None and self._known.skip_others:
            return None
        before = len(self.mistakes)
        recording = self._recording(number, source)
        from_ns, to_ns = self._time(number, begin), self._time(number, end)
        if from_ns is not None and to_ns is not None and from_ns >= to_ns:
            what = f"ends at {end.text}, which is not after {begin.text}; a label goes from a time to a later one"
            self._tell(number, end.column, what)
        truth = self._truth(number, question, asked, value)
        if len(self.mistakes) > before or from_ns is None or to_ns is None or truth is None:
            return None
        return Label(recording, from_ns, to_ns, question.text, truth, number)

    def _tell(self, line: int, column: int, text: str, is_missing: bool = False) -> None:
        self.mistakes.append(_Mistake(line, column, text, is_missing))

    def _recording(self, line: int, field: _Field) -> str:
        if field.text not in self._found:
            try:
                self._found[field.text] = self._known.find(field.text)
            except (ConfigError, SourceError) as error:
                self._found[field.text] = error
        found = self._found[field.text]
        if isinstance(found, str):
            return found
        self._tell(line, field.column, str(found), isinstance(found, SourceError))
        return ""

    def _time(self, line: int, field: _Field) -> int | None:
        try:
            return parse_time(field.text)
        except ValueError as error:
            self._tell(line, field.column, str(error))
            return None

    def _truth(self, line: int, field: _Field, asked: Question | None, value: _Field) -> Truth | None:
        if asked is None:
            self._tell(line, field.column, _unknown(field.text, self._known.questions))
            return None
        try:
            return _value(asked, value.text)
        except _Wrong as wrong:
            self._tell(line, value.column, str(wrong))
            return None


def _fields(line: str) -> list[_Field]:
    """The fields of a line, each with where it begins; a field in quotes may hold commas."""
    found, at = [], 0
    while True:
        if line[at:].lstrip(" ").startswith('"'):
            match = _QUOTED.match(line, at)
            if match is None:
                raise _Wrong('a " that does not end its field on this line; write " inside of one as ""')
            found.append(_Field(at + 1, match[1].replace('""', '"')))
        else:
            match = _PLAIN.match(line, at)
            assert match is not None
            found.append(_Field(at + 1, match[0].strip()))
        at = match.end() + 1
        if at > len(line):
            return found


def _unknown(text: str, questions: Mapping[str, Question]) -> str:
    near = difflib.get_close_matches(text[:100], list(questions), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(questions)}"
    return f"there is no question {text[:40]!r}; {hint}"


def _value(question: Question, text: str) -> Truth:
    if question.kind not in KINDS_WITH_LABELS:
        raise _Wrong(f"{question.kind} cannot be labelled here; there are {', '.join(KINDS_WITH_LABELS)}")
    shown = repr(text[:40])
    if question.kind == "yes_no":
        if text.casefold() not in _YES_NO:
            raise _Wrong(f"{shown} is no answer to a yes_no question; write yes or no")
        return _YES_NO[text.casefold()]
    if question.kind == "choice":
        for choice in question.choices:
            if choice.strip() == text or _folded(choice) == _folded(text):
                return choice
        raise _Wrong(f"{shown} is none of the choices; there are {', '.join(question.choices)}")
    if question.kind == "number":
        if not re.fullmatch(r"\d{1,3}", text, re.ASCII) or int(text) > question.max:
            raise _Wrong(
                f"{shown} is none of 0…{question.max}, which the question knows; write one, or set max"
            )
        return int(text)
    if not text:
        raise _Wrong("empty; write the exact answer")
    return text


def _folded(choice: str) -> str:
    return " ".join(choice.split()).casefold()


def _contradictions(labels: Iterable[Label]) -> Iterator[_Mistake]:
    """Labels that overlap an earlier beginning one of the same recording and question, and say something else."""
    last: dict[tuple[str, str], list[Label]] = {}  # the furthest label, and the furthest of another value
    for label in sorted(labels, key=lambda label: (label.from_ns, label.line)):
        furthest = last.setdefault((label.source, label.question), [])
        other = next((one for one in reversed(furthest) if one.value != label.value), None)
        if other is not None and other.to_ns > label.from_ns:
            first, second = sorted((other, label), key=lambda one: one.line)
            yield _contradiction(first, second, label.from_ns)
        rest = [one for one in furthest if one.value != label.value]
        same = [one for one in furthest if one.value == label.value] + [label]
        furthest[:] = sorted([*rest, max(same, key=_end)], key=_end)[-2:]


def _contradiction(first: Label, second: Label, at_ns: int) -> _Mistake:
    values = f"{value_text(second.value)!r} here, {value_text(first.value)!r} in line {first.line}"
    return _Mistake(
        second.line,
        1,
        f"two truths about {second.question} at {_seconds(at_ns)} s: {values}; let one end where the other begins",
    )


def _end(label: Label) -> int:
    return label.to_ns


def _seconds(t_ns: int) -> str:
    return f"{(Decimal(t_ns) / NS_PER_S).normalize():f}"


def _quoted(field: str) -> str:
    if not field or any(char in field for char in ',"') or field != field.strip():
        return '"' + field.replace('"', '""') + '"'
    return field
