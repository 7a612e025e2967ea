"""A pipeline and its server in one event loop, until they are told to stop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from streamqa.errors import StreamQAError
from streamqa.pipeline import Parts, Pipeline
from streamqa.server.context import ServerContext
from streamqa.server.listen import Door
from streamqa.server.server import Server
from streamqa.sinks.base import Logged

_LOOK_UP_S = 0.05
_PENDING = 64  # batches on their way into the event loop; then the writer waits
_logger = logging.getLogger(__name__)


class LoopSink:
    """Hands records from the writer's thread to a function in the event loop, in order.

    Queue policy: it waits. At most `_PENDING` batches are on their way; a loop that does not come round for
    `timeout_s` loses the batch for live subscribers, who then get it by its number from the log.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout_s: float = 5.0) -> None:
        self._loop, self._timeout_s = loop, timeout_s
        self._room = threading.BoundedSemaphore(_PENDING)
        self._publish: Callable[[Sequence[Logged]], None] | None = None

    def attach(self, publish: Callable[[Sequence[Logged]], None]) -> None:
        """Name the function, before the first record comes."""
        self._publish = publish

    def write(self, records: Sequence[Logged]) -> None:
        """Hand `records` on."""
        if not self._room.acquire(timeout=self._timeout_s):
            _logger.warning("the event loop is stuck; subscribers get %d records late", len(records))
            return
        try:
            self._loop.call_soon_threadsafe(self._deliver, records)
        except RuntimeError:  # the loop is closed: the log has the records
            self._room.release()

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
    for_s: float | None = None,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve at `door` and run the line until `stop` is set, or for `for_s` seconds.

    `on_ready` gets the page's address once subscribers can connect; then the first frame is read.

    Raises:
        StreamQAError: the line failed (the log cannot be written).
    """
    loop = asyncio.get_running_loop()
    sink = LoopSink(loop)
    pipeline = Pipeline(replace(parts, sinks=(*parts.sinks, sink)))
    context = ServerContext(
        log=parts.log,
        metrics=parts.metrics,
        sources=tuple(spec.id for spec in parts.sources),
        questions=parts.questions,
        model=parts.model.info,
        latest=pipeline.latest,
        ready=pipeline.trouble,
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
