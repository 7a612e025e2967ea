"""A server on 127.0.0.1 with a log that tests fill, as the pipeline would."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx2
import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect

from streamqa.capture.source import SourceFacts
from streamqa.capture.sources import SourceInfo
from streamqa.metrics import Metrics
from streamqa.records import Answer, Record, SourceStatus
from streamqa.server.context import Control, Limits, ServerContext
from streamqa.server.listen import listen
from streamqa.server.locks import Locks
from streamqa.server.server import Server
from streamqa.sinks.log import AnswerLog
from streamqa.types import Decision, ModelInfo, Question, Reading

AT = datetime(2026, 11, 22, 2, 22, 34, 120_000, tzinfo=UTC)
SECONDS = 10**9
CHROMIUM = Path("/usr/bin/chromium")
MODEL = ModelInfo("fake", "1", "cpu", "float32", frozenset({"query"}), note="knows nothing")


def make_answer(n: int = 0, *, source: str = "gate", question: str = "person", text: str = "Yes") -> Answer:
    decision = Decision(True, 0.9, "ok", "", start_ns=n * SECONDS, frames=1, agree=1)
    return Answer(
        source=source, question=question, kind="yes_no", decision=decision,
        reading=Reading(True, 0.9, "ok", text=text), frame=n, t_ns=n * SECONDS, captured_at=AT, clock="arrival",
        answered_at=AT, skipped=0, changed=True, queue_ms=1, model_ms=2, total_ms=3, model="fake@1",
    )  # fmt: skip


def make_status(source: str = "gate") -> SourceStatus:
    return SourceStatus(source, "live", "", AT, 5)


def make_info(source: str) -> SourceInfo:
    return SourceInfo(source, "scene:gate", True, "live", "", AT, SourceFacts())


@dataclass
class Site:
    """Everything a server is given, in the hands of a test."""

    path: Path
    limits: Limits = field(default_factory=Limits)
    port: int = 0
    images: dict[str, np.ndarray] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)
    locks: Locks = field(default_factory=Locks)
    host: str = "127.0.0.1"
    control: Control | None = None
    model: ModelInfo | None = MODEL
    sinks: Callable[[], Any] = tuple
    webhooks: Any = None

    def __post_init__(self) -> None:
        self.log: AnswerLog
        self.server: Server
        self.loop: asyncio.AbstractEventLoop  # where it runs in the background

    def context(self) -> ServerContext:
        return ServerContext(
            log=self.log,
            metrics=self.metrics,
            sources=lambda: tuple(make_info(name) for name in ("gate", "desk")),
            questions=lambda: (
                Question("person", "Is there a person?", "yes_no", SECONDS, window_ns=5 * SECONDS),
                Question("cars", "How many cars?", "number", 2 * SECONDS, sources=("gate",)),
            ),
            model=lambda: self.model,
            latest=self.images.get,
            ready=lambda: self.reasons,
            control=self.control,
            sinks=self.sinks,
            webhooks=self.webhooks,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Site]:
        self.log = AnswerLog(self.path)
        self.server = Server(self.context(), listen(self.host, self.port, self.locks), self.limits)
        try:
            await self.server.start()
            try:
                yield self
            finally:
                async with asyncio.timeout(6):
                    await self.server.stop()
        finally:
            self.log.close()

    @property
    def http(self) -> str:
        return f"http{'' if self.locks.tls is None else 's'}://127.0.0.1:{self.server.port}"

    @property
    def ws(self) -> str:
        return f"ws{'' if self.locks.tls is None else 's'}://127.0.0.1:{self.server.port}/ws"

    def publish(self, *records: Record) -> list[int]:
        logged = self.log.append(records)
        self.server.broadcaster.publish(logged)
        return [item.seq for item in logged]

    def count(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(f"streamqa_{name}") or 0.0


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "answers.db")


def certificate_in(folder: Path, name: str = "cameras") -> tuple[Path, Path]:
    """A self-signed certificate for localhost and 127.0.0.1, and its key."""
    cert, key = folder / f"{name}-cert.pem", folder / f"{name}-key.pem"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        [*make.split(), "-addext", names, "-keyout", key, "-out", cert], check=True, capture_output=True
    )
    return cert, key


@pytest.fixture
def make_certificate() -> Callable[[Path, str], tuple[Path, Path]]:
    return certificate_in


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate_in(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def make_site(tmp_path: Path) -> Callable[..., Site]:
    return lambda **limits: Site(tmp_path / "answers.db", Limits(**limits))


class Peer:
    """A well-behaved subscriber."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            return json.loads(await self.connection.recv())

    async def hear_until(self, seq: int) -> list[dict[str, Any]]:
        """Messages up to the record with this number."""
        heard = []
        while not heard or heard[-1].get("seq") != seq:
            message = await self.hear()
            if message["type"] != "heartbeat":
                heard.append(message)
        return heard

    async def synced(self) -> list[dict[str, Any]]:
        """All that was sent before the answer to a ping."""
        await self.say(type="ping", id="sync")
        heard = []
        while (message := await self.hear())["type"] != "pong":
            heard.append(message)
        return heard


@asynccontextmanager
async def joined(site: Site, **subscription: Any) -> AsyncIterator[Peer]:
    """A peer that has said hello and, unless told `subscription=None`, subscribed."""
    async with connect(site.ws, proxy=None, compression=None) as connection:
        peer = Peer(connection)
        assert (await peer.hear())["type"] == "hello"
        if subscription.get("subscription", ...) is not None:
            await peer.say(type="subscribe", **subscription)
        yield peer


@pytest.fixture
def join() -> Callable[..., Any]:
    return joined


@pytest.fixture
def answer() -> Callable[..., Answer]:
    return make_answer


@pytest.fixture
def status() -> Callable[..., SourceStatus]:
    return make_status


def seqs_of(messages: list[dict[str, Any]]) -> list[int]:
    return [message["seq"] for message in messages if "seq" in message]


@pytest.fixture
def seqs() -> Callable[[list[dict[str, Any]]], list[int]]:
    return seqs_of


Get = Callable[..., httpx2.Response]


@contextmanager
def in_background(site: Any) -> Iterator[None]:
    """The server in a loop of its own, so that a plain HTTP client can talk to it."""
    ready, stop = Event(), Event()

    async def main() -> None:
        async with site.running():
            site.loop = asyncio.get_running_loop()
            ready.set()
            await asyncio.to_thread(stop.wait, 60)

    thread = Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert ready.wait(10)
        yield
    finally:
        stop.set()
        thread.join(10)


@pytest.fixture
def background() -> Callable[..., Any]:
    return in_background


@pytest.fixture
def serving() -> Callable[[Any], AbstractContextManager[None]]:
    return in_background


@pytest.fixture
def get(site: Any) -> Iterator[Get]:
    with in_background(site), httpx2.Client(base_url=site.http, trust_env=False, timeout=10) as client:
        yield client.get


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install streamqa[browser]"
    )
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there: apt install chromium")
    with api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield made
        made.close()
