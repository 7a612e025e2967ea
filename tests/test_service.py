import asyncio
import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from streamqa.capture.source import SourceSpec
from streamqa.client import subscribe
from streamqa.errors import ModelError, StreamQAError
from streamqa.metrics import Metrics
from streamqa.model.base import VisionModel
from streamqa.pipeline import Parts
from streamqa.server.listen import listen
from streamqa.service import LoopSink, run_service
from streamqa.sinks.base import Logged
from streamqa.sinks.log import AnswerLog
from streamqa.testing import ScriptedModel
from streamqa.types import ModelInfo
from tests.clips import PERSON, bright_model, bright_when, brightness


@dataclass
class Service:
    http: str
    stop: threading.Event
    failure: BaseException | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def websocket(self) -> str:
        return self.http.replace("http://", "ws://") + "ws"


def run(folder: Path, service: Service, ready: threading.Event, parts: Sequence[Any], door: Any) -> None:
    sinks, model = parts
    clip = bright_when(folder / "clip.mp4", lambda t_s: t_s >= 1.0)

    def on_ready(url: str) -> None:
        service.http = url
        ready.set()

    try:
        with closing(AnswerLog(folder / "answers.db")) as log:
            spec = SourceSpec("clip", str(clip), pace="realtime", loop=True)
            parts = Parts((PERSON,), (spec,), model, log, tuple(sinks), Metrics())
            asyncio.run(run_service(parts, door, service.stop, on_ready=on_ready))
    except StreamQAError as error:
        service.failure = error
    finally:
        ready.set()
        service.ended.set()


@contextmanager
def a_running_service(
    folder: Path, sinks: Sequence[Any] = (), model: VisionModel | None = None
) -> Iterator[Service]:
    """A service on a bright and dark clip for ever, in a thread of its own."""
    service, ready = Service("", threading.Event()), threading.Event()
    parts = sinks, model or bright_model()
    thread = threading.Thread(target=run, args=(folder, service, ready, parts, listen("127.0.0.1", 0)))
    thread.start()
    assert ready.wait(20)
    try:
        yield service
    finally:
        service.stop.set()
        thread.join(20)
        assert not thread.is_alive()


async def first_answers(url: str, count: int) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    messages = subscribe(url, since=0)
    async for message in messages:
        if message.type == "answer":
            answers.append(message.raw)
        if len(answers) == count:
            break
    await messages.aclose()
    return answers


def test_from_a_clip_to_a_subscriber_and_the_same_over_rest(tmp_path: Path) -> None:
    with a_running_service(tmp_path) as service:
        answers = asyncio.run(asyncio.wait_for(first_answers(service.websocket, 8), 30))
        with urllib.request.urlopen(f"{service.http}api/records?type=answer&limit=8", timeout=10) as response:
            assert json.load(response)["records"] == answers
        with urllib.request.urlopen(f"{service.http}sources/clip/latest.jpg", timeout=10) as response:
            assert response.read(3) == b"\xff\xd8\xff"
        with urllib.request.urlopen(f"{service.http}metrics", timeout=10) as response:
            assert (
                'streamqa_answers_total{question="person",source="clip",state="ok"}'
                in response.read().decode()
            )
    assert [answer["value"] for answer in answers] == [False] * 5 + [True] * 3
    assert all(answer["captured_at"] and answer["clock"] == "arrival" for answer in answers)
    assert service.failure is None


def test_a_log_that_fails_ends_the_service_with_the_reason(tmp_path: Path) -> None:
    class Full:
        def write(self, records: Sequence[Logged]) -> None:
            raise OSError("no space left on device")

        def close(self) -> None: ...

    service, ready = Service("", threading.Event()), threading.Event()
    run(tmp_path, service, ready, ([Full()], bright_model()), listen("127.0.0.1", 0))
    assert "no space left on device" in str(service.failure)


class Loading(ScriptedModel):
    """A model that is loading until `loaded` is set, or cannot be loaded."""

    def __init__(self, failure: ModelError | None = None) -> None:
        super().__init__(brightness)
        self.loaded = threading.Event()
        self.failure = failure

    @property
    def info(self) -> ModelInfo:
        assert self.loaded.wait(30)
        if self.failure is not None:
            raise self.failure
        return super().info


def get(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


async def hello(url: str) -> dict[str, Any]:
    messages = subscribe(url, since=0)
    async for message in messages:
        await messages.aclose()
        return message.raw
    raise AssertionError


def test_what_was_recorded_is_there_while_the_model_loads(tmp_path: Path) -> None:
    with a_running_service(tmp_path) as service:
        before = asyncio.run(asyncio.wait_for(first_answers(service.websocket, 3), 30))
    model = Loading()
    with a_running_service(tmp_path, model=model) as service:
        assert get(f"{service.http}healthz") == (200, {"ok": True})
        code, ready = get(f"{service.http}readyz")
        assert (code, ready["ready"]) == (503, False)
        assert re.fullmatch(r"the model is being loaded, for \d+ s by now", ready["reasons"][0])
        first = asyncio.run(asyncio.wait_for(hello(service.websocket), 10))
        assert first["model"] is None
        assert [source["state"] for source in first["sources"]] == ["connecting"]
        assert [question["id"] for question in first["questions"]] == ["person"]
        assert asyncio.run(asyncio.wait_for(first_answers(service.websocket, 3), 10)) == before
        assert get(f"{service.http}sources/clip/latest.jpg")[0] == 404
        model.loaded.set()
        asyncio.run(asyncio.wait_for(first_answers(service.websocket, first["last_seq"] + 1), 30))
        assert asyncio.run(asyncio.wait_for(hello(service.websocket), 10))["model"]["name"] == "scripted"
        assert get(f"{service.http}readyz")[0] == 200


def test_a_model_that_cannot_be_loaded_ends_the_service(tmp_path: Path) -> None:
    model = Loading(ModelError("no such weights"))
    with a_running_service(tmp_path, model=model) as service:
        assert get(f"{service.http}healthz")[0] == 200
        model.loaded.set()
        assert service.ended.wait(20)
    assert isinstance(service.failure, ModelError)


def test_a_stop_while_the_model_loads_does_not_wait_for_it(tmp_path: Path) -> None:
    model = Loading()
    with a_running_service(tmp_path, model=model) as service:
        service.stop.set()
        assert service.ended.wait(5)
    model.loaded.set()
    assert service.failure is None


def test_records_reach_the_loop_in_order_and_a_closed_loop_costs_nothing() -> None:
    loop = asyncio.new_event_loop()
    sink, seen = LoopSink(loop), []
    sink.attach(lambda records: seen.extend(record.seq for record in records))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    for seq in range(1, 201):
        sink.write([Logged(seq, {})])
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()
    assert seen == list(range(1, 201))
    sink.write([Logged(201, {})])
    sink.close()


def test_a_loop_that_is_stuck_makes_the_writer_wait_and_loses_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.new_event_loop()
    sink, seen = LoopSink(loop), []
    sink.attach(lambda records: seen.extend(record.seq for record in records))
    writer = threading.Thread(target=lambda: [sink.write([Logged(seq, {})]) for seq in range(1, 101)])
    writer.start()
    writer.join(1.5)
    assert writer.is_alive()
    assert "stuck" in caplog.text
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    writer.join(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()
    assert seen == list(range(1, 101))


def test_a_writer_that_waits_for_a_closed_loop_goes_free() -> None:
    loop = asyncio.new_event_loop()  # never runs
    sink = LoopSink(loop)
    writer = threading.Thread(target=lambda: [sink.write([Logged(seq, {})]) for seq in range(1, 101)])
    writer.start()
    writer.join(0.2)
    loop.close()
    writer.join(10)
    assert not writer.is_alive()
