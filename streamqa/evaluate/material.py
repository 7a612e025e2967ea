"""What the embedded model is measured on, and how it is asked: clips and scenes through H.264, capture and model."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from streamqa.answers import prompt_for, read_answer
from streamqa.capture.encode import write_video
from streamqa.capture.source import SourceSpec, make_source
from streamqa.errors import SourceEnded
from streamqa.evaluate.table import NO, YES, Case
from streamqa.metrics import Metrics
from streamqa.model.base import VisionModel
from streamqa.model.tiny import grammar
from streamqa.pipeline import Parts
from streamqa.recorded import answer_all
from streamqa.scenes import draw, sample
from streamqa.scenes.script import GateScene
from streamqa.scenes.truth import facts
from streamqa.scenes.world import Scene
from streamqa.sinks.base import Logged
from streamqa.sinks.log import AnswerLog
from streamqa.types import Kind, Question, Request, Value

if TYPE_CHECKING:
    from streamqa.types import Image

EVERY_NS = 500_000_000
HOLD = 3  # frames for which each static scene stands; the last is asked about, which no keyframe made crisp
# A little worse than `streamqa scene` writes, as cameras are: about 2 kB a frame.
CRF = 28
X264 = {"preset": "veryfast"}
_IMAGES_AT_ONCE = 4  # with some hundred questions each

_STANDING: tuple[tuple[str, str, Kind], ...] = (
    ("person", "Is there a person?", "yes_no"),
    ("people", "How many people are there?", "number"),
    ("car", "Is there a car?", "yes_no"),
    ("cars", "How many cars are there?", "number"),
    ("gate", "Is the gate open or closed?", "choice"),
    ("light", "Is the light on?", "yes_no"),
    ("daytime", "Is it day or night?", "choice"),
    ("fire", "Is something burning?", "yes_no"),
    ("at_gate", "Is a person at the gate?", "yes_no"),
    ("fallen", "Has someone fallen?", "yes_no"),
)
_CHOICES = {"gate": ("open", "closed"), "daytime": ("day", "night")}
STANDING = tuple(
    Question(id=name, ask=ask, kind=kind, every_ns=EVERY_NS, choices=_CHOICES.get(name, ()), max=4)
    for name, ask, kind in _STANDING
)
"""Every question that the scenes have truth for; `configs/demo.yaml` asks some of them in these words."""

Wording = Literal["trained", "heldout"]
Truths = Callable[[float], Mapping[str, bool | int | str | None]]


@dataclass(frozen=True, slots=True)
class Probe:
    """A question about one picture with its true answer."""

    question: Question
    truth: Value


class _Kept:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []

    def write(self, records: Sequence[Logged]) -> None:
        self.answers += [r.payload for r in records if r.payload["type"] == "answer"]

    def close(self) -> None:
        """Nothing is held."""


def clip_cases(
    model: VisionModel, seed: int, clip: Path, seconds: float = 60.0, fps: int = 15
) -> Iterator[Case]:
    """Render the moving scene of `seed` as `clip`, ask the standing questions of it, compare frame for frame.

    Raises:
        SourceError: the clip could not be read back.
    """
    scene = GateScene(seed)
    write_video(clip, (scene.image(n / fps) for n in range(round(seconds * fps))), fps, crf=CRF, options=X264)
    kept = _Kept()
    with closing(AnswerLog(":memory:")) as log:
        parts = Parts(STANDING, (SourceSpec("clip", str(clip)),), model, log, (kept,), Metrics())
        failures = answer_all(parts, threading.Event())
    for failure in failures.values():
        raise failure
    return compare(kept.answers, scene.truth, fps)


def compare(answers: Iterable[Mapping[str, Any]], truth: Truths, fps: int) -> Iterator[Case]:
    """Answers' readings beside the truth of their frames; frames of which nobody could tell are left out.

    Args:
        answers: payloads of answers to a clip whose frame n shows n / fps seconds.
        truth: by question id at a time in seconds.
        fps: frames per second.
    """
    for answer in answers:
        true = truth(round(answer["t_s"] * fps) / fps)[answer["question"]]
        if true is not None:
            yield Case(answer["question"], true, answer["reading"]["value"])


def scenes(first: int, count: int) -> list[Scene]:
    """Random static scenes number `first` and following; training's come from streams of other names."""
    return [sample.scene(random.Random(f"static {first + n}")) for n in range(count)]


def pictures(shown: Sequence[Scene], clip: Path) -> list[Image]:
    """Each scene's picture as capture reads it back from one H.264 clip in which it stood for some frames."""
    write_video(
        clip,
        (image for scene in shown for image in [np.asarray(draw.picture(scene))] * HOLD),
        fps=15,
        crf=CRF,
        options=X264,
    )
    found = [image for number, image in enumerate(_read(clip)) if number % HOLD == HOLD - 1]
    if len(found) != len(shown):
        raise ValueError(f"{len(shown)} scenes went into {clip}, {len(found)} came out")
    return found


def probes(shown: Sequence[Scene], first: int, wording: Wording, rounds: int = 2) -> list[list[Probe]]:
    """The grammar's questions of each scene: `rounds` of every type, as free text."""
    found = []
    for number, scene in enumerate(shown, start=first):
        rng = random.Random(f"questions {wording} {number}")
        asked = [
            q for _ in range(rounds) for q in grammar.questions_for(facts(scene), rng, wording == "heldout")
        ]
        found.append([Probe(_question(q.type, q.question, "text"), q.answer) for q in asked])
    return found


def scored(asked: Sequence[Sequence[Probe]]) -> list[list[Probe]]:
    """The yes/no questions among `asked`, as closed ones."""
    return [
        [
            Probe(_question(p.question.id, p.question.ask, "yes_no"), p.truth == YES)
            for p in of_picture
            if p.truth in (YES, NO)
        ]
        for of_picture in asked
    ]


def captions(shown: Sequence[Scene]) -> list[list[Probe]]:
    """Each scene's caption of normal length."""
    return [
        [Probe(_question("caption", "", "caption"), grammar.caption(facts(scene), "normal"))]
        for scene in shown
    ]


def ask(model: VisionModel, images: Sequence[Image], asked: Sequence[Sequence[Probe]]) -> list[Case]:
    """Put the questions of each picture to the model and read what it says."""
    cases = []
    for first in range(0, len(images), _IMAGES_AT_ONCE):
        part = slice(first, first + _IMAGES_AT_ONCE)
        requests = [
            Request(image, tuple(prompt_for(probe.question) for probe in of_picture))
            for image, of_picture in zip(images[part], asked[part], strict=True)
        ]
        answers = model.answer(requests)
        for of_picture, said in zip(asked[part], answers, strict=True):
            cases += [
                Case(probe.question.id, probe.truth, read_answer(probe.question, generation).value)
                for probe, generation in zip(of_picture, said, strict=True)
            ]
    return cases


def _question(name: str, text: str, kind: Kind) -> Question:
    return Question(id=name, ask=text, kind=kind, every_ns=EVERY_NS)


def _read(clip: Path) -> Iterator[Image]:
    source = make_source(SourceSpec("scenes", str(clip)))
    source.open()
    try:
        while True:
            if (picture := source.read()) is not None:
                yield picture.to_image()
    except SourceEnded:
        return
    finally:
        source.close()
