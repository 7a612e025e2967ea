"""A process that is killed while it writes: the log opens, is unharmed, and holds all that was handed on."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from streamqa.sinks.log import AnswerLog, LogSettings
from streamqa.sinks.query import Query
from streamqa.sinks.retention import Keeping

SEED = 5

# What a sink gets it prints: that is "delivered". Pictures and retention are at work meanwhile.
WRITER = """
import sys
from streamqa.metrics import Metrics
from streamqa.sinks.log import AnswerLog, LogSettings
from streamqa.sinks.retention import Keeping
from streamqa.sinks.writer import RecordWriter
from tests.sinks.records import answer, picture

class Told:
    def write(self, records):
        print(*(record.seq for record in records), flush=True)
    def close(self): ...

settings = LogSettings(records=Keeping(size_bytes=3_000_000), evidence=Keeping())
log = AnswerLog(sys.argv[1], settings)
writer = RecordWriter(log, [Told()], Metrics())
writer.start()
number = 0
while True:
    number += 1
    writer.put([answer(number, text=f"dog{number}", picture=picture() if number % 50 == 0 else None)])
"""


def killed_after(path: Path, lines: int) -> set[int]:
    """The numbers that were delivered until the process got SIGKILL."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        told = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read().split("\n")[:-1]
    process.wait(30)
    return {int(seq) for line in told for seq in line.split()}


def check(path: Path, delivered: set[int]) -> None:
    settings = LogSettings(records=Keeping(size_bytes=3_000_000), evidence=Keeping())
    with closing(AnswerLog(path, settings)) as log:
        records, first = log.read(0, 10**6), log.first_seq
        assert {seq for seq in delivered if seq >= first} <= {record.seq for record in records}
        assert log.last_seq >= max(delivered)
        for record in records:
            if record.payload["evidence"] is not None:
                assert log.evidence(record.seq or 0) is not None
        assert log.read(0, 9, Query(text="dog1 dog2")) == []
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.execute("INSERT INTO word_index (word_index) VALUES ('integrity-check')")


@pytest.mark.parametrize("times", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_whatever_was_delivered_is_in_the_log(tmp_path: Path, times: int) -> None:
    chance = random.Random(SEED)
    delivered: set[int] = set()
    for _ in range(times):
        delivered |= killed_after(tmp_path / "a.db", chance.randint(1, 60))
        check(tmp_path / "a.db", delivered)
