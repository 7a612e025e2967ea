"""Rounds that take turns; what is noisy, and when it is measured again. No clock, no torch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from streamqa.bench.stats import spread

NOISY = 0.15  # a spread above it
LEAST = 3  # rounds, however long they take
AGAIN = 3  # times that a noisy row is measured again
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One set of rounds of one row."""

    rounds: tuple[int, ...]  # their numbers
    seconds: tuple[float, ...]  # of each round

    @property
    def spread(self) -> float:
        """Of its rounds."""
        return spread(self.seconds)

    @property
    def noisy(self) -> bool:
        """Whether it does not say much."""
        return self.spread > NOISY


@dataclass(frozen=True, slots=True)
class Settled:
    """What a row goes by: its calmest attempt, chosen without a look at how fast it was."""

    attempt: Attempt
    reruns: int


def settle(
    keys: Sequence[Key],
    measure: Callable[[Sequence[Key]], Mapping[Key, Attempt]],
    may_go_on: Callable[[], bool],
    again: int = AGAIN,
) -> dict[Key, Settled]:
    """Measure all rows, and those that are noisy again, up to `again` times while `may_go_on`."""
    best = {key: Settled(attempt, 0) for key, attempt in measure(keys).items()}
    for rerun in range(1, again + 1):
        noisy = [key for key in keys if best[key].attempt.noisy]
        if not noisy or not may_go_on():
            break
        for key, attempt in measure(noisy).items():
            calmer = attempt if attempt.spread < best[key].attempt.spread else best[key].attempt
            best[key] = Settled(calmer, rerun)
    return best


def interleaved(
    tasks: Mapping[Key, Callable[[int], float]],
    numbers: Sequence[int],
    say: Callable[[str], None],
    may_go_on: Callable[[], bool],
) -> dict[Key, list[float]]:
    """Seconds of every task in every round; every second round goes through them backwards (A B B A).

    Args:
        tasks: each is called with the number of the round.
        numbers: of the rounds.
        say: takes lines of progress.
        may_go_on: asked before each round but the first `LEAST`.
    """
    found: dict[Key, list[float]] = {key: [] for key in tasks}
    for done, number in enumerate(numbers):
        if done >= LEAST and not may_go_on():
            say(f"time is up after {done} rounds")
            break
        say(f"round {done + 1}/{len(numbers)}")
        order = list(tasks) if number % 2 == 0 else list(tasks)[::-1]
        for key in order:
            found[key].append(tasks[key](number))
    return found
