"""A loop in a thread: what runs in it can be waited for, and cut off."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError

import pytest

from streamqa.sinks.loop import LoopThread


async def nothing() -> None: ...


async def seven() -> int:
    return 7


async def broken() -> int:
    raise ValueError("as it is")


def test_results_and_errors_come_back() -> None:
    loop = LoopThread("test")
    assert loop.run(seven) == 7
    with pytest.raises(ValueError, match="as it is"):
        loop.run(broken)
    loop.close(nothing)


def test_closing_cuts_off_what_hangs() -> None:
    loop, begun, ended = LoopThread("test"), threading.Event(), threading.Event()
    last: list[str] = []

    async def hang() -> None:
        begun.set()
        await asyncio.sleep(60)

    async def say_goodbye() -> None:
        last.append("goodbye")

    def wait() -> None:
        with pytest.raises(CancelledError):
            loop.run(hang)
        ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert begun.wait(5)
    loop.close(say_goodbye)
    assert ended.wait(5)
    thread.join(5)
    assert last == ["goodbye"]
    loop.close(say_goodbye)
    with pytest.raises(CancelledError):
        loop.run(seven)
    assert last == ["goodbye"]
