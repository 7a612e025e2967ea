"""What a subscriber missed: pages from the log, until it can join those who are live."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import Callable
from contextlib import suppress

from websockets.exceptions import ConnectionClosed

from streamqa.metrics import Metrics
from streamqa.server.context import Limits
from streamqa.server.messages import Error
from streamqa.server.session import Session
from streamqa.server.subscriber import Subscriber, frame
from streamqa.sinks.log import AnswerLog
from streamqa.sinks.reading import Page

_log = logging.getLogger(__name__)

_READERS = 4  # pages being read at once: after a restart every subscriber comes back together


class Replays:
    """Reads for those who come back, a few at a time; the others wait their turn, and each for its own socket."""

    def __init__(self, log: AnswerLog, metrics: Metrics, limits: Limits) -> None:
        self._log, self._metrics, self._limits = log, metrics, limits
        self._turns = asyncio.Semaphore(_READERS)

    async def page(self, session: Session) -> Page:
        """The next records that `session` wants. Raises sqlite3.Error."""
        limits, query = self._limits, session.filter.query
        async with self._turns:
            return await asyncio.to_thread(
                self._log.page, session.cursor, limits.replay_batch, query, limits.replay_bytes
            )

    async def run(self, subscriber: Subscriber, join: Callable[[Subscriber], int | None]) -> None:
        """Give `subscriber` all that it missed, until it can `join` (None then, else the newest number published).

        No more is read than its socket has taken: a slow one waits for itself.
        """
        session = subscriber.session
        try:
            while subscriber.is_open:
                await subscriber.drain()
                known = join(subscriber)  # before reading: the log has all of this
                if known is None:
                    return
                page = await self.page(session)
                gap = session.replayed(page, known)
                texts = [] if gap is None else [gap.json_text()]
                texts += wanted_texts(session, page)
                subscriber.write(b"".join(map(frame, texts)))
                self._metrics.messages_sent.inc(len(texts))
                self._metrics.records_replayed.inc(len(page.rows))
        except (ConnectionClosed, OSError):
            return
        except sqlite3.Error as error:
            _log.error("replay failed: %s", error)
            subscriber.say(Error(code="internal", message="the log cannot be read").json_text())
            with suppress(ConnectionClosed):
                await subscriber.close(1011, "the log cannot be read")


def wanted_texts(session: Session, page: Page) -> list[str]:
    """The messages of a page, thinned where the subscription says so."""
    thinner = session.thinner
    if thinner is None:
        return [text for _, text in page.rows]
    return [text for _, text in page.rows if thinner.wants(json.loads(text))]
