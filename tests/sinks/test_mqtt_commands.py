import threading
from typing import Any

import pytest

from streamqa.errors import NotThere
from streamqa.sinks.mqtt_commands import Commands
from streamqa.sinks.topics import Command

WAIT_S = 10.0
GATE, PERSON = Command("gate", None), Command("gate", "person")


class Paused:
    """What is paused, and how often somebody was told that something was done."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str, bool]] = []
        self.told = threading.Semaphore(0)
        self.may = threading.Event()
        self.may.set()
        self.ignored = 0

    def ignore(self) -> None:
        self.ignored += 1

    def pause(self, what: Any, name: str, is_pause: bool) -> None:
        assert self.may.wait(WAIT_S)
        self.done.append((what, name, is_pause))
        if name == "nobody":
            raise NotThere("there is no such source")
        if name == "broken":
            raise RuntimeError("a mistake")

    def commands(self) -> Commands:
        return Commands("mqtt", self.pause, self.told.release, self.ignore)

    def wait(self, times: int) -> None:
        for _ in range(times):
            assert self.told.acquire(timeout=WAIT_S)


def test_on_resumes_and_off_pauses() -> None:
    paused = Paused()
    commands = paused.commands()
    commands.take(GATE, b"OFF")
    commands.take(PERSON, b"ON")
    paused.wait(2)
    assert paused.done == [("source", "gate", True), ("question", "person", False)]
    assert paused.ignored == 0
    commands.close()


@pytest.mark.parametrize("payload", [b"", b"on", b"TOGGLE", b"\xff\0", b"ON" * 1000])
def test_anything_else_is_ignored_and_counted(payload: bytes, caplog: pytest.LogCaptureFixture) -> None:
    paused = Paused()
    commands = paused.commands()
    commands.take(GATE, payload)
    commands.take(GATE, payload)
    commands.take(GATE, b"ON")
    paused.wait(1)
    assert paused.done == [("source", "gate", False)]
    assert paused.ignored == 2
    assert len(caplog.messages) == 1  # it is told once, however often it comes
    assert len(caplog.messages[0]) < 300
    commands.close()


def test_one_that_cannot_be_done_is_told_and_the_next_one_is() -> None:
    paused = Paused()
    commands = paused.commands()
    for name in ("nobody", "broken", "gate"):
        commands.take(Command(name, None), b"OFF")
    paused.wait(3)  # also after those that failed: how it is now is then told again
    assert [name for _, name, _ in paused.done] == ["nobody", "broken", "gate"]
    commands.close()


def test_too_many_are_refused_and_counted() -> None:
    paused = Paused()
    paused.may.clear()
    commands = paused.commands()
    for _ in range(100):
        commands.take(GATE, b"OFF")
    assert paused.ignored >= 35
    commands.close()  # does not wait for one that hangs
    paused.may.set()
    paused.wait(100 - paused.ignored)
