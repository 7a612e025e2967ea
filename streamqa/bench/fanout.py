"""`bench fanout`: what it costs to give every record to every subscriber, beside what people build instead.

Each server runs in a process of its own and its clients in another one that really reads. A round runs all servers
one after the other, so that what slows the machine down slows all of them; ratios are of the same round. Counted is
the CPU time of the server's process from the first message of 400 bytes to the last one read. The log is not in it,
it has figures of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from streamqa.bench.fanout_resume import resume_s
from streamqa.bench.fanout_rows import BASELINE, Run, rows
from streamqa.bench.figures import Figure, Target, Value
from streamqa.bench.log_rate import measure as measure_log
from streamqa.bench.quick import machine
from streamqa.errors import StreamQAError

PARTS = ("steady", "fast", "stalled", "log")
_STEADY = ("streamqa", "streamqa.single", BASELINE, "fastapi.queue")
_FAST = ("streamqa", BASELINE)
_DELIVERIES = 200_000  # of one steady run
_PER_S = {200: 500.0, 1000: 100.0, 5000: 20.0}  # messages; 100,000 deliveries a second
_FAST_PER_S = 200.0
_TIMEOUT_S = 60.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured."""

    parts: tuple[str, ...] = PARTS
    subscribers: tuple[int, ...] = (200, 1000, 5000)
    rounds: int = 3
    pairs: int = 5  # with and without subscribers that do not read
    records: int = 100_000  # that one subscriber comes back for
    scale: float = 1.0  # of how many messages: less for a quick look


def measure(settings: Settings, progress: Progress) -> dict[str, Any]:
    """The whole bench as one JSON-ready object."""
    where = machine()
    found: list[dict[str, Any]] = []
    not_run: list[dict[str, Any]] = []
    for part, kinds in (("steady", _STEADY), ("fast", _FAST)):
        for subscribers in settings.subscribers if part in settings.parts else ():
            per_s = _FAST_PER_S if part == "fast" else _PER_S.get(subscribers, 50.0)
            progress(f"{part}: {subscribers} subscribers, {per_s:g} messages/s, {settings.rounds} rounds")
            try:
                rounds = [_round(kinds, subscribers, per_s, settings.scale) for _ in range(settings.rounds)]
            except (StreamQAError, OSError) as error:
                not_run.append({"name": part, "subscribers": subscribers, "why": str(error)})
                continue
            found += [row.as_dict() for row in rows(subscribers, per_s, rounds)]
    figures: list[Figure] = []
    if "stalled" in settings.parts:
        figures += _stalled(settings, progress)
    if "log" in settings.parts:
        figures += _log(settings, progress)
    return {
        "bench": "fanout",
        "machine": asdict(where),
        "settings": asdict(settings),
        "rows": found,
        "not_run": not_run,
        "figures": [figure.row() for figure in figures],
    }


def _round(kinds: Sequence[str], subscribers: int, per_s: float, scale: float) -> dict[str, Run]:
    messages = max(3, round(scale * min(_DELIVERIES / subscribers, 4 * per_s)))
    return {kind: _run(kind, subscribers, messages, per_s) for kind in kinds}


def _run(kind: str, subscribers: int, messages: int, per_s: float) -> Run:
    with _process("fanout_server", kind) as server, _process("fanout_client") as client:
        hub = server.hear()
        empty = server.ask(do="usage")
        _connect(client, hub, subscribers)
        before = server.ask(do="usage")
        client.tell(do="collect", messages=messages, timeout_s=_TIMEOUT_S)
        server.ask(do="publish", messages=messages, per_s=per_s)
        read = client.hear()
        cpu_s = server.ask(do="usage")["cpu_s"] - before["cpu_s"]
    if not read["in_order"] and not read["lost"]:
        raise StreamQAError(f"bench: {kind} gave messages out of order")
    return Run(
        (subscribers * messages - read["lost"]) / cpu_s,
        read["p50_ms"],
        read["p99_ms"],
        read["lost"],
        (before["memory_bytes"] - empty["memory_bytes"]) / subscribers / 1024,
    )


def _stalled(settings: Settings, progress: Progress) -> list[Figure]:
    """What a tenth of the subscribers that do not read changes for the others."""
    ratios, grown = [], []
    for number in range(settings.pairs):
        progress(f"stalled: pair {number + 1} of {settings.pairs}")
        calm_p99, calm_bytes = _with_stalled(0, settings.scale)
        p99, grown_bytes = _with_stalled(100, settings.scale)
        ratios.append(
            Value("100 of 1,000 not reading: the others' p99", "x", p99 / calm_p99, Target("<=", 1.25))
        )
        more = (grown_bytes - calm_bytes) / 1e6
        grown.append(Value("100 of 1,000 not reading: memory", "MB", more, Target("<=", 8)))
    return [Figure.over(ratios), Figure.over(grown)]


def _with_stalled(stalled: int, scale: float) -> tuple[float, float]:
    """The p99 of 900 that read, in ms, and how much the server's memory grew, in bytes."""
    with _process("fanout_server", "streamqa") as server, _process("fanout_client") as client:
        hub = server.hear()
        _connect(client, hub, 900 + stalled, stalled)
        before = server.ask(do="usage")["memory_bytes"]
        most, p99 = before, []
        for _ in range(8):  # of a second each: whoever does not read is cut off after 5 s
            messages = max(3, round(100 * scale))
            client.tell(do="collect", messages=messages, timeout_s=_TIMEOUT_S)
            server.ask(do="publish", messages=messages, per_s=100.0)
            read = client.hear()
            if read["lost"]:
                raise StreamQAError(f"bench: {read['lost']} messages were lost by subscribers that read")
            p99.append(read["p99_ms"])
            most = max(most, server.ask(do="usage")["memory_bytes"])
    return median(p99), most - before


def _log(settings: Settings, progress: Progress) -> list[Figure]:
    values: dict[str, list[Value]] = {}
    for number in range(settings.rounds):
        progress(f"log: round {number + 1} of {settings.rounds}")
        rate = measure_log(count=max(200, round(6000 * settings.scale)), large=0)
        back_s = resume_s(settings.records)
        for value in (
            Value(
                "log: answers one in a transaction, with words",
                "1/s",
                rate["answers_per_s"],
                Target(">=", 3000),
            ),
            Value("log: one append, p99", "ms", rate["append_p99_ms"]),
            Value(f"resume of {settings.records:,} records", "s", back_s, Target("<=", 2.0)),
        ):
            values.setdefault(value.name, []).append(value)
    return [Figure.over(rounds) for rounds in values.values()]


def _connect(client: _Process, hub: dict[str, Any], subscribers: int, stalled: int = 0) -> None:
    client.ask(
        do="connect",
        port=hub["port"],
        path=hub["path"],
        subscribers=subscribers,
        stalled=stalled,
        say=hub["say"],
    )


class _Process:
    """One end of the bench, told by JSON lines."""

    def __init__(self, name: str, *arguments: str) -> None:
        self._name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"streamqa.bench.{name}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def tell(self, **order: Any) -> None:
        """Give an order."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """The answer to the last order. Raises StreamQAError: it ended instead."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.kill()
            _, said = self.process.communicate()
            raise StreamQAError(
                f"bench: {self._name} ended: {said.strip().splitlines()[-1:] or 'without a word'}"
            )
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, **order: Any) -> dict[str, Any]:
        """Both."""
        self.tell(**order)
        return self.hear()


@contextmanager
def _process(name: str, *arguments: str) -> Iterator[_Process]:
    one = _Process(name, *arguments)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.communicate()
