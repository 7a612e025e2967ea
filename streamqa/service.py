"""A pipeline and its server in one event loop, until they are told to stop.

The server is there first. While the model is loaded, which may take minutes, whoever connects gets what the log has
and is told by `/readyz` why no answers come.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streamqa.capture.sources import SourceInfo, planned
from streamqa.control import LineControl
from streamqa.errors import StreamQAError
from streamqa.hooks import Hooks
from streamqa.metrics import Metrics
from streamqa.outlets import Outlets, What
from streamqa.pipeline import Parts, Pipeline
from streamqa.server.context import ServerContext
from streamqa.server.listen import Door
from streamqa.server.server import Server
from streamqa.sinks.base import Logged
from streamqa.types import ModelInfo, Question

if TYPE_CHECKING:
    from streamqa.types import Image

_LOOK_UP_S = 0.05
_PATIENCE_S = 1.0
_STOP_S = 2.0  # for the line; the server has as long after it, and the model's process one second: 5 s in all
_PENDING = 64  # batches on their way into the event loop; then the writer waits
_logger = logging.getLogger(__name__)


class LoopSink:
    """Hands records from the writer's thread to a function in the event loop, in order.

    Queue policy: it waits. At most `_PENDING` batches are on their way; while the loop does not come round, the
    writer waits, then the engine, and capture keeps the newest frames only. Nothing is lost on this way.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._room = threading.BoundedSemaphore(_PENDING)
        self._publish: Callable[[Sequence[Logged]], None] | None = None

    def attach(self, publish: Callable[[Sequence[Logged]], None]) -> None:
        """Name the function, before the first record comes."""
        self._publish = publish

    def write(self, records: Sequence[Logged]) -> None:
        """Hand `records` on; once the loop is closed there is nobody left to hand them to."""
        while not self._loop.is_closed():
            if self._room.acquire(timeout=_PATIENCE_S):
                with suppress(RuntimeError):  # closed just now: the log has the records
                    self._loop.call_soon_threadsafe(self._deliver, records)
                return
            _logger.warning(
                "the event loop is stuck; subscribers wait for records from %d on", records[0].seq
            )

    def close(self) -> None:
        """Nothing is held."""

    def _deliver(self, records: Sequence[Logged]) -> None:
        self._room.release()
        if self._publish is not None:
            self._publish(records)


@dataclass(frozen=True, slots=True)
class Handles:
    """By what a running line is changed from outside, and what leads out of it; their owner closes them.

    Records reach `outlets` where they are among the sinks of the line's parts.
    """

    control: LineControl | None = None
    outlets: Outlets | None = None
    hooks: Hooks | None = None


NO_HANDLES = Handles()


class Line:
    """What the server is told: while the model is loaded what is to be, and then what is. Thread-safe.

    `pipeline`: None while the model is loaded.
    """

    def __init__(self, parts: Parts, handles: Handles) -> None:
        self.pipeline: Pipeline | None = None
        self._parts = parts
        self._planned = planned(parts.sources)
        self._handles = handles
        self._made_s = time.monotonic()

    def load(self) -> Future[Pipeline]:
        """Begin to wait for the model, in a thread that nobody has to wait for.

        The result is the pipeline, not started. It fails as `Pipeline` does, and as `VisionModel.info`.
        """
        found: Future[Pipeline] = Future()

        def wait() -> None:
            try:
                found.set_result(Pipeline(self._parts, stays=True))
            # The thread's own supervisor: whoever waits for the result gets it.
            except Exception as error:
                found.set_exception(error)

        # Not one of the loop's own threads, for which the loop would wait at its end: closing the model frees it.
        threading.Thread(target=wait, name="load", daemon=True).start()
        return found

    def start(self, pipeline: Pipeline) -> None:
        """From now on there are answers."""
        handles = self._handles
        if handles.control is not None:
            handles.control.attach(pipeline, pipeline.record)
        self.pipeline = pipeline
        if handles.outlets is not None:
            handles.outlets.attach(lambda: (self._sources(), self._questions()), self._pause)
        if handles.hooks is not None:
            handles.hooks.attach(pipeline.record)
        pipeline.start()

    @property
    def failure(self) -> Exception | None:
        """What ended the pipeline."""
        return None if self.pipeline is None else self.pipeline.failure

    def context(self) -> ServerContext:
        """All that the server shows and does."""
        return ServerContext(
            log=self._parts.log,
            metrics=self._parts.metrics,
            sources=self._sources,
            questions=self._questions,
            model=self._model,
            latest=self._latest,
            ready=self._trouble,
            control=self._handles.control,
            evidence=self._parts.log.evidence,
            sinks=tuple if self._handles.outlets is None else self._handles.outlets.states,
            webhooks=self._handles.hooks,
        )

    def _sources(self) -> tuple[SourceInfo, ...]:
        return self._planned if self.pipeline is None else self.pipeline.sources()

    def _questions(self) -> tuple[Question, ...]:
        return self._parts.questions if self.pipeline is None else self.pipeline.asked.questions()

    def _model(self) -> ModelInfo | None:
        return None if self.pipeline is None else self._parts.model.info

    def _latest(self, source: str) -> Image | None:
        return None if self.pipeline is None else self.pipeline.latest(source)

    def _pause(self, what: What, name: str, paused: bool, by: str) -> None:
        control = self._handles.control
        if control is None:
            raise StreamQAError("nothing can be paused here")
        if what == "question":
            (control.pause_question if paused else control.resume_question)(name, by)
        else:
            (control.pause_source if paused else control.resume_source)(name, by)

    def _trouble(self) -> list[str]:
        if self.pipeline is None:
            return [f"the model is being loaded, for {time.monotonic() - self._made_s:.0f} s by now"]
        return self.pipeline.trouble()


async def run_service(
    parts: Parts,
    door: Door,
    stop: threading.Event,
    handles: Handles = NO_HANDLES,
    *,
    for_s: float | None = None,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve at `door`, and run the line as soon as its model is loaded; until `stop` is set, or for `for_s` seconds.

    `handles` change the line while it runs; `parts` watch and ask what its store says. `on_ready` gets the page's
    address once subscribers can connect; `for_s` counts from the first frame on. The model may still be loading when
    this returns, which it does at once when told to: closing it is its owner's.

    Raises:
        ConfigError, ModelError: the model cannot be loaded, or could not answer a question, whatever the picture.
        StreamQAError: the line failed (the log cannot be written).
    """
    sink = LoopSink(asyncio.get_running_loop())
    line = Line(replace(parts, sinks=(*parts.sinks, sink)), handles)
    server = Server(line.context(), door)
    sink.attach(server.broadcaster.publish)
    loading = line.load()
    await server.start()
    try:
        on_ready(server.url)
        if await _is_loaded(loading, stop):
            line.start(loading.result())
            await _until_over(line, stop, for_s, parts.metrics)
    finally:
        if line.pipeline is not None:
            await asyncio.to_thread(line.pipeline.stop, _STOP_S)
            await asyncio.sleep(0)  # what the writer handed over last goes out before the connections close
        await server.stop()
    if line.failure is not None:
        raise StreamQAError(f"stopped: {line.failure}") from line.failure


async def _is_loaded(loading: Future[Pipeline], stop: threading.Event) -> bool:
    """Wait; False when told to stop first."""
    loaded = asyncio.wrap_future(loading)
    while not stop.is_set():
        if (await asyncio.wait([loaded], timeout=_LOOK_UP_S))[0]:
            return True
    return False


async def _until_over(line: Line, stop: threading.Event, for_s: float | None, metrics: Metrics) -> None:
    loop = asyncio.get_running_loop()
    now_s = loop.time()
    until_s = None if for_s is None else now_s + for_s
    # A signal handler sets `stop` from outside of the loop, which an asyncio.Event cannot take.
    while not stop.is_set() and line.failure is None and (until_s is None or now_s < until_s):
        await asyncio.sleep(_LOOK_UP_S)
        slept_s, now_s = loop.time() - now_s, loop.time()
        metrics.loop_lag_seconds.observe(max(0.0, slept_s - _LOOK_UP_S))
