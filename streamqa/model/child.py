"""The child process that runs a model for its parent: `python -m streamqa.model.child DESCRIPTOR PARENT`.

It never outlives its parent, leaves Ctrl-C and SIGTERM to it, and has no stdout of its own: `model/process.py` sends
that where stderr goes.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import queue
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from streamqa.errors import ConfigError, ModelError, StreamQAError
from streamqa.model.base import VisionModel, in_one_line, load_backend
from streamqa.model.link import Answered, Ask, BrokenLink, Failed, Link, Load, Loaded, Lost, Refused, pick_up

_PR_SET_PDEATHSIG = 1
_ASKS = 64  # waiting; the parent sends no more than `ModelInfo.in_flight` at once
_PREFERRED_VICTIM = (
    "500"  # of 1000, for the kernel when memory runs out: this process comes back, the parent not
)


def main() -> None:
    """Be the model until the parent ends the link, or is gone."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent decides when this ends
    _die_with(parent)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_PREFERRED_VICTIM)
    _Child(Link(socket.socket(fileno=descriptor))).run()


def _die_with(parent: int) -> None:
    """Be killed when the thread that started us ends, also where it could not end the link (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before we could ask for that
        os._exit(0)


class _Child:
    """Reads asks in one thread, answers them in as many as the model takes calls at once."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._asks: queue.Queue[Ask] = queue.Queue(_ASKS)
        self._slabs: dict[int, mmap.mmap] = {}

    def run(self) -> None:
        """Load what the first message names, then answer for ever; the end of the link ends the process."""
        message = self._next()
        assert isinstance(message, Load)
        threading.Thread(target=self._read, name="link", daemon=True).start()
        try:
            model = load_backend(message.target, message.spec, message.directory, message.options)
        except StreamQAError as error:
            self._link.send(Refused(str(error), isinstance(error, ConfigError)))
            return
        self._link.send(Loaded(model.info, _visible_devices() if "cuda" in model.info.device else 0))
        for number in range(1, model.info.in_flight):
            threading.Thread(target=self._answer, args=(model,), name=f"answer {number}", daemon=True).start()
        self._answer(model)

    def _read(self) -> None:
        while True:
            message = self._next()
            assert isinstance(message, Ask)
            self._asks.put(message)

    def _next(self) -> object:
        """The parent's next message, its shared memory mapped."""
        try:
            self._link.readable()
            message, descriptors = self._link.receive()
        except (EOFError, BrokenLink):
            os._exit(0)  # at once: what the other threads compute has no reader any more
        if isinstance(message, Ask):
            for number in message.forget:
                del self._slabs[number]
            for descriptor in descriptors:
                self._slabs[message.slab] = mmap.mmap(descriptor, message.slab_bytes)
                os.close(descriptor)
        return message

    def _answer(self, model: VisionModel) -> None:
        while True:
            ask = self._asks.get()
            reply = self._reply(model, ask)
            with suppress(BrokenPipeError):  # the parent is gone: the reading thread ends the process
                self._link.send(reply)
            if isinstance(reply, Lost):
                return

    def _reply(self, model: VisionModel, ask: Ask) -> Answered | Failed | Lost:
        try:
            requests = pick_up(ask.requests, ask.places, self._slabs[ask.slab])
            return Answered(ask.id, model.answer(requests))
        # This process's supervisor: whatever the model raises is the parent's to report.
        except Exception as error:
            fault = device_fault()
            if fault:
                return Lost(fault)
            return Failed(ask.id, str(error) if isinstance(error, ModelError) else in_one_line(error))


def device_fault() -> str:
    """Why the CUDA device is lost for this process; "" where it is well, or none is used.

    After an illegal access every later call fails too, until the process ends; to be out of memory is no such fault.
    """
    torch = _loaded_torch()
    if torch is None or not torch.cuda.is_initialized():
        return ""
    try:
        torch.cuda.synchronize()
    except RuntimeError as error:
        return in_one_line(error)
    return ""


def _visible_devices() -> int:
    torch = _loaded_torch()
    return int(torch.cuda.device_count()) if torch is not None else 0


def _loaded_torch() -> Any:
    """torch where the model uses it; it is not imported for a question about it."""
    return sys.modules.get("torch")


if __name__ == "__main__":
    main()
