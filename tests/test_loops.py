"""Work of an event loop in other threads: its result comes back, and the end of the process does not wait for it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from streamqa.loops import LeavingLoop


def broken() -> None:
    raise ValueError("as it is")


def test_results_and_errors_come_back() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, lambda: 7) == 7
        assert await asyncio.to_thread(threading.get_ident) != threading.get_ident()
        with pytest.raises(ValueError, match="as it is"):
            await loop.run_in_executor(None, broken)
        with ThreadPoolExecutor(1) as executor:
            assert await loop.run_in_executor(executor, lambda: 8) == 8
        assert await loop.getaddrinfo("127.0.0.1", 80)

    with asyncio.Runner(loop_factory=LeavingLoop) as runner:
        runner.run(work())


def test_a_runner_ends_after_what_was_begun_though_nobody_waits_for_it() -> None:
    may_end, ended = threading.Event(), list[bool]()

    async def work() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(lambda: ended.append(may_end.wait(10))), 0.01)
        asyncio.get_running_loop().call_later(0.01, may_end.set)
        may_end.set()

    with asyncio.Runner(loop_factory=LeavingLoop) as runner:
        runner.run(work())
    assert ended == [True]


def test_the_end_of_the_process_waits_for_nobody() -> None:
    program = (
        "import asyncio, threading, time\n"
        "from streamqa.loops import LeavingLoop\n"
        "loop = LeavingLoop()\n"
        "threading.Thread(target=loop.run_forever, daemon=True).start()\n"
        "asyncio.run_coroutine_threadsafe(asyncio.to_thread(time.sleep, 60), loop)\n"
        "time.sleep(0.2)\n"
    )
    began_s = time.monotonic()
    assert subprocess.run([sys.executable, "-c", program], timeout=50).returncode == 0
    assert time.monotonic() - began_s < 30


def test_what_ends_after_its_loop_is_nobodys() -> None:
    loop, may_end = LeavingLoop(), threading.Event()

    async def begin() -> None:
        loop.run_in_executor(None, may_end.wait, 10)

    loop.run_until_complete(begin())
    loop.close()
    may_end.set()
