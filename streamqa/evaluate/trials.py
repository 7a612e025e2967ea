"""What a question says of labelled recordings with this setting or that, by the product's own window. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from streamqa.engine.window import Window, thresholds
from streamqa.evaluate.calibration import Tick, answer_of
from streamqa.evaluate.labels import Truth
from streamqa.types import Decide, Question, Reading, Value


@dataclass(frozen=True, slots=True)
class Track:
    """One recording as read in one wording: a reading for each tick, in order, and what is true then."""

    source: str
    times_ns: tuple[int, ...]
    readings: tuple[Reading, ...]
    truths: tuple[Truth | None, ...]  # None: no label says

    def __post_init__(self) -> None:
        if not len(self.times_ns) == len(self.readings) == len(self.truths):
            raise ValueError("a track has a time, a reading and a truth, or None, for each tick")

    @property
    def labelled(self) -> int:
        """Ticks of which a label says what is true."""
        return sum(truth is not None for truth in self.truths)


@dataclass(frozen=True, slots=True)
class Setting:
    """What can be chosen of a question."""

    ask: str
    window_ns: int
    decide: Decide
    above: float | None
    below: float | None

    def on(self, question: Question) -> Question:
        """The question with this setting."""
        return replace(
            question,
            ask=self.ask,
            window_ns=self.window_ns,
            decide=self.decide,
            k_of_n=question.k_of_n if self.decide == "k_of_n" else None,
            above=self.above,
            below=self.below,
        )


def setting_of(question: Question) -> Setting:
    """As it is set now."""
    return Setting(question.ask, question.window_ns, question.decide, question.above, question.below)


def single_frame(question: Question) -> Question:
    """The same question, decided by each frame alone."""
    return replace(question, window_ns=0, decide="latest", k_of_n=None, hold_ns=0)


def threshold_of(question: Question) -> tuple[float | None, float | None]:
    """`above` and `below` as they apply, also where they are not set; None where the kind knows none."""
    above, below = thresholds(question)
    if question.kind != "yes_no" or above is not None:
        return above, below
    return 0.5, 0.5


def ticks_of(question: Question, tracks: Sequence[Track]) -> list[Tick]:
    """What the window decides at each labelled tick; the ticks between them are in the window, too."""
    return [tick for track in tracks for tick in _decided(question, track)]


def _decided(question: Question, track: Track) -> Iterator[Tick]:
    window = Window(question)
    before: Truth | None = None
    last: Value = None
    stretch = 0
    for t_ns, reading, truth in zip(track.times_ns, track.readings, track.truths, strict=True):
        decision = window.add(t_ns, reading)
        if truth is None:
            continue
        turned = before is not None and truth != before
        stretch += turned
        said = answer_of(decision.value)
        flipped = said is not None and last is not None and said != last
        yield Tick(
            track.source,
            truth,
            decision.value,
            decision.scores,
            decision.confidence,
            turned,
            flipped,
            stretch,
        )
        before, last = truth, last if said is None else said


def halves(ticks: Sequence[Tick]) -> tuple[bool, ...]:
    """For each tick whether it belongs to the second half: by stretches of one truth, so neighbours stay together.

    Of each true value the stretches go in their order to the half that has fewer ticks of it; one that is more than
    half of its value is cut in the middle.
    """
    stretches: dict[tuple[str, int], list[int]] = defaultdict(list)
    totals: Counter[Truth] = Counter()
    for index, tick in enumerate(ticks):
        stretches[tick.source, tick.stretch].append(index)
        totals[tick.truth] += 1
    given: Counter[tuple[Truth, bool]] = Counter()
    second: set[int] = set()
    for indices in stretches.values():
        truth = ticks[indices[0]].truth
        for piece in _pieces(indices, totals[truth]):
            to_second = given[truth, True] < given[truth, False]
            given[truth, to_second] += len(piece)
            if to_second:
                second.update(piece)
    return tuple(index in second for index in range(len(ticks)))


def _pieces(indices: list[int], of_value: int) -> Iterator[list[int]]:
    middle = len(indices) // 2
    if middle and 2 * len(indices) > of_value:
        yield indices[:middle]
        yield indices[middle:]
    else:
        yield indices
