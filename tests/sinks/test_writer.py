import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from streamqa.errors import StreamQAError
from streamqa.metrics import Metrics
from streamqa.records import SourceStatus
from streamqa.sinks.base import Logged
from streamqa.sinks.log import AnswerLog, LogSettings
from streamqa.sinks.retention import Keeping
from streamqa.sinks.writer import RecordWriter
from streamqa.types import utc_now
from tests.sinks.records import answer, picture


def status(number: int) -> SourceStatus:
    return SourceStatus(source="gate", state="live", reason=str(number), at=utc_now())


class Taking:
    """A sink that looks into the log from outside at each delivery."""

    def __init__(self, log: AnswerLog) -> None:
        self.log, self.taken, self.durable = log, [], []  # type: ignore[var-annotated]

    def write(self, records: Sequence[Logged]) -> None:
        self.taken += [record.seq for record in records]
        self.durable.append(self.log.last_seq >= records[-1].seq)

    def close(self) -> None: ...


def test_records_are_durable_before_anybody_sees_them_and_come_in_order(tmp_path: Path) -> None:
    metrics = Metrics()
    with closing(AnswerLog(tmp_path / "a.db")) as log:
        sink = Taking(log)
        writer = RecordWriter(log, [sink], metrics)
        writer.start()
        threads = [
            threading.Thread(target=lambda: [writer.put([status(n)]) for n in range(100)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        writer.close()
        assert sink.taken == list(range(1, 401))
        assert all(sink.durable)
        assert log.last_seq == 400
    assert metrics.records_logged._value.get() == 400


def test_closing_writes_what_is_queued_and_takes_no_more() -> None:
    with closing(AnswerLog(":memory:")) as log:
        writer = RecordWriter(log, [], Metrics())
        writer.put([status(1), status(2)])
        writer.start()
        writer.close()
        assert log.last_seq == 2
        with pytest.raises(StreamQAError, match="closing"):
            writer.put([status(3)])


class Failing:
    def write(self, records: Sequence[Logged]) -> None:
        raise OSError("no space left")

    def close(self) -> None: ...


def put_many(writer: RecordWriter) -> None:
    for _ in range(10_000):
        writer.put([status(2)])


def test_a_failure_is_told_to_whoever_writes_next() -> None:
    with closing(AnswerLog(":memory:")) as log:
        writer = RecordWriter(log, [Failing()], Metrics())
        writer.start()
        writer.put([status(1)])
        with pytest.raises(StreamQAError, match="no space left"):
            put_many(writer)
        assert isinstance(writer.failure, OSError)
        writer.close()


class Held:
    """A sink whose reader does not read until it is let go."""

    def __init__(self) -> None:
        self.free, self.taken = threading.Event(), 0

    def write(self, records: Sequence[Logged]) -> None:
        self.free.wait(30)
        self.taken += len(records)

    def close(self) -> None: ...


def test_drained_means_that_every_sink_has_all_of_it() -> None:
    with closing(AnswerLog(":memory:")) as log:
        sink = Held()
        writer = RecordWriter(log, [sink], Metrics())
        writer.start()
        assert writer.drained(0)
        for number in range(3):
            writer.put([status(number), status(number)])
        assert not writer.drained(0.1)
        sink.free.set()
        assert writer.drained(20)
        assert sink.taken == 6
        writer.close()


def test_nobody_waits_for_a_writer_that_has_failed() -> None:
    with closing(AnswerLog(":memory:")) as log:
        writer = RecordWriter(log, [Failing()], Metrics())
        writer.start()
        writer.put([status(1)])
        assert writer.drained(20)
        writer.close()


def test_an_output_that_hangs_does_not_hold_up_the_end_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with closing(AnswerLog(":memory:")) as log:
        sink = Held()
        writer = RecordWriter(log, [sink], Metrics())
        writer.start()
        writer.put([status(1)])
        writer.close(timeout_s=0.1)
        assert "1 batches of records are given up" in caplog.text
        sink.free.set()
        writer.close()


def test_retention_goes_on_beside_the_writing_and_is_counted(tmp_path: Path) -> None:
    metrics, deleted = Metrics(), threading.Event()
    settings = LogSettings(records=Keeping(age_ms=60_000), evidence=Keeping(age_ms=60_000))
    with closing(AnswerLog(tmp_path / "a.db", settings)) as log:
        writer = RecordWriter(log, [], metrics)
        writer.start()
        writer.put([answer(n, picture=picture()) for n in range(3)])  # of a day long ago, by their own clock
        for _ in range(200):
            if metrics.registry.get_sample_value("streamqa_evidence_deleted_total") == 3:
                break
            deleted.wait(0.1)
        assert metrics.registry.get_sample_value("streamqa_records_deleted_total") == 3
        assert metrics.registry.get_sample_value("streamqa_evidence_deleted_total") == 3
        assert metrics.registry.get_sample_value("streamqa_evidence_bytes") == 0
        writer.close()
