"""Which records of the log are wanted: one value for a subscription, an export and a search."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Query:
    """What must hold of a record; None lets everything pass.

    A filter by question does not hide what belongs to no question (the states of sources), nor does one by source
    hide what belongs to no source (errors); `types` does, except for gaps, which nothing hides.
    """

    sources: Collection[str] | None = None
    questions: Collection[str] | None = None
    types: Collection[str] | None = None

    def condition(self) -> tuple[str, list[object]]:
        """An SQL expression over the columns of `records`, and its arguments."""
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
        return " AND ".join(parts), arguments


EVERYTHING = Query()
