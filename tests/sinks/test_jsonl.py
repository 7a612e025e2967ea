"""JSON lines in a real file: exactly as on the wire, whole, and through rotation and a full disk."""

from __future__ import annotations

import json
import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamqa.errors import ConfigError
from streamqa.metrics import Metrics
from streamqa.sink_settings import JsonlConfig
from streamqa.sinks.base import Logged
from streamqa.sinks.jsonl import Lines, Stream, open_outlet
from streamqa.sinks.log import AnswerLog
from streamqa.sinks.outlet import Context, QueuedOutlet, Undelivered
from tests.sinks.outlets import make_context
from tests.sinks.records import answer, status


def logged(first: int, last: int, words: str = "Yes") -> list[Logged]:
    return [Logged(seq, {"type": "error", "seq": seq, "message": words}) for seq in range(first, last + 1)]


def seqs(path: Path) -> list[int]:
    text = path.read_text()
    assert not text or text.endswith("\n")
    return [json.loads(line)["seq"] for line in text.splitlines()]


@contextmanager
def opened(path: Path | str, context: Context | None = None, **settings: object) -> Iterator[QueuedOutlet]:
    given = JsonlConfig.model_validate({"jsonl": str(path), **settings})
    outlet = open_outlet(given, "jsonl", context or make_context())
    try:
        yield outlet
    finally:
        outlet.close()


@contextmanager
def room_for(size_bytes: int) -> Iterator[None]:
    """No file may grow beyond that, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_each_record_is_a_line_as_on_the_wire(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with AnswerLogged(tmp_path) as append, opened(path) as outlet:
        outlet.write(append(answer(1, text="Yés \u2028"), status()))
        assert outlet.drained(5)
        texts = append.texts()
        assert path.read_text().split("\n")[:-1] == texts
        assert outlet.state().target == str(path)
    assert path.stat().st_mode & 0o777 == 0o600


class AnswerLogged:
    """A real log to append to."""

    def __init__(self, folder: Path) -> None:
        self._log = AnswerLog(folder / "a.db")

    def __enter__(self) -> AnswerLogged:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()

    def __call__(self, *records: object) -> list[Logged]:
        return self._log.append(records)  # type: ignore[arg-type]

    def texts(self) -> list[str]:
        return [text for _, text in self._log.page(0, 100).rows]


def test_only_what_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with AnswerLogged(tmp_path) as append, opened(path, types=["answer"], changed_only=True) as outlet:
        outlet.write(append(answer(1), status(), answer(2, changed=False), answer(3, source="yard")))
        assert outlet.drained(5)
    assert seqs(path) == [1, 4]


def test_it_goes_on_at_the_end_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    for first in (1, 3):
        with opened(path) as outlet:
            outlet.write(logged(first, first + 1))
    assert seqs(path) == [1, 2, 3, 4]


def moved(path: Path) -> None:
    path.rename(path.with_suffix(".1"))


def deleted(path: Path) -> None:
    path.unlink()


def truncated(path: Path) -> None:
    os.truncate(path, 0)


def replaced(path: Path) -> None:
    moved(path)
    path.touch(0o640)


@pytest.mark.parametrize("rotate", [moved, deleted, truncated, replaced])
def test_the_file_may_be_rotated(tmp_path: Path, rotate: Callable[[Path], None]) -> None:
    path = tmp_path / "out.jsonl"
    with opened(path) as outlet:
        outlet.write(logged(1, 2))
        assert outlet.drained(5)
        rotate(path)
        outlet.write(logged(3, 4))
        assert outlet.drained(5)
        assert seqs(path) == [3, 4]
    if path.with_suffix(".1").exists():
        assert seqs(path.with_suffix(".1")) == [1, 2]


def test_a_full_disk_is_a_state_and_costs_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with opened(path) as outlet:
        with room_for(1000):
            outlet.write(logged(1, 40))
            reason = until_down(outlet)
            assert "file too large" in reason
            kept = seqs(path)
            assert 0 < len(kept) < 40
        assert outlet.drained(10)
        assert outlet.state().is_up
        assert (outlet.state().delivered, outlet.state().dropped) == (40, 0)
    assert seqs(path) == list(range(1, 41))


def until_down(outlet: QueuedOutlet) -> str:
    waiting = threading.Event()
    for _ in range(500):
        if outlet.state().is_up is False:
            return outlet.state().reason
        waiting.wait(0.01)
    raise AssertionError("it is never down")


def test_a_lost_folder_is_a_state(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with opened(folder / "out.jsonl") as outlet:
        (folder / "out.jsonl").unlink()
        folder.rmdir()
        outlet.write(logged(1, 1))
        assert "no such file" in until_down(outlet)
        folder.mkdir()
        assert outlet.drained(10)
    assert seqs(folder / "out.jsonl") == [1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"seq":1}\n{"seq":2}\n{"se', [1, 2, 9]),
        ('{"se', [9]),
        ('{"seq":1}\n{"seq":2}\n', [1, 2, 9]),
        ('{"seq":1}\n{"seq":2}', [1, 2, 9]),  # all of it but its end
        ('{"seq": 1}', [1, 9]),  # as other programs write it
    ],
)
def test_half_a_line_of_a_killed_process_goes(tmp_path: Path, before: str, after: list[int]) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(before)
    with opened(path) as outlet:
        outlet.write(logged(9, 9))
    assert seqs(path) == after


def test_a_long_last_line_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("{" + "x" * 100_000)
    lines = Lines(path)
    lines.deliver(logged(1, 1))
    lines.close()
    assert path.read_text().startswith("{" + "x" * 100_000 + '\n{"')


@pytest.mark.parametrize("what", ["folder", "pipe", "database", "indented", "nowhere"])
def test_what_is_no_such_file_is_refused_and_left_alone(tmp_path: Path, what: str) -> None:
    path = tmp_path / "out.jsonl"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "database":
        path.write_bytes(b"SQLite format 3\0")
    elif what == "indented":
        path.write_text('{\n  "a": 1\n}')
    else:
        path = tmp_path / "nowhere" / "out.jsonl"
    with pytest.raises(ConfigError, match=r"sink jsonl: jsonl: .*; choose a file that may be written"):
        open_outlet(JsonlConfig(jsonl=str(path)), "jsonl", make_context())
    if what == "database":
        assert path.read_bytes() == b"SQLite format 3\0"
    if what == "indented":
        assert path.read_text() == '{\n  "a": 1\n}'


def test_standard_output(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", open(1, "w", closefd=False))  # noqa: SIM115 - the real one
    with opened("-") as outlet:
        outlet.write(logged(1, 2))
        assert outlet.drained(5)
        assert outlet.state().target == "stdout"
    assert [json.loads(line)["seq"] for line in capfd.readouterr().out.splitlines()] == [1, 2]


def test_nobody_reads_standard_output() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(Undelivered, match="broken pipe") as raised:
        Stream(writer).deliver(logged(1, 1))
    os.close(writer)
    assert not raised.value.retry


def test_its_counts_are_metrics(tmp_path: Path) -> None:
    metrics = Metrics()
    with opened(tmp_path / "out.jsonl", make_context(metrics)) as outlet:
        outlet.write(logged(1, 3))
        assert outlet.drained(5)
    assert metrics.registry.get_sample_value("streamqa_sink_delivered_total", {"sink": "jsonl"}) == 3
