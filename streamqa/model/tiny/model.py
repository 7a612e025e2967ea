"""The embedded model as a backend: moondream2's code over small weights of our own, shipped in the package."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from streamqa.errors import ConfigError, ModelError
from streamqa.model.base import AS_IT_LIKES, ModelOptions
from streamqa.model.moondream.model import Moondream
from streamqa.types import ModelInfo, Task

WEIGHTS = Path(__file__).parent / "weights"

# Points and boxes are trained, too, but miss half of the people; reasoning is not: see MODEL_CARD.md.
TASKS: frozenset[Task] = frozenset({"query", "caption"})

NOTE = (
    "a small embedded model that understands only the rendered scenes of `streamqa scene`, not real pictures"
)


def load(spec: str, directory: Path | None = None, options: ModelOptions = AS_IT_LIKES) -> Moondream:
    """Load the shipped weights, or those of a training run in `directory`.

    fp32, and on the CPU unless another device is asked for: there, at this size, fp32 is faster than bf16, and the
    measured table was made with it.

    Raises:
        ConfigError: a precision that it has not.
        ModelError: weights are missing or are not those of the measured table.
    """
    if options.precision != "exact":
        raise ConfigError("model tiny: precision is for moondream2; leave it out")
    folder = directory or WEIGHTS
    measured = _measured(folder)
    weights = folder / "model.safetensors"
    found = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else "missing"
    expected: str = measured["sha256"]["model.safetensors"]
    if found != expected:
        raise ModelError(
            f"{weights} is {found[:12]}, the measured table beside it speaks of {expected[:12]}; "
            "install streamqa again"
        )
    # For the whole process, on purpose: at this size a second thread gains nothing (measured on two cores: 18.8 and
    # 18.6 × real time) and takes the core that capture needs; on busy cores it was 20 times slower.
    torch.set_num_threads(1)
    device = options.device or "cpu"
    info = ModelInfo("tiny", found[:8], device, "float32", TASKS, NOTE)
    return Moondream.from_pretrained(folder, device=device, dtype=torch.float32, info=info)


def _measured(folder: Path) -> dict[str, Any]:
    try:
        measured: dict[str, Any] = json.loads((folder / "measured.json").read_text())
    except OSError:
        raise ModelError(f"{folder} holds no measured.json; it is not an embedded model's folder") from None
    return measured
