"""`VisionModel`, the one verb behind which every model stands, and the table of backends."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from streamqa.errors import ConfigError, ModelError, StreamQAError
from streamqa.types import DEVICE_ADVICE, DEVICE_PATTERN, Generation, ModelInfo, Precision, Request


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """How to load a model, beside which one."""

    device: str = ""  # cpu, cuda, cuda:1, mps; "": the model's own choice
    precision: Precision = "exact"  # all but "exact" is approximate

    def __post_init__(self) -> None:
        if self.device and not re.match(DEVICE_PATTERN, self.device):
            raise ConfigError(f"device {self.device!r}: {DEVICE_ADVICE}")


AS_IT_LIKES = ModelOptions()


class VisionModel(Protocol):
    """Answers prompts about pictures.

    Encoding once, packing, and batching across pictures are the model's business, so a child process or an
    HTTP server is just another `VisionModel`.
    """

    @property
    def info(self) -> ModelInfo:
        """What answers, on which device, and what it can do."""
        ...

    def answer(self, requests: Sequence[Request]) -> list[list[Generation]]:
        """One generation for each prompt of each request, in order.

        A prompt that cannot be answered gives a generation with `finish="error"`; the others are answered. The
        images may be overwritten once the call has returned: a model that keeps one keeps a copy.

        Raises:
            ModelError: nothing of the batch could be answered (device lost, out of memory).
        """
        ...

    def close(self) -> None:
        """Free what the model holds; it is not used afterwards."""
        ...


# name -> "module:function"; the function takes (spec: str, directory: Path | None, options: ModelOptions) and returns
# a VisionModel.
BACKENDS: dict[str, str] = {
    "tiny": "streamqa.model.tiny.model:load",
    "moondream2": "streamqa.model.moondream.model:load",
}


def open_model(spec: str, directory: Path | None = None, options: ModelOptions = AS_IT_LIKES) -> VisionModel:
    """Load the model that `spec` names (`name` or `name:rest`), from `directory` where one is given.

    Raises:
        ConfigError: no such backend.
        ModelError: its weights are missing, damaged or of another model, or the device is not there.
    """
    return load_backend(find_backend(spec), spec, directory, options)


def load_backend(target: str, spec: str, directory: Path | None, options: ModelOptions) -> VisionModel:
    """As `open_model`, by the `module:function` that `find_backend` gives.

    Raises:
        ConfigError, ModelError: as `open_model`.
    """
    module, _, function = target.partition(":")
    try:
        load: Any = getattr(importlib.import_module(module), function)
        model: VisionModel = load(spec, directory, options)
    except StreamQAError:
        raise
    # Whatever a backend's libraries raise (no such device, a missing library), the operator gets it in one line.
    except Exception as error:
        place = f" on {options.device}" if options.device else ""
        raise ModelError(f"model {spec!r} cannot be loaded{place}: {in_one_line(error)}") from error
    return model


def in_one_line(error: BaseException) -> str:
    """An exception's kind and text, at most 300 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def find_backend(spec: str) -> str:
    """The `module:function` that loads the model that `spec` names; imports nothing.

    Raises:
        ConfigError: no such backend.
    """
    name = spec.partition(":")[0]
    if name not in BACKENDS:
        raise ConfigError(f"model {spec!r}: no such model; there are {', '.join(sorted(BACKENDS))}")
    return BACKENDS[name]
