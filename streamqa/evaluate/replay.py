"""Labelled footage through the product's own line: each recording once, with every question in all its wordings."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from streamqa.capture.source import SourceSpec
from streamqa.errors import StreamQAError
from streamqa.evaluate.labels import Label, Truth
from streamqa.evaluate.trials import Track
from streamqa.metrics import Metrics
from streamqa.model.base import VisionModel
from streamqa.model.health import Health
from streamqa.pipeline import Parts
from streamqa.recorded import Stop, answer_all
from streamqa.sinks.base import Logged
from streamqa.sinks.log import AnswerLog, LogSettings
from streamqa.sinks.retention import Keeping
from streamqa.types import NS_PER_S, Question, Reading

_LOG = LogSettings(records=Keeping(size_bytes=32_000_000))  # what is needed of the answers is kept beside it


@dataclass(frozen=True, slots=True)
class Line:
    """What a replay runs on; whoever made it closes it."""

    model: VisionModel
    metrics: Metrics
    health: Health = field(default_factory=Health)


class Worded(NamedTuple):
    """A question with the wordings in which it is read, its own first."""

    question: Question
    wordings: tuple[str, ...]


class Labelled(NamedTuple):
    """What is labelled, and where it is seen."""

    labels: tuple[Label, ...]
    footage: Mapping[str, SourceSpec]  # by the labels' `source`


class Replayed(NamedTuple):
    """What came of it."""

    tracks: Mapping[str, Mapping[str, Sequence[Track]]]  # by question and by wording
    failures: Mapping[str, StreamQAError]  # recordings that gave nothing or ended badly


class _Asked(NamedTuple):
    question: str
    wording: str
    standing: Question  # as the line is asked


def replay(
    worded: Sequence[Worded],
    labelled: Labelled,
    line: Line,
    stop: Stop,
    told: Callable[[str], None] = lambda _: None,
) -> Replayed:
    """Read every labelled question at all its ticks up to a recording's last label, in each of its wordings.

    By each frame alone: without window, thresholds, `for`, `if`, hours and change gate. Where a question looks at a
    storyboard its window is a part of what is asked, and stays. `told` hears of each recording; `stop` ends it early.

    Raises:
        ModelError: the model could not answer a question, whatever the picture.
        StreamQAError: the line itself failed.
    """
    tracks: dict[str, dict[str, list[Track]]] = {
        one.question.id: {ask: [] for ask in one.wordings} for one in worded
    }
    failures: dict[str, StreamQAError] = {}
    for source, spec in labelled.footage.items():
        own = [label for label in labelled.labels if label.source == source]
        asked = _asked(worded, {label.question for label in own})
        if stop.is_set() or not asked:
            continue
        told(
            f"replaying {source} (questions: {len({one.question for one in asked})}, wordings: {len(asked)})"
        )
        kept = _Kept(max(label.to_ns for label in own), stop)
        with closing(AnswerLog(":memory:", _LOG)) as log:
            standing = tuple(one.standing for one in asked)
            parts = Parts(standing, (spec,), line.model, log, (kept,), line.metrics, line.health)
            failures |= answer_all(parts, kept)
        for one in asked:
            times, readings = kept.of(one.standing.id)
            truths = truths_at(times, (label for label in own if label.question == one.question))
            tracks[one.question][one.wording].append(Track(source, times, readings, truths))
    return Replayed(tracks, failures)


def truths_at(times_ns: Iterable[int], labels: Iterable[Label]) -> tuple[Truth | None, ...]:
    """What labels of one question and recording, which do not contradict each other, say of each time."""
    found: list[Label] = []
    for label in sorted(labels, key=lambda label: label.from_ns):
        if found and label.from_ns <= found[-1].to_ns and label.value == found[-1].value:
            found[-1] = replace(found[-1], to_ns=max(found[-1].to_ns, label.to_ns))
        else:
            found.append(label)
    begins = [label.from_ns for label in found]
    truths: list[Truth | None] = []
    for t_ns in times_ns:
        at = bisect_right(begins, t_ns) - 1
        truths.append(found[at].value if at >= 0 and t_ns < found[at].to_ns else None)
    return tuple(truths)


def without_ticks(labels: Iterable[Label], replayed: Replayed) -> Iterator[Label]:
    """Labels in whose stretch their question was not read: it is shorter than a slide, or beyond the recording."""
    times = {
        (question, track.source): track.times_ns
        for question, by_wording in replayed.tracks.items()
        for tracks in list(by_wording.values())[:1]  # the ticks of all wordings are the same
        for track in tracks
    }
    for label in labels:
        found = times.get((label.question, label.source), ())
        at = bisect_left(found, label.from_ns)
        if at == len(found) or found[at] >= label.to_ns:
            yield label


def _asked(worded: Sequence[Worded], labelled: set[str]) -> tuple[_Asked, ...]:
    return tuple(
        _Asked(question.id, ask, _alone(question, ask, number))
        for question, wordings in worded
        if question.id in labelled
        for number, ask in enumerate(wordings)
    )


def _alone(question: Question, ask: str, number: int) -> Question:
    """As it is asked of each frame by itself."""
    return replace(
        question,
        id=f"{question.id}~{number}" if number else question.id,  # no id of a configuration holds a ~
        ask=ask,
        sources=None,
        window_ns=question.window_ns if question.look == "storyboard" else 0,
        decide="latest",
        k_of_n=None,
        above=None,
        below=None,
        hold_ns=0,
        only_if=None,
        when=None,
        gate=None,
        alerts=(),
    )


class _Kept:
    """A sink that keeps what each frame said, and stops the line behind the last label."""

    def __init__(self, until_ns: int, stop: Stop) -> None:
        self._until_ns, self._stop = until_ns, stop
        self._readings: dict[str, list[tuple[int, Reading]]] = defaultdict(list)
        self._is_over = False

    def write(self, records: Sequence[Logged]) -> None:
        for record in records:
            payload = record.payload
            if payload["type"] != "answer":
                continue
            t_ns = round(payload["t_s"] * NS_PER_S)
            self._readings[payload["question"]].append((t_ns, _reading(payload)))
            self._is_over = self._is_over or t_ns >= self._until_ns

    def close(self) -> None:
        """Nothing is held."""

    def is_set(self) -> bool:
        """Whether the line is to stop."""
        return self._is_over or self._stop.is_set()

    def of(self, question: str) -> tuple[tuple[int, ...], tuple[Reading, ...]]:
        """Times and readings, in order."""
        found = self._readings[question]
        return tuple(t_ns for t_ns, _ in found), tuple(reading for _, reading in found)


def _reading(payload: Mapping[str, Any]) -> Reading:
    reading = payload["reading"]
    is_ok = reading["state"] == "ok"
    return Reading(
        value=reading["value"] if is_ok else None,
        confidence=reading["confidence"],
        state=reading["state"],
        reason="" if is_ok else payload["reason"] or "",
        text=payload["text"],
        scores=tuple((reading["scores"] or {}).items()),
        mass=payload["mass"],
    )
