"""The embedded model's measured table: `python -m streamqa.evaluate.embedded [--weights DIR] [--json OUT] [--card]`.

Everything goes the product's way: pictures through H.264 and capture, questions through `VisionModel.answer` and the
answer kinds; the clips also through schedule, engine and log. About 6 minutes on two cores for the shipped table.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamqa.answers import prompt_for, read_answer
from streamqa.evaluate import card, material, table
from streamqa.model.base import VisionModel, open_model
from streamqa.model.moondream.model import TASKS as ALL_TASKS
from streamqa.model.moondream.model import Moondream
from streamqa.model.tiny import pointing
from streamqa.model.tiny.data import TEST_SEED
from streamqa.scenes.world import Scene
from streamqa.types import Kind, Question, Request, Task

if TYPE_CHECKING:
    from streamqa.types import Image

CLIPS, SCENES = 6, 400  # of the shipped table
_PLACED = ("person", "car")
_PLACES: tuple[tuple[Task, Kind], ...] = (("point", "points"), ("detect", "boxes"))


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured. Clips and static scenes are numbered from `first_seed`."""

    first_seed: int = TEST_SEED
    clips: int = CLIPS
    scenes: int = SCENES
    clip_s: float = 60.0
    fps: int = 15


def measure(model: VisionModel, extent: Extent, folder: Path) -> dict[str, Any]:
    """Measure a model; clips are written into `folder`. Gives plain JSON, the input of `card.markdown`."""
    measured: dict[str, Any] = {
        "model": model.info.label,
        "first_seed": extent.first_seed,
        "clip_count": extent.clips,
        "clip_s": extent.clip_s,
        "scene_count": extent.scenes,
    }
    cases = [case for n in range(extent.clips) for case in _clip(model, extent, n, folder)]
    measured["clips"] = _plain(cases)
    shown = material.scenes(extent.first_seed, extent.scenes)
    images = material.pictures(shown, folder / "scenes.mp4")
    trained = material.probes(shown, extent.first_seed, "trained")
    heldout = material.probes(shown, extent.first_seed, "heldout")
    captioned = [a + b for a, b in zip(trained, material.captions(shown), strict=True)]
    for name, asked in (
        ("static", captioned),
        ("static_scored", material.scored(trained)),
        ("heldout", heldout),
        ("heldout_scored", material.scored(heldout)),
    ):
        _progress(name)
        measured[name] = _plain(material.ask(model, images, asked))
    _progress("shuffled")
    measured["shuffled"] = _plain(material.ask(model, [*images[1:], images[0]], trained))
    _progress("region")
    measured["region"] = table.shares_as_json(table.tally(places(unbound(model), images, shown)))
    return measured


def unbound(model: VisionModel) -> VisionModel:
    """The same weights, claiming every task: whether a task is worth claiming is found by measuring it."""
    if isinstance(model, Moondream):
        return Moondream(model.network, model.tokenizer, replace(model.info, tasks=ALL_TASKS))
    return model


def places(model: VisionModel, images: Sequence[Image], shown: Sequence[Scene]) -> Iterator[tuple[str, bool]]:
    """Points and boxes of people and cars against the scenes' own; nothing for tasks the model does not claim."""
    for image, scene in zip(images, shown, strict=True):
        for kind, wanted in pointing.boxes(scene).items():
            if kind not in _PLACED or wanted is None:
                continue
            questions = [
                Question(id=kind, ask=kind, kind=asked, every_ns=material.EVERY_NS)
                for task, asked in _PLACES
                if task in model.info.tasks
            ]
            prompts = tuple(prompt_for(question) for question in questions)
            for question, generation in zip(
                questions, model.answer([Request(image, prompts)])[0], strict=True
            ):
                said = read_answer(question, generation).value
                yield from table.places(kind, wanted, said, question.kind == "boxes")


def _clip(model: VisionModel, extent: Extent, number: int, folder: Path) -> Iterator[table.Case]:
    _progress(f"clip {number + 1} of {extent.clips}")
    clip = folder / f"clip-{number}.mp4"
    return material.clip_cases(model, extent.first_seed + number, clip, extent.clip_s, extent.fps)


def _plain(cases: Sequence[table.Case]) -> dict[str, Any]:
    return {name: found.as_json() for name, found in table.scores(cases).items()}


def _progress(what: str) -> None:
    print(f"measuring {what}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--weights", type=Path, help="a folder as training exports it; absent: the shipped one"
    )
    parser.add_argument(
        "--seed", type=int, default=TEST_SEED, help="of the first clip and of the first scene"
    )
    parser.add_argument("--clips", type=int, default=CLIPS, help="moving clips of 60 s")
    parser.add_argument("--scenes", type=int, default=SCENES, help="static scenes")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    parser.add_argument("--card", action="store_true", help="print the model card's tables, not the numbers")
    options = parser.parse_args(arguments)
    if options.scenes < 2:
        parser.error("--scenes: at least 2, since the control asks about another scene's picture")
    extent = Extent(options.seed, options.clips, options.scenes)
    with closing(open_model("tiny", options.weights)) as model, tempfile.TemporaryDirectory() as folder:
        measured = measure(model, extent, Path(folder))
    text = json.dumps(measured, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(card.markdown(measured) if options.card else text)


if __name__ == "__main__":
    main()
