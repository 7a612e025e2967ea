"""A pipeline and its server in one event loop, until they are told to stop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from streamqa.control import LineControl
from streamqa.errors import StreamQAError
from streamqa.pipeline import Parts, Pipeline
from streamqa.server.context import ServerContext
from streamqa.server.listen import Door
from streamqa.server.server import Server
from streamqa.sinks.base import Logged

_LOOK_UP_S = 0.05
_PATIENCE_S = 1.0
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


async def run_service(
    parts: Parts,
    door: Door,
    stop: threading.Event,
    *,
    control: LineControl | None = None,
    for_s: float | None = None,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve at `door` and run the line until `stop` is set, or for `for_s` seconds.

    `control` changes the line while it runs; `parts` watch and ask what its store says. `on_ready` gets the page's
    address once subscribers can connect; then the first frame is read.

    Raises:
        ModelError: the model could not answer a question, whatever the picture; nothing was started.
        StreamQAError: the line failed (the log cannot be written).
    """
    loop = asyncio.get_running_loop()
    sink = LoopSink(loop)
    pipeline = Pipeline(replace(parts, sinks=(*parts.sinks, sink)), stays=True)
    if control is not None:
        control.attach(pipeline, pipeline.record)
    context = ServerContext(
        log=parts.log,
        metrics=parts.metrics,
        sources=pipeline.sources,
        questions=pipeline.asked.questions,
        model=lambda: parts.model.info,
        latest=pipeline.latest,
        ready=pipeline.trouble,
        control=control,
    )
    server = Server(context, door)
    sink.attach(server.broadcaster.publish)
    await server.start()
    try:
        on_ready(server.url)
        pipeline.start()
        until = None if for_s is None else loop.time() + for_s
        # a signal handler sets `stop` from outside of the loop, which an asyncio.Event cannot take
        while not stop.is_set() and pipeline.failure is None and (until is None or loop.time() < until):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_UP_S)
    finally:
        await asyncio.to_thread(pipeline.stop)
        await asyncio.sleep(0)  # what the writer handed over last goes out before the connections close
        await server.stop()
    if pipeline.failure is not None:
        raise StreamQAError(f"stopped: {pipeline.failure}") from pipeline.failure
