"""What the tests of outlets share."""

from __future__ import annotations

from pathlib import Path

from streamqa.capture.reach import Reach
from streamqa.metrics import Metrics
from streamqa.sinks.outlet import Context


def make_context(
    metrics: Metrics | None = None,
    *,
    letters: Path | None = None,
    pictures: dict[int, Path] | None = None,
    reach: Reach | None = None,
) -> Context:
    return Context(
        metrics=metrics or Metrics(),
        epoch="e0",
        evidence=(pictures or {}).get,
        describe=lambda: ((), ()),
        pause=lambda what, name, paused: None,
        dead_letters=letters,
        reach=reach,
    )
