"""What a process cost, from its start to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from streamqa.errors import StreamQAError


class Done(NamedTuple):
    """A process that ended well."""

    cpu_s: float  # user and system time of it and of the children that it waited for
    wall_s: float
    output: str  # its standard output


def run_counted(command: Sequence[str], timeout_s: float = 600.0) -> Done:
    """Run `command` to its end.

    Raises:
        StreamQAError: it cannot be started, failed, or took longer than `timeout_s`.
    """
    started_s = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        except OSError as error:
            raise StreamQAError(f"bench: {command[0]} cannot be started: {error.strerror}") from None
        # The kernel's account of one child is given to whoever waits for it by wait4; Popen would throw it away.
        watch = threading.Timer(timeout_s, os.kill, (process.pid, signal.SIGKILL))
        watch.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            watch.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            said = err.read()[-300:].decode(errors="replace").strip()
            raise StreamQAError(f"bench: {command[0]} ended with {process.returncode}: {said}")
        wall_s = time.monotonic() - started_s
        return Done(usage.ru_utime + usage.ru_stime, wall_s, out.read().decode(errors="replace"))
