"""What the tests of outlets share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamqa.capture.reach import Reach
from streamqa.hooks import Hooks, Place
from streamqa.metrics import Metrics
from streamqa.outlets import Outlets
from streamqa.sink_settings import JsonlConfig
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


class Ways:
    """A file, and webhooks that may lead to public addresses only."""

    def __init__(self, folder: Path) -> None:
        self.records: list[Any] = []
        self.outlets = Outlets()
        reach = Reach(frozenset(("http", "https")))
        context = make_context(reach=reach)
        self.outlets.open([JsonlConfig(jsonl=str(folder / "all.jsonl"))], context)
        self.hooks = Hooks(Place(folder / "a.db.webhooks.json", reach), self.outlets, context)
        self.hooks.attach(self.records.extend)
