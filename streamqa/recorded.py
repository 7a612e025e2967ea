"""The same line over recordings, one after the other, as fast as it goes; live sources run side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from streamqa.capture.source import SourceSpec, make_source
from streamqa.errors import StreamQAError
from streamqa.pipeline import Parts, Pipeline

_LOOK_UP_S = 0.05


class Stop(Protocol):
    """What says that nobody wants more, such as a `threading.Event`."""

    def is_set(self) -> bool:
        """Whether to stop."""
        ...


def answer_all(parts: Parts, stop: Stop) -> dict[str, StreamQAError]:
    """Answer every question of `parts` on its sources until they end or `stop` is set.

    Recordings run one after the other, so that a thousand files need no thousand threads and their answers come
    file by file; where one source is live, all run side by side, since a camera does not wait.

    Returns:
        The sources that gave nothing or ended badly; what was answered before stays answered.

    Raises:
        ModelError: the model could not answer a question, whatever the picture; nothing was opened.
        StreamQAError: the line itself failed (the log cannot be written).
    """
    failures: dict[str, StreamQAError] = {}
    for group in _groups(parts.sources):
        if stop.is_set():
            break
        pipeline = Pipeline(replace(parts, sources=group))
        pipeline.start()
        while not (pipeline.wait(_LOOK_UP_S) or stop.is_set()):
            pass
        pipeline.stop()
        failures |= pipeline.failures()
        if isinstance(pipeline.failure, StreamQAError):
            raise pipeline.failure
        if pipeline.failure is not None:
            raise StreamQAError(f"answers could not be delivered: {pipeline.failure}") from pipeline.failure
    return failures


def _groups(sources: Sequence[SourceSpec]) -> Iterator[tuple[SourceSpec, ...]]:
    if any(make_source(spec).is_live for spec in sources):
        yield tuple(sources)
    else:
        yield from ((spec,) for spec in sources)
