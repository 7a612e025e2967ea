"""All outlets of a line: opened from a configuration, written to side by side, closed together."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from streamqa.config import parse_config
from streamqa.errors import ConfigError, StreamQAError
from streamqa.outlets import Outlets
from streamqa.sinks.base import Logged
from streamqa.sinks.outlet import SinkState
from streamqa.types import utc_now
from tests.receiver import Receiver, receiver
from tests.sinks.outlets import make_context

__all__ = ["receiver"]


def configured(*lines: str) -> Any:
    return parse_config("sources: {gate: scene:gate}\nquestions: {}\nsinks:\n" + "\n".join(lines)).sinks


def record(seq: int | None) -> Logged:
    return Logged(seq, {"type": "error", "seq": seq, "message": "x"})


class Noting:
    """An outlet that notes what it gets, or fails."""

    def __init__(self, fails: bool = False, hangs_s: float = 0) -> None:
        self.got: list[int | None] = []
        self.fails, self.hangs_s, self.closed = fails, hangs_s, threading.Event()

    def write(self, records: Sequence[Logged]) -> None:
        if self.fails:
            raise ZeroDivisionError("oops")
        self.got += [one.seq for one in records]

    def state(self) -> SinkState:
        return SinkState("a", "fake", "there", True, "", utc_now(), 0, len(self.got), 0)

    def close(self) -> None:
        time.sleep(self.hangs_s)
        self.closed.set()


def test_the_sinks_of_a_configuration(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    sinks = configured(
        f"  - jsonl: {tmp_path}/all.jsonl",
        f"  - {{jsonl: {tmp_path}/answers.jsonl, types: [answer]}}",
        f"  - {{webhook: '{receiver.url()}', types: [error], id: far}}",
    )
    with closing(Outlets()) as outlets:
        outlets.open(sinks, make_context())
        assert outlets.ids() == ("jsonl", "jsonl-2", "far")
        outlets.write([record(1), record(None)])
        assert len(receiver.until(2)) == 2
        assert [state.kind for state in outlets.states()] == ["jsonl", "jsonl", "webhook"]
    assert [json.loads(line)["seq"] for line in (tmp_path / "all.jsonl").read_text().splitlines()] == [
        1,
        None,
    ]
    assert (tmp_path / "answers.jsonl").read_text() == ""
    assert outlets.states() == []


def test_one_that_cannot_be_opened_closes_the_others(tmp_path: Path) -> None:
    sinks = configured(f"  - jsonl: {tmp_path}/all.jsonl", f"  - jsonl: {tmp_path}/nowhere/all.jsonl")
    outlets = Outlets()
    with pytest.raises(ConfigError, match=r"sink jsonl-2: .*nowhere"):
        outlets.open(sinks, make_context())
    assert outlets.ids() == ()


def test_one_that_fails_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    good, bad = Noting(), Noting(fails=True)
    outlets = Outlets()
    outlets.put("bad", bad)
    outlets.put("good", good)
    with caplog.at_level(logging.WARNING):
        for seq in (1, 2, 3):
            outlets.write([record(seq)])
    assert good.got == [1, 2, 3]
    assert len(caplog.records) == 1
    outlets.close()


def test_they_come_and_go() -> None:
    outlets, first, second = Outlets(), Noting(), Noting()
    assert outlets.put("a", first) is None
    outlets.write([record(1)])
    assert outlets.put("a", second) is first
    outlets.write([record(2)])
    assert outlets.take("a") is second
    assert outlets.take("a") is None
    outlets.write([record(3)])
    assert (first.got, second.got) == ([1], [2])
    assert not first.closed.is_set()


def test_they_are_closed_side_by_side() -> None:
    outlets, slow = Outlets(), [Noting(hangs_s=0.3) for _ in range(5)]
    for number, one in enumerate(slow):
        outlets.put(str(number), one)
    began_s = time.monotonic()
    outlets.close()
    outlets.close()
    assert time.monotonic() - began_s < 1.2
    assert all(one.closed.is_set() for one in slow)


def test_what_an_outlet_pauses_is_recorded_as_its_doing() -> None:
    paused: list[Any] = []
    outlets = Outlets(lambda: ((), ("first",)))  # type: ignore[arg-type, return-value]
    context = outlets.context_of("mqtt", make_context())
    with pytest.raises(StreamQAError, match="still being loaded"):
        context.pause("question", "person", True)
    assert outlets.describe() == ((), ("first",))
    outlets.attach(lambda: ((), ("then",)), lambda *call: paused.append(call))  # type: ignore[arg-type, return-value]
    context.pause("question", "person", True)
    assert paused == [("question", "person", True, "sink mqtt")]
    assert outlets.describe() == ((), ("then",))


def test_what_is_written_while_an_outlet_is_replaced_goes_to_one_that_is_open() -> None:
    outlets, old, new = Outlets(), Noting(), Noting()
    late: list[int | None] = []
    take = old.write
    old.write = lambda records: late.append(records[0].seq) if old.closed.is_set() else take(records)  # type: ignore[method-assign]

    def replace() -> None:
        before = outlets.put("b", new)
        assert before is old
        before.close()

    replacing = threading.Thread(target=replace)

    class First(Noting):
        def write(self, records: Sequence[Logged]) -> None:
            if not replacing.ident:
                replacing.start()
                old.closed.wait(0.2)

    outlets.put("a", First())
    outlets.put("b", old)
    outlets.write([record(1)])
    replacing.join(10)
    outlets.write([record(2)])
    outlets.close()
    assert (old.got, new.got, late) == ([1], [2], [])
