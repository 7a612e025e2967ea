"""One run of the whole line with a model of fixed cost: real clips, decoding, log, server, a subscriber outside."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from streamqa.bench.fixed import Call, Cost, FixedCostModel
from streamqa.bench.subscriber import Seen
from streamqa.capture.source import SourceSpec
from streamqa.errors import ModelError, StreamQAError
from streamqa.metrics import Metrics
from streamqa.model.base import VisionModel
from streamqa.pipeline import Parts
from streamqa.server.listen import listen
from streamqa.service import run_service
from streamqa.sinks.base import Logged
from streamqa.sinks.log import AnswerLog
from streamqa.types import NS_PER_S, Generation, ModelInfo, Question, Request

_SUBSCRIBER_S = 30.0  # for it to connect, and to write its notes once the server is gone
_LOOK_UP_S = 0.01
_LONGEST_S = 3600.0  # beside `for_s`: then something hangs


@dataclass(frozen=True, slots=True)
class LineSpec:
    """What to run."""

    sources: tuple[SourceSpec, ...]
    questions: tuple[Question, ...]
    cost: Cost
    for_s: float | None  # from when the subscriber is connected; None: until every recording is answered
    mark_every: int = 100  # frames from one mark to the next
    keep_calls: int = 100_000

    def __post_init__(self) -> None:
        if not self.sources or not self.questions or self.mark_every < 1:
            raise ValueError("a line needs sources, questions and marks")
        if len({question.every_ns for question in self.questions}) > 1:
            raise ValueError("all questions need one period: every frame is asked all of them")


class Mark(NamedTuple):
    """The state of this process after so many frames."""

    at_ns: int
    frames: int
    cpu_s: float  # of this process: capture, engine, log and server
    rss_bytes: int
    objects: int  # alive in Python's heap


@dataclass(frozen=True, slots=True)
class LineRun:
    """What one run showed."""

    seen: tuple[Seen, ...]
    hello_ns: int  # when the subscriber was connected
    missed: int  # records that it was told it had been too slow for
    records: int  # that the log took
    answers: int  # among these
    unaccounted: int  # ticks neither answered nor reported as skipped, by the records of the log
    calls: tuple[Call, ...]
    marks: tuple[Mark, ...]
    kept: int  # frames that the sampler kept
    dropped: int  # of these, replaced by a newer one
    utc_offset_ns: int  # wall clock - monotonic clock
    rss_before: int
    rss_after: int


class WithAudience:
    """A model that holds its first batch until a subscriber is connected; a check before the start is none."""

    def __init__(self, model: VisionModel, metrics: Metrics) -> None:
        self._model, self._metrics = model, metrics
        self._begun = False

    @property
    def info(self) -> ModelInfo:
        """The model's."""
        return self._model.info

    def answer(self, requests: Sequence[Request]) -> list[list[Generation]]:
        """What the model says.

        Raises:
            ModelError: nobody subscribed in time.
        """
        if all(request.check_only for request in requests):
            return self._model.answer(requests)
        until_s = time.monotonic() + _SUBSCRIBER_S
        while not (self._begun or subscribers(self._metrics)):
            if time.monotonic() > until_s:
                raise ModelError("bench: nobody subscribed")
            time.sleep(_LOOK_UP_S)
        self._begun = True
        return self._model.answer(requests)

    def close(self) -> None:
        """Close the model."""
        self._model.close()


class Tally:
    """The account of answers: whether every tick is in it. Pure."""

    def __init__(self) -> None:
        self.answers = 0
        self._ticks: dict[tuple[str, str], int] = {}  # (source, question) -> answered and skipped
        self._newest_ns: dict[tuple[str, str], int] = {}

    def add(self, answer: dict[str, Any]) -> None:
        """An answer's payload."""
        track = (answer["source"], answer["question"])
        self.answers += 1
        self._ticks[track] = self._ticks.get(track, 0) + 1 + answer["skipped"]
        self._newest_ns[track] = max(self._newest_ns.get(track, 0), round(answer["t_s"] * NS_PER_S))

    def unaccounted(self, every_ns: int) -> int:
        """Ticks up to the newest answer that are neither answered nor reported as skipped, or twice; 0 is right.

        Payloads round times to microseconds: exact where the period is whole ones, and frames come on it or not near.
        """
        return sum(abs(t_ns // every_ns + 1 - self._ticks[track]) for track, t_ns in self._newest_ns.items())


class Progress:
    """A sink that counts frames answered and notes the state of the process; sets `stop` when all is answered."""

    def __init__(self, spec: LineSpec, metrics: Metrics, stop: threading.Event) -> None:
        self._spec, self._metrics, self._stop = spec, metrics, stop
        self.tally = Tally()
        self._ended: set[str] = set()
        self._until_ns: int | None = None
        self.marks: list[Mark] = []

    def write(self, records: Sequence[Logged]) -> None:
        """Count them."""
        for record in records:
            if record.payload["type"] == "answer":
                self.tally.add(record.payload)
            elif record.payload["state"] in ("ended", "refused"):
                self._ended.add(record.payload["source"])
        frames = self.tally.answers // len(self._spec.questions)
        if not self.marks or frames >= self.marks[-1].frames + self._spec.mark_every:
            self.mark(frames)
        if self._over(frames):
            self.mark(frames)
            self._stop.set()

    def mark(self, frames: int) -> None:
        """Note the state of the process."""
        now_ns, cpu_s = time.monotonic_ns(), time.process_time()
        self.marks.append(Mark(now_ns, frames, cpu_s, rss_bytes(), sys.getallocatedblocks()))

    def close(self) -> None:
        """Nothing is held."""

    def _over(self, frames: int) -> bool:
        if self._spec.for_s is None:
            ended = len(self._ended) == len(self._spec.sources)
            return ended and frames == total(self._metrics, "frames_kept")
        if self._until_ns is None and subscribers(self._metrics):
            self._until_ns = time.monotonic_ns() + round(self._spec.for_s * NS_PER_S)
        return self._until_ns is not None and time.monotonic_ns() >= self._until_ns


def run_line(spec: LineSpec) -> LineRun:
    """Run the line once, its log in a folder of its own.

    Raises:
        StreamQAError: the line or the subscriber failed, so there is nothing to measure.
    """
    stop, metrics, model = threading.Event(), Metrics(), FixedCostModel(spec.cost, spec.keep_calls)
    progress = Progress(spec, metrics, stop)
    with tempfile.TemporaryDirectory(prefix="streamqa-bench-") as folder:
        notes = Path(folder) / "notes.json"
        rss_before = rss_bytes()
        with (
            closing(AnswerLog(Path(folder) / "answers.db")) as log,
            closing(listen("127.0.0.1", 0)) as door,
            notes.open("wb") as output,
        ):
            parts = Parts(
                spec.questions, spec.sources, WithAudience(model, metrics), log, (progress,), metrics
            )
            subscriber = _subscriber(door.port, output)
            try:
                asyncio.run(run_service(parts, door, stop, for_s=(spec.for_s or 0) + _LONGEST_S))
                rss_after = rss_bytes()
                _await(subscriber)
            finally:
                subscriber.kill()
                subscriber.wait()
        seen = json.loads(notes.read_text())
    return LineRun(
        seen=tuple(Seen(*answer) for answer in seen["answers"]),
        hello_ns=seen["hello_ns"],
        missed=seen["missed"],
        records=total(metrics, "records_logged"),
        answers=progress.tally.answers,
        unaccounted=progress.tally.unaccounted(spec.questions[0].every_ns),
        calls=tuple(model.calls),
        marks=tuple(progress.marks),
        kept=total(metrics, "frames_kept"),
        dropped=total(metrics, "frames_dropped"),
        utc_offset_ns=time.time_ns() - time.monotonic_ns(),
        rss_before=rss_before,
        rss_after=rss_after,
    )


def total(metrics: Metrics, counter: str) -> int:
    """A counter over all its labels."""
    name = f"streamqa_{counter}_total"
    families = metrics.registry.collect()
    return round(sum(s.value for family in families for s in family.samples if s.name == name))


def subscribers(metrics: Metrics) -> int:
    """How many are connected."""
    return round(metrics.registry.get_sample_value("streamqa_subscribers") or 0)


def rss_bytes() -> int:
    """What this process holds of the machine's memory, in bytes.

    Raises:
        StreamQAError: not on Linux.
    """
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        raise StreamQAError(
            "memory is measured with /proc, which this system has not; run it on Linux"
        ) from None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _subscriber(port: int, output: IO[bytes]) -> subprocess.Popen[Any]:
    """Started before the server is up: the socket listens already, so it waits there and misses little."""
    command = [sys.executable, "-m", "streamqa.bench.subscriber", f"http://127.0.0.1:{port}"]
    return subprocess.Popen(command, stdout=output)


def _await(subscriber: subprocess.Popen[Any]) -> None:
    try:
        code = subscriber.wait(_SUBSCRIBER_S)
    except subprocess.TimeoutExpired:
        raise StreamQAError(
            "the subscriber of the bench did not end with its server; nothing measured"
        ) from None
    if code != 0:
        raise StreamQAError(f"the subscriber of the bench ended with {code}; nothing measured")
