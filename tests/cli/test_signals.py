import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from streamqa.cli.signals import Interrupted, interruptible, stop_on_signal


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_what_cannot_stop_orderly_and_later_ones_do_not_disturb_the_end(
    number: signal.Signals,
) -> None:
    with pytest.raises(Interrupted), interruptible():
        os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)


def test_a_signal_on_the_way_out_leaves_the_exit_code() -> None:
    code = (
        "import os, signal, sys\n"
        "from streamqa.cli.signals import interruptible\n"
        "with interruptible():\n"
        "    pass\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.exit(130)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=20).returncode == 130


def test_the_first_signal_asks_to_stop() -> None:
    stop = threading.Event()
    with stop_on_signal(stop):
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(5)


def test_the_second_signal_ends_the_process_at_once() -> None:
    code = (
        "import os, signal, threading, time\n"
        "from streamqa.cli.signals import stop_on_signal\n"
        "with stop_on_signal(threading.Event()):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(30)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=20).returncode == 130
