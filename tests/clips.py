"""Small clips whose truth a script can read off the pixels: bright frames mean yes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamqa.capture.encode import write_video
from streamqa.testing import ScriptedModel
from streamqa.types import Prompt, Question

if TYPE_CHECKING:
    from streamqa.types import Image

PERSON = Question(id="person", ask="Is there a person?", kind="yes_no", every_ns=200_000_000)


def bright_when(path: Path, is_bright: Callable[[float], bool], seconds: float = 2.0, fps: int = 10) -> Path:
    """A clip of `seconds` s that is white while `is_bright(t_s)` and black otherwise."""
    levels = (230 if is_bright(n / fps) else 20 for n in range(round(seconds * fps)))
    write_video(path, (np.full((48, 64, 3), level, np.uint8) for level in levels), fps)
    return path


def brightness(image: Image | None, prompt: Prompt) -> bool:
    """The script: yes on a bright picture."""
    assert image is not None
    return bool(image.mean() > 128)


def bright_model(delay_s: float = 0.0) -> ScriptedModel:
    """A model that answers by brightness."""
    return ScriptedModel(brightness, delay_s)
