"""An RTSP server as a process, from the side of whoever started it: by default `streamqa.bench.camera`."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

CAMERA = (sys.executable, "-m", "streamqa.bench.camera")
_START_S = 30.0
_ANSWER_S = 10.0


class CameraProcess:
    """A camera process, and its port, which stays the same when it is started again."""

    scheme = "rtsp"

    def __init__(self, clip: str | Path, *options: str, program: Sequence[str] = CAMERA) -> None:
        """`clip` and `options` are the command line of `program`; nothing starts before `start`."""
        self._command = [*program, str(clip), *options]
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.port = 0
        self.process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self, *options: str) -> None:
        """Start it and wait until it listens.

        Raises:
            RuntimeError: it ended instead, or said nothing for 30 s; its own words are on the standard error.
        """
        self.kill()
        command = [*self._command, "--port", str(self.port), *options]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self._answers = queue.SimpleQueue()
        self._reader = threading.Thread(
            target=_read, args=(self.process.stdout, self._answers), name="camera-answers", daemon=True
        )
        self._reader.start()
        self.port = int(self._answer(_START_S).split()[1])

    def url(self, user: str = "", path: str = "/cam") -> str:
        """Its URL; `user` is "name:password"."""
        return f"{self.scheme}://{user}{'@' * bool(user)}127.0.0.1:{self.port}{path}"

    def command(self, text: str) -> str:
        """Give it a command, and wait until it has done it; its answer.

        Raises:
            ValueError: it knows no such command.
            RuntimeError: it does not answer.
        """
        assert self.process is not None, "not started"
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(text + "\n")
            self.process.stdin.flush()
        except OSError:
            raise RuntimeError("the camera has ended; its standard error says why") from None
        answer = self._answer(_ANSWER_S)
        if answer.startswith("error"):
            raise ValueError(answer)
        return answer

    def stats(self) -> dict[str, float]:
        """Its counts, see `streamqa.bench.camera.Stats`."""
        found: dict[str, float] = json.loads(self.command("stats"))
        return found

    def signal(self, number: int) -> None:
        """Send it a signal, e.g. SIGSTOP."""
        assert self.process is not None, "not started"
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as when its power fails; nothing happens if it does not run."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=10)
            if self.process.stdin is not None:
                with suppress(OSError):  # a command was on its way
                    self.process.stdin.close()
            if self._reader is not None:
                self._reader.join(10)
            self.process = None

    def _answer(self, timeout_s: float) -> str:
        try:
            answer = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            raise RuntimeError(f"the camera did not answer for {timeout_s:g} s") from None
        if not answer:
            raise RuntimeError("the camera ended; its standard error says why")
        return answer


def _read(pipe: IO[str], answers: queue.SimpleQueue[str]) -> None:
    """Every line of the process, and an empty one at its end."""
    with pipe:
        for line in pipe:
            answers.put(line.strip())
    answers.put("")
