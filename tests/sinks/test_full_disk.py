"""A disk without room is a state: live delivery goes on, flagged, and the log says later how much is missing."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from streamqa.metrics import Metrics
from streamqa.sinks.base import Logged
from streamqa.sinks.log import AnswerLog, LogSettings
from streamqa.sinks.retention import Keeping
from streamqa.sinks.writer import RecordWriter
from tests.sinks.records import answer, picture


class Taken:
    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.records: list[Logged] = []

    def write(self, records: Sequence[Logged]) -> None:
        with self.changed:
            self.records += records
            self.changed.notify_all()

    def close(self) -> None: ...

    def until(self, wanted: Callable[[Logged], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: any(map(wanted, self.records)), 20)


def test_records_go_on_flagged_and_the_hole_is_named(tmp_path: Path) -> None:
    metrics, taken = Metrics(), Taken()

    def value(name: str) -> float:
        return metrics.registry.get_sample_value(f"streamqa_{name}") or 0.0

    with closing(AnswerLog(tmp_path / "a.db")) as log:
        writer = RecordWriter(log, [taken], metrics)
        writer.start()
        (pages,) = log._connection.execute("PRAGMA page_count").fetchone()
        log._connection.execute(f"PRAGMA max_page_count = {pages + 4}")  # SQLite's own "disk is full"
        number = 0
        while not any(record.seq is None for record in taken.records):
            number += 1
            writer.put([answer(number, text="x" * 500)])
            assert writer.drained(10)
        assert "database or disk is full" in writer.trouble()[0]
        assert value("log_full") == 1
        log._connection.execute("PRAGMA max_page_count = 1000000")
        taken.until(lambda record: record.payload["type"] == "gap")  # without any new record
        writer.put([answer(0)])
        writer.close()
        assert writer.trouble() == []
        assert value("log_full") == 0

        flagged = [record for record in taken.records if record.seq is None]
        assert all(record.payload["durable"] is False for record in flagged)
        assert all(record.payload["seq"] is None for record in flagged)
        (gap,) = (record for record in taken.records if record.payload["type"] == "gap")
        assert gap.payload["count"] == len(flagged) == value("records_not_kept_total")
        assert gap.payload["reason"] == "log_full"
        kept = [record.seq for record in taken.records if record.seq is not None]
        assert kept == list(range(1, len(kept) + 1))
        assert [record.seq for record in log.read(0, 10**6)] == kept


def test_the_hole_is_named_at_the_end_if_not_before(tmp_path: Path) -> None:
    with closing(AnswerLog(tmp_path / "a.db")) as log:
        taken = Taken()
        writer = RecordWriter(log, [taken], Metrics())
        writer.start()
        (pages,) = log._connection.execute("PRAGMA page_count").fetchone()
        log._connection.execute(f"PRAGMA max_page_count = {pages}")
        writer.put([answer(n, text="x" * 5000) for n in range(20)])
        taken.until(lambda record: record.seq is None)
        log._connection.execute("PRAGMA max_page_count = 1000000")
        writer.close()  # before the log would have been tried again
        (gap,) = log.read(0, 99)
        assert (gap.payload["type"], gap.payload["count"]) == ("gap", 20)


# A file that may not grow is what a full disk is to whoever writes it.
LIMITED = """
import resource, signal, sys
from streamqa.metrics import Metrics
from streamqa.sinks.log import AnswerLog, LogSettings
from streamqa.sinks.retention import Keeping
from streamqa.sinks.writer import RecordWriter
from tests.sinks.records import answer, picture
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
class Taken(list):
    def write(self, records):
        self.extend(records)
    def close(self): ...
taken = Taken()
log = AnswerLog(sys.argv[1], LogSettings(evidence=Keeping()))
writer = RecordWriter(log, [taken], Metrics())
writer.start()
writer.put([answer(1)])
assert writer.drained(10)
resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, resource.RLIM_INFINITY))
for number in range(200):
    writer.put([answer(number, text="x" * 500, picture=picture() if number % 20 == 0 else None)])
assert writer.drained(30)
assert writer.failure is None
assert writer.trouble()
assert taken[-1].seq is None
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.close()
writer_two = RecordWriter(log, [taken], Metrics())
writer_two.start()
writer_two.put([answer(500)])
writer_two.close()
assert taken[-1].seq is not None, taken[-1]
log.close()
print(len(taken), sum(record.seq is not None for record in taken))
"""


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "a.db")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    everything, kept = map(int, done.stdout.split())
    assert everything >= 202
    with closing(AnswerLog(tmp_path / "a.db", LogSettings(evidence=Keeping()))) as log:
        assert len(log.read(0, 10**6)) == kept


def test_of_pictures_that_wait_only_some_are_kept(tmp_path: Path) -> None:
    metrics = Metrics()
    with closing(AnswerLog(tmp_path / "a.db", LogSettings(evidence=Keeping()))) as log:
        writer = RecordWriter(log, [], metrics)
        for number in range(40):  # nobody writes yet
            writer.put([answer(number, picture=picture())])
        writer.start()
        writer.close()
        assert log.last_seq == 40
        kept = [record.payload["evidence"] is not None for record in log.read(0, 99)]
        assert kept == [True] * 16 + [False] * 24
        assert metrics.registry.get_sample_value("streamqa_evidence_dropped_total") == 24
        writer = RecordWriter(log, [], metrics)
        writer.start()
        writer.put([answer(0, picture=picture())])
        writer.close()
        assert log.read(40, 1)[0].payload["evidence"] == "/frames/41.jpg"


def test_pictures_that_cannot_be_kept_are_told_until_one_can(tmp_path: Path) -> None:
    metrics, taken = Metrics(), Taken()
    with closing(AnswerLog(tmp_path / "a.db", LogSettings(evidence=Keeping()))) as log:
        folder = tmp_path / "a.db.frames"
        inside = next(folder.iterdir())
        inside.rename(tmp_path / "away")
        inside.write_text("in the way")
        writer = RecordWriter(log, [taken], metrics)
        writer.start()
        writer.put([answer(1, picture=picture())])
        assert writer.drained(10)
        (line,) = writer.trouble()
        assert "pictures cannot be kept" in line
        assert metrics.registry.get_sample_value("streamqa_evidence_failed_total") == 1
        inside.unlink()
        (tmp_path / "away").rename(inside)
        writer.put([answer(2)])
        assert writer.drained(10)
        assert len(writer.trouble()) == 1  # nobody knows yet
        writer.put([answer(3, picture=picture())])
        writer.close()
        assert writer.trouble() == []
        assert metrics.registry.get_sample_value("streamqa_evidence_kept_total") == 1
