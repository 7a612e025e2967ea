"""Which records of the log are wanted: one value for a subscription, an export and a search."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

_WORD = re.compile(r"\w+")
_MOST_WORDS = 32


@dataclass(frozen=True, slots=True)
class Query:
    """What must hold of a record; None lets everything pass.

    A filter by question does not hide what belongs to no question (the states of sources), nor does one by source
    hide what belongs to no source (errors); `types` does, except for gaps, which nothing hides. A search by text
    finds answers only.
    """

    sources: Collection[str] | None = None
    questions: Collection[str] | None = None
    types: Collection[str] | None = None
    changed_only: bool = False  # of answers, those that say something else than the one before
    text: str | None = None  # words that stand, all of them, in the question or in what was said
    since_ms: int | None = None  # wall clock, UNIX, of capture where it is known; included
    until_ms: int | None = None  # excluded

    def select(self, after: int, limit: int, newest_first: bool = False) -> tuple[str, list[object]]:
        """An SQL statement for (seq, payload) of up to `limit` records after that number, and its arguments."""
        condition, arguments = self.condition()
        order = "DESC" if newest_first else "ASC"
        if self.text is None:
            return (
                f"SELECT seq, payload FROM records WHERE seq > ? AND {condition} ORDER BY seq {order} LIMIT ?",
                [after, *arguments, limit],
            )
        # By the index of words, in its own order, which is that of the numbers: ranking a common word took 0.6 s.
        return (
            "SELECT seq, payload FROM word_index CROSS JOIN records ON records.seq = word_index.rowid "
            f"WHERE word_index MATCH ? AND word_index.rowid > ? AND {condition} "
            f"ORDER BY word_index.rowid {order} LIMIT ?",
            [match_words(self.text), after, *arguments, limit],
        )

    def condition(self) -> tuple[str, list[object]]:
        """An SQL expression over the columns of `records`, and its arguments; all but `text`."""
        parts: list[str] = ["1"]
        arguments: list[object] = []
        for names, column in (
            (self.sources, "source = '' OR source"),
            (self.questions, "question IS NULL OR question"),
            (self.types, "type = 'gap' OR type"),
        ):
            if names is not None:
                parts.append(f"({column} IN ({', '.join('?' * len(names))}))")
                arguments += names
        if self.changed_only:
            parts.append("changed IS NOT 0")
        for moment, comparison in ((self.since_ms, "at_ms >= ?"), (self.until_ms, "at_ms < ?")):
            if moment is not None:
                parts.append(comparison)
                arguments.append(moment)
        return " AND ".join(parts), arguments


EVERYTHING = Query()


def match_words(text: str) -> str:
    """`text` as a search for all of its words; whatever else stands in it means nothing.

    A text without any word finds nothing.
    """
    words = _WORD.findall(text)[:_MOST_WORDS]
    return " ".join(f'"{word}"' for word in words) or '""'
