"""Which records go to a sink. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Wanted:
    """What must hold of a record; None lets everything pass.

    A filter by source does not hide what belongs to no source (changes, faults, gaps), nor does one by question hide
    what belongs to no question (the states of sources). `types` does: named are exactly those that are wanted.
    """

    types: Collection[str] | None = None
    sources: Collection[str] | None = None
    questions: Collection[str] | None = None
    changed_only: bool = False  # of answers, those that say something else than the one before
    phases: Collection[str] | None = None  # of alerts: begin, update, end
    severities: Collection[str] | None = None  # of alerts: info, warning, critical

    def wants(self, payload: Mapping[str, Any]) -> bool:
        """Whether a record, as it is on the wire, is wanted."""
        kind = payload["type"]
        if self.types is not None and kind not in self.types:
            return False
        for names, name in (
            (self.sources, payload.get("source")),
            (self.questions, payload.get("question")),
            (self.phases, payload.get("phase")),
            (self.severities, payload.get("severity")),
        ):
            if names is not None and name is not None and name not in names:
                return False
        return not (self.changed_only and kind == "answer" and not payload["changed"])
