"""What the server shows, handed to it by whoever wires the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamqa.metrics import Metrics
from streamqa.sinks.log import AnswerLog
from streamqa.types import ModelInfo, Question

if TYPE_CHECKING:
    from streamqa.types import Image


@dataclass(frozen=True, slots=True)
class ServerContext:
    """The server's view of the rest; all callables may be called from any thread and return at once."""

    log: AnswerLog
    metrics: Metrics
    sources: Callable[[], tuple[str, ...]]  # the ids of those that are watched now
    questions: tuple[Question, ...]
    model: ModelInfo
    latest: Callable[[str], Image | None]  # the newest picture of a source, uint8 (H, W, 3) RGB
    ready: Callable[[], list[str]]  # why answers are not coming, one line each; empty: all is well


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may cost."""

    connections: int = 1000  # websocket connections; as many again for HTTP
    message_bytes: int = 64 * 1024  # one message from a client
    backlog: int = 64  # records kept for a subscriber that is not reading
    buffer_bytes: int = 1024 * 1024  # unsent bytes after which a connection is cut off, whatever filled them
    replay_batch: int = 128  # records read from the log, and written, at once
    coalesce_s: float = 0.02  # for at most this long, records wait to share a write
    write_share: float = 0.2  # of the loop's time that writes may take before records wait at all
    stall_s: float = 5.0  # without one byte drained, then the connection is cut off
    heartbeat_s: float = 10.0  # promised on the wire: at most 15 s
    ping_s: float = 20.0
    request_s: float = 10.0  # for a request, or a handshake, to arrive in full
    stop_s: float = 3.0  # for connections to close when the server stops

    def rest_s(self, wrote_s: float) -> float:
        """How long to leave the subscribers alone after a write to all of them that took so long."""
        return min(self.coalesce_s, wrote_s * (1 / self.write_share - 1))
