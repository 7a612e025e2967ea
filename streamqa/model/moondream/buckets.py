"""Sizes that batches are padded to, so that few of them differ.

What costs is the pictures' rows, so these are rounded finely: by an eighth at most, and up to sixteen pictures not at
all. What is asked about them are few rows beside them, and is rounded coarsely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_ROWS = 16
LEAST_SLOTS = 32


def rounded(n: int, *, least: int = 1, bits: int) -> int:
    """The smallest number from `n` and `least` on whose binary form is at most 1 + `bits` digits, then zeros.

    So it is at most `n` (1 + 2 ** -bits), and between two powers of two there are 2 ** `bits` such numbers.
    """
    n = max(n, least)
    step = 1 << max(0, n.bit_length() - 1 - bits)
    return -(-n // step) * step


@dataclass(frozen=True, slots=True)
class First:
    """Sizes of the forward that reads pictures and prompts; what is over is dummies that nobody sees."""

    pictures: int
    sequences: int
    rows: int  # of all sequences together
    longest: int  # rows of the longest sequence
    asked: int  # rows of the picture that is asked most

    @classmethod
    def fitting(cls, counts: Sequence[int], images: Sequence[int], pictures: int) -> First:
        """The bucket of sequences of `counts` rows, about `images` of so many pictures."""
        asked = int(np.bincount(images, weights=counts).max())
        return cls(
            rounded(pictures, bits=3),
            rounded(len(counts), bits=1),
            rounded(sum(counts), least=LEAST_ROWS, bits=2),
            rounded(max(counts), least=LEAST_ROWS, bits=1),
            rounded(asked, least=LEAST_ROWS, bits=1),
        )


@dataclass(frozen=True, slots=True)
class Step:
    """Sizes of a forward of one row for each sequence."""

    pictures: int
    sequences: int
    asked: int  # sequences of the picture that has most
    slots: int  # of each sequence's cache

    @classmethod
    def fitting(cls, pictures: int, sequences: int, asked: int, slots: int) -> Step:
        """The bucket; `pictures` and `sequences` were rounded when their caches were made."""
        return cls(pictures, sequences, rounded(asked, bits=1), rounded_slots(slots))


def rounded_slots(slots: int) -> int:
    """Of a sequence's cache."""
    return rounded(slots, least=LEAST_SLOTS, bits=1)
