"""What the server shows and does, handed to it by whoever wires the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from streamqa.capture.sources import SourceInfo
from streamqa.metrics import Metrics
from streamqa.question_settings import QuestionConfig
from streamqa.records import Answer
from streamqa.settings import SourceConfig
from streamqa.sink_settings import WebhookConfig
from streamqa.sinks.log import AnswerLog
from streamqa.sinks.outlet import SinkState
from streamqa.types import Frame, Generation, ModelInfo, Moment, Question, Request

if TYPE_CHECKING:
    from streamqa.types import Image


class Control(Protocol):
    """Changes what is asked and watched while it runs, and asks single questions.

    Thread-safe. A call may take seconds, so none is made from the event loop. `by` names who asks, for the record
    that each change leaves. Changes survive a restart.

    Raises, where it cannot be done:
        NotThere, TakenId: no such name, or it is in use.
        NotAllowed: a source that may not be added over the network.
        ConfigError: settings that are wrong.
        ModelError: the model could not answer such a question, or failed.
        Busy: too many single questions at once.
        StreamQAError: the line has stopped, or is not there yet.
    """

    def describe(self) -> dict[str, Any]:
        """`{"questions": [...], "sources": [...]}` as they are now, JSON-ready, without secrets."""
        ...

    def add_question(self, name: str, settings: QuestionConfig, by: str) -> None:
        """Ask it from now on."""
        ...

    def change_question(self, name: str, settings: QuestionConfig, by: str) -> None:
        """Ask this in its place; a pause stays."""
        ...

    def pause_question(self, name: str, by: str) -> None:
        """Do not ask it until it is resumed."""
        ...

    def resume_question(self, name: str, by: str) -> None:
        """Ask it again."""
        ...

    def remove_question(self, name: str, by: str) -> None:
        """Never ask it again."""
        ...

    def add_source(self, name: str, settings: SourceConfig, by: str) -> None:
        """Watch it from now on."""
        ...

    def change_source(self, name: str, settings: SourceConfig, by: str) -> None:
        """Watch this in its place; its stream time goes on, a pause stays."""
        ...

    def pause_source(self, name: str, by: str) -> None:
        """Do not read it until it is resumed."""
        ...

    def resume_source(self, name: str, by: str) -> None:
        """Read it again."""
        ...

    def remove_source(self, name: str, by: str) -> None:
        """Never read it again."""
        ...

    def frame(self, source: str, moment: Moment) -> Frame:
        """The frame of `source` that was the newest at `moment`."""
        ...

    def ask_once(self, source: str, question: Question, moment: Moment) -> Answer:
        """One answer about one frame: by itself, without window, and not recorded."""
        ...

    def generate(self, request: Request) -> list[Generation]:
        """What the model says to each prompt of `request`."""
        ...


class Webhooks(Protocol):
    """Webhooks that are added and removed while it runs. Thread-safe; a call may take seconds.

    Raises, where it cannot be done:
        NotThere, TakenId: no such name, or it is in use.
        NotAllowed: an address that may not be reached on behalf of somebody on the network.
        ConfigError: settings that are wrong.
        StreamQAError: it cannot be kept.
    """

    def describe(self) -> list[dict[str, Any]]:
        """All of them, JSON-ready, without secrets."""
        ...

    def put(self, name: str, settings: WebhookConfig, by: str) -> bool:
        """Send records there from now on; whether it is new."""
        ...

    def remove(self, name: str, by: str) -> None:
        """Send nothing there any more."""
        ...


@dataclass(frozen=True, slots=True)
class ServerContext:
    """The server's view of the rest; all callables may be called from any thread and return at once."""

    log: AnswerLog
    metrics: Metrics
    sources: Callable[[], Sequence[SourceInfo]]  # those that are watched now
    questions: Callable[[], Sequence[Question]]  # those that are asked now, the paused ones included
    model: Callable[[], ModelInfo | None]  # None: it is being loaded
    latest: Callable[[str], Image | None]  # the newest picture of a source, uint8 (H, W, 3) RGB
    ready: Callable[[], list[str]]  # why answers are not coming, one line each; empty: all is well
    control: Control | None = None  # None: nothing can be changed or asked
    evidence: Callable[[int], Path | None] = lambda seq: None  # the picture that a record is about, a JPEG
    sinks: Callable[[], Sequence[SinkState]] = tuple  # where else records go, and how that is
    webhooks: Webhooks | None = None  # None: none can be added


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may cost."""

    connections: int = 1000  # websocket connections; as many again for HTTP
    requests_per_s: float = (
        50.0  # HTTP requests and handshakes of one address in the long run; this machine: any
    )
    requests_burst: int = 200  # and at once
    body_bytes: int = 1_000_000  # of an HTTP request
    picture_body_bytes: int = 16_000_000  # of one that may hold pictures
    refusals: int = 200  # websocket handshakes beyond these that are under way
    message_bytes: int = 64 * 1024  # one message from a client
    backlog: int = 64  # records kept for a subscriber that is not reading
    buffer_bytes: int = 1024 * 1024  # unsent bytes after which a connection is cut off, whatever filled them
    replay_batch: int = 2000  # records read from the log, and written, at once
    replay_bytes: int = 128 * 1024  # the same in bytes
    messages_per_s: float = 50.0  # of one client in the long run; it is not read from faster
    messages_burst: int = 200  # and at once
    commands: int = 4  # of one client that are carried out at once
    coalesce_s: float = 0.02  # for at most this long, records wait to share a write
    write_share: float = 0.02  # of the loop's time that writes may take before records wait at all
    stall_s: float = 5.0  # without one byte drained, then the connection is cut off
    heartbeat_s: float = 10.0  # promised on the wire: at most 15 s
    ping_s: float = 20.0
    request_s: float = 10.0  # for a request, or a handshake, to arrive in full
    event_streams: int = 100  # open at once
    stop_s: float = 1.0  # for connections to close when the server stops

    def rest_s(self, wrote_s: float) -> float:
        """How long to leave the subscribers alone after a write to all of them that took so long."""
        return min(self.coalesce_s, wrote_s * (1 / self.write_share - 1))
