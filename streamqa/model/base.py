"""`VisionModel`, the one verb behind which every model stands, and the table of backends."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from streamqa.errors import ConfigError
from streamqa.types import Generation, ModelInfo, Request


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

        A prompt that cannot be answered gives a generation with `finish="error"`; the others are answered.

        Raises:
            ModelError: nothing of the batch could be answered (device lost, out of memory).
        """
        ...

    def close(self) -> None:
        """Free what the model holds; it is not used afterwards."""
        ...


# name -> "module:function"; the function takes (spec: str, directory: Path | None) and returns a VisionModel.
BACKENDS: dict[str, str] = {
    "tiny": "streamqa.model.tiny.model:load",
    "moondream2": "streamqa.model.moondream.model:load",
}


def open_model(spec: str, directory: Path | None = None) -> VisionModel:
    """Load the model that `spec` names (`name` or `name:rest`), from `directory` where one is given.

    Raises:
        ConfigError: no such backend.
        ModelError: its weights are missing, damaged or of another model.
    """
    module, _, function = find_backend(spec).partition(":")
    load: Any = getattr(importlib.import_module(module), function)
    model: VisionModel = load(spec, directory)
    return model


def find_backend(spec: str) -> str:
    """The `module:function` that loads the model that `spec` names; imports nothing.

    Raises:
        ConfigError: no such backend.
    """
    name = spec.partition(":")[0]
    if name not in BACKENDS:
        raise ConfigError(f"model {spec!r}: no such model; there are {', '.join(sorted(BACKENDS))}")
    return BACKENDS[name]
