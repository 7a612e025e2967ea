"""Models for tests of child processes: loaded there by `module:function`, without torch, so that they start fast."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from streamqa.errors import ConfigError, ModelError
from streamqa.metrics import Metrics
from streamqa.model.base import ModelOptions
from streamqa.model.health import Health
from streamqa.model.restarts import Limits
from streamqa.records import Fault
from streamqa.testing import ScriptedModel
from streamqa.types import Generation, ModelInfo, Request

HERE = "tests.model.backends"
QUICK = Limits(first_answer_s=20, least_answer_s=20, first_wait_s=0.01, longest_wait_s=0.05, patience_s=20)
# What the red value of a picture's first pixel makes the model do.
KILL, HANG, RAISE, GARBAGE, ABORT = 201, 202, 203, 204, 205


def watched() -> tuple[Health, list[Fault]]:
    health, faults = Health(Metrics()), list[Fault]()
    health.attach(faults.append)
    return health, faults


def _script(image: Any, prompt: Any) -> str:
    return (
        "nothing"
        if image is None
        else f"{image[0, 0, 0]} {image.shape[1]}x{image.shape[0]} {int(image.sum())}"
    )


class Obeying:
    """Says what it saw, unless a picture orders otherwise."""

    def __init__(self, options: ModelOptions, in_flight: int = 1, delay_s: float = 0.0) -> None:
        self._scripted = ScriptedModel(_script, delay_s)
        self._in_flight = in_flight
        self._device = options.device or "cpu"

    @property
    def info(self) -> ModelInfo:
        return replace(self._scripted.info, device=self._device, in_flight=self._in_flight)

    def answer(self, requests: Sequence[Request]) -> list[list[Generation]]:
        for request in requests:
            if request.image is not None:
                _obey(int(request.image[0, 0, 0]))
        return self._scripted.answer(requests)

    def close(self) -> None:
        """Nothing is held."""


def _obey(order: int) -> None:
    if order == KILL:
        os.kill(os.getpid(), signal.SIGKILL)
    elif order == ABORT:
        os.write(2, b"CUDA error: an illegal memory access was encountered\n")
        os.abort()
    elif order == HANG:
        time.sleep(3600)
    elif order == RAISE:
        raise ValueError("a bad\npicture")
    elif order == GARBAGE:
        os.write(int(sys.argv[1]), b"this is no message at all")
        time.sleep(3600)


def load(spec: str, directory: Path | None, options: ModelOptions) -> Obeying:
    print("this goes to stderr, as all that a model prints")
    return Obeying(options)


def load_slow(spec: str, directory: Path | None, options: ModelOptions) -> Obeying:
    """Takes 20 ms for a batch, and two batches at once."""
    return Obeying(options, in_flight=2, delay_s=0.02)


def load_missing(spec: str, directory: Path | None, options: ModelOptions) -> Obeying:
    raise ModelError(f"no weights in {directory}; put some there")


def load_wrong(spec: str, directory: Path | None, options: ModelOptions) -> Obeying:
    raise ConfigError("that cannot be")


def load_dying(spec: str, directory: Path | None, options: ModelOptions) -> Obeying:
    os.write(2, b"MemoryError: too large\n")
    os._exit(7)


def load_never(spec: str, directory: Path | None, options: ModelOptions) -> Obeying:
    threading.Event().wait(3600)
    raise AssertionError


def load_once(spec: str, directory: Path | None, options: ModelOptions) -> Obeying:
    """Only while `directory` holds a file named weights."""
    assert directory is not None
    if not (directory / "weights").exists():
        raise ModelError("the weights are gone")
    return Obeying(options)


class Echo(Obeying):
    """Says what a request holds beside its picture."""

    def answer(self, requests: Sequence[Request]) -> list[list[Generation]]:
        said = [
            f"{r.detail} {r.check_only} {'blind' if r.image is None else r.image.shape}" for r in requests
        ]
        return [
            [Generation(text, 1, "eos") for _ in r.prompts] for text, r in zip(said, requests, strict=True)
        ]


def load_echo(spec: str, directory: Path | None, options: ModelOptions) -> Echo:
    return Echo(options)
