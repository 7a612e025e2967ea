import os
import signal
import subprocess
import sys
import threading

import pytest

from streamqa.cli.signals import Interrupted, interruptible, stop_on_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_what_cannot_stop_orderly(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted), interruptible():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


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
