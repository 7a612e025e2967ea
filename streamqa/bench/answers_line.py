"""Recordings through the real line, with everything that it says kept: capture, schedule, engine, log, sink."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from streamqa.capture.source import SourceSpec
from streamqa.errors import StreamQAError
from streamqa.metrics import Metrics
from streamqa.model.base import VisionModel
from streamqa.pipeline import Parts
from streamqa.recorded import answer_all
from streamqa.sinks.base import Logged
from streamqa.sinks.log import AnswerLog
from streamqa.types import Question

SOURCE = "clip"  # its id


class _Kept:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.payloads: list[dict[str, Any]] = []

    def write(self, records: Sequence[Logged]) -> None:
        self.payloads += [record.payload for record in records]

    def close(self) -> None:
        """Nothing is held."""


def records(model: VisionModel, questions: Sequence[Question], recording: Path) -> list[dict[str, Any]]:
    """The payloads of everything that is said about a recording, in the order in which it was logged.

    Raises:
        StreamQAError: the line failed, or the recording could not be read.
    """
    kept = _Kept()
    with closing(AnswerLog(":memory:")) as log:
        source = SourceSpec(SOURCE, str(recording))
        parts = Parts(tuple(questions), (source,), model, log, (kept,), Metrics())
        failures = answer_all(parts, threading.Event())
    if failures:
        raise StreamQAError(f"bench answers: {next(iter(failures.values()))}")
    return kept.payloads
