"""Which rows `streamqa bench engine` measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal, TypeAlias

from streamqa.bench.products import Work
from streamqa.errors import ConfigError

CellKind: TypeAlias = Literal["exact", "kestrel-shaped", "detail-fast", "int8", "fp8"]
APPROXIMATE = ("detail-fast", "int8", "fp8")
QUESTION_TOKENS = 12  # words of a question, before the template's tokens
CROPS, QUESTIONS, ANSWER_TOKENS = (1, 9), (1, 4, 16), (0, 3, 16)
FRAMES, ACCEPTANCE = (1, 4, 8), (1.0, 0.0)
# The cells, and 1 question for the slope; a whole grid takes the better part of a day on two cores.
SHORT = ((1, 1, 3), (1, 4, 0), (1, 4, 3), (1, 4, 16), (1, 16, 3), (9, 4, 16))


@dataclass(frozen=True, slots=True)
class Cell:
    """One row, before it is measured."""

    crops: int
    questions: float
    answer_tokens: int  # 0: closed questions (yes or no), which are scored
    frames_in_flight: int
    draft_acceptance: float  # 1: the last answer to the same picture; 0: as many random tokens
    kind: CellKind = "exact"
    question_tokens: int = QUESTION_TOKENS

    def __post_init__(self) -> None:
        if self.crops not in CROPS:
            raise ConfigError(f"--crops {self.crops}: a picture has 1 (640x360) or 9 (1280x720)")
        if self.draft_acceptance not in ACCEPTANCE:
            raise ConfigError(f"--draft-acceptance {self.draft_acceptance}: drafts hold (1) or do not (0)")
        if self.questions <= 0 or self.answer_tokens < 0 or self.frames_in_flight < 1:
            raise ConfigError(f"a row needs questions and frames, got {self.name}")

    @property
    def name(self) -> str:
        """For people."""
        return (
            f"{self.kind}: crops {self.crops}, questions {self.questions:g}, tokens {self.answer_tokens}, "
            f"in flight {self.frames_in_flight}, drafts {self.draft_acceptance:.0%}"
        )

    def work(self, template_tokens: int) -> Work:
        """What a call has to do; the crops are those of the picture as the model sees it."""
        return Work(
            crops=1 if self.kind == "detail-fast" else self.crops,
            frames=self.frames_in_flight,
            questions=self.questions,
            prompt_rows=self.question_tokens + template_tokens,
            answer_tokens=self.answer_tokens,
            accepted=self.draft_acceptance == 1.0,
        )


# 1.66 questions of 39 pictures are 64 questions in flight.
KESTREL = Cell(9, 1.66, 3, 39, 0.0, kind="kestrel-shaped", question_tokens=24)


@dataclass(frozen=True, slots=True)
class Selection:
    """What the user asked for; empty: the default of that axis."""

    crops: tuple[int, ...] = ()
    questions: tuple[int, ...] = ()
    answer_tokens: tuple[int, ...] = ()
    frames_in_flight: tuple[int, ...] = ()
    draft_acceptance: tuple[float, ...] = ()
    whole: bool = False  # --all
    kestrel: bool = False
    approximate: bool = False

    @property
    def narrowed(self) -> bool:
        """Whether any axis was given."""
        return bool(
            self.crops
            or self.questions
            or self.answer_tokens
            or self.frames_in_flight
            or self.draft_acceptance
        )


def cells(wanted: Selection, gpu: bool) -> list[Cell]:
    """The rows to measure, each once.

    Axes that were given select rows of the whole grid (on a CPU with 1 frame in flight unless that was given).
    With none: on a GPU the whole grid; on a CPU the short one, unless `--all`.
    """
    whole = gpu or wanted.whole
    if wanted.narrowed or whole:
        found = _grid(wanted, whole)
    else:
        found = [Cell(*short, 1, acceptance) for short in SHORT for acceptance in ACCEPTANCE]
    if wanted.approximate:
        found += _approximate(found, "fp8" if gpu else "int8")
    if wanted.kestrel or (gpu and not wanted.narrowed):
        found.append(KESTREL)
    return list(dict.fromkeys(_as_asked(cell) for cell in found))


def _approximate(exact: Sequence[Cell], precision: CellKind) -> list[Cell]:
    """Counterparts of rows whose drafts hold, and of closed questions; one crop is as small as it gets."""
    calm = [cell for cell in exact if cell.draft_acceptance == 1.0 or cell.answer_tokens == 0]
    fast = [replace(cell, kind="detail-fast") for cell in calm if cell.crops > 1]
    return [*fast, *(replace(cell, kind=precision) for cell in calm)]


def _grid(wanted: Selection, whole: bool) -> list[Cell]:
    frames: Sequence[int] = FRAMES if whole else FRAMES[:1]
    axes = product(
        wanted.crops or CROPS,
        wanted.questions or QUESTIONS,
        wanted.answer_tokens or ANSWER_TOKENS,
        wanted.frames_in_flight or frames,
        wanted.draft_acceptance or ACCEPTANCE,
    )
    return [Cell(*values) for values in axes]


def _as_asked(cell: Cell) -> Cell:
    """Closed questions have no drafts, so they are one row and not two."""
    return replace(cell, draft_acceptance=0.0) if cell.answer_tokens == 0 else cell
