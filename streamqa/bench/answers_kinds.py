"""`streamqa bench answers --part kinds`: how often the embedded model's closed answers are true, and how sure it is.

Scenes of seeds that training never saw go through H.264 and the real line: static ones, each asked about at the last
of the frames for which it stands, and moving ones every 500 ms. Where nobody could tell what is true, nothing counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamqa.bench.answers_line import records
from streamqa.bench.answers_stats import Case, summary
from streamqa.bench.figures import Figure, Target
from streamqa.capture.encode import write_video
from streamqa.evaluate.calibration import brier
from streamqa.evaluate.material import CRF, EVERY_NS, HOLD, X264, scenes
from streamqa.model.base import VisionModel
from streamqa.scenes import draw
from streamqa.scenes.script import GateScene
from streamqa.scenes.truth import Facts, facts
from streamqa.scenes.world import COLOURS, Scene
from streamqa.types import NS_PER_S, Kind, Question

if TYPE_CHECKING:
    from streamqa.types import Image

_FPS = 15
_SEED = 61_000_000  # training's lie below 1,000,000; no other measurement here has these
_CLIP_START_S = 8.0  # of each minute: before it, few things have come
_ASKED: tuple[tuple[str, str, Kind], ...] = (
    ("person", "Is there a person?", "yes_no"),
    ("car", "Is there a car?", "yes_no"),
    ("dog", "Is there a dog?", "yes_no"),
    ("fire", "Is something burning?", "yes_no"),
    ("light", "Is the light on?", "yes_no"),
    ("gate_open", "Is the gate open?", "yes_no"),
    ("night", "Is it night?", "yes_no"),
    ("at_gate", "Is a person at the gate?", "yes_no"),
    ("fallen", "Has someone fallen?", "yes_no"),
    ("car_colour", "What colour is the car?", "choice"),
    ("shirt_colour", "What colour is the shirt?", "choice"),
    ("people", "How many people are there?", "number"),
    ("cars", "How many cars are there?", "number"),
)
KINDS: Mapping[str, Kind] = {name: kind for name, _, kind in _ASKED}
GROUPS: Mapping[str, tuple[str, Target]] = {
    "yes_no": ("yes or no", Target(">=", 98.0)),
    "choice": ("choice of colour", Target(">=", 96.0)),
    "number": ("number up to 4", Target(">=", 95.0)),
}
_ECE = Target("<=", 0.03)


def questions(every_ns: int) -> tuple[Question, ...]:
    """Everything that is asked, of every frame that is due."""
    return tuple(
        Question(
            id=name,
            ask=ask,
            kind=kind,
            every_ns=every_ns,
            choices=tuple(COLOURS) if kind == "choice" else (),
            max=4,
        )
        for name, ask, kind in _ASKED
    )


def truth(known: Facts) -> dict[str, bool | int | str | None]:
    """By question; None where it cannot be told, or where the question makes no sense (the colour of no car)."""
    return {
        **{name: known.present[name] for name in ("person", "car", "dog", "fire")},
        "light": known.light,
        "gate_open": None if known.gate is None else known.gate == "open",
        "night": None if known.daytime is None else known.daytime == "night",
        "at_gate": known.at_gate,
        "fallen": known.fallen,
        "car_colour": _one_colour(known.colours["car"]),
        "shirt_colour": _one_colour(known.colours["person"]),
        "people": known.counts["person"],
        "cars": known.counts["car"],
    }


def _one_colour(present: tuple[str, ...] | None) -> str | None:
    return present[0] if present and len(set(present)) == 1 else None


def measure(model: VisionModel, static: int, clips: int, clip_s: float, folder: Path) -> list[Case]:
    """Ask about `static` scenes and about `clips` moving ones of `clip_s` seconds; files go into `folder`.

    Raises:
        StreamQAError: the line failed.
    """
    cases = list(_static(model, scenes(_SEED, static), folder / "static.mp4"))
    for number in range(clips):
        cases += _moving(model, GateScene(_SEED + number), clip_s, folder / f"moving-{number}.mp4")
    return cases


def _static(model: VisionModel, shown: Sequence[Scene], clip: Path) -> Iterator[Case]:
    """One frame of the first scene, `HOLD` of each other one, so that a tick falls on the last of each."""
    every_ns = HOLD * NS_PER_S // _FPS

    def pictures() -> Iterator[Image]:
        for number, scene in enumerate(shown):
            yield from [np.asarray(draw.picture(scene))] * (HOLD if number else 1)

    write_video(clip, pictures(), _FPS, crf=CRF, options=X264)
    for answer in _answers(model, questions(every_ns), clip):
        number = round(answer["t_s"] * NS_PER_S / every_ns)
        yield from case(answer, truth(facts(shown[number])), f"static {number}")


def _moving(model: VisionModel, scene: GateScene, seconds: float, clip: Path) -> Iterator[Case]:
    count = round(seconds * _FPS)
    images = (scene.image(_CLIP_START_S + n / _FPS) for n in range(count))
    write_video(clip, images, _FPS, crf=CRF, options=X264)
    for answer in _answers(model, questions(EVERY_NS), clip):
        t_s = round(answer["t_s"] * _FPS) / _FPS
        yield from case(answer, truth(facts(scene.scene(_CLIP_START_S + t_s))), f"moving {scene.seed}")


def _answers(model: VisionModel, asked: Sequence[Question], clip: Path) -> Iterable[dict[str, Any]]:
    return (record for record in records(model, asked, clip) if record["type"] == "answer")


def case(
    answer: Mapping[str, Any], true: Mapping[str, bool | int | str | None], scene: str
) -> Iterator[Case]:
    """An answer's reading beside the truth; nothing where that is not known.

    Args:
        answer: the payload of an answer.
        true: by question.
        scene: what it was asked about.
    """
    question, reading = answer["question"], answer["reading"]
    wanted = true[question]
    if wanted is None:
        return
    is_sure = reading["state"] == "ok"
    scores: Mapping[str, float] = reading["scores"] or {}
    # True == 1 in Python, but "yes" is no answer to "how many"
    is_right = type(reading["value"]) is type(wanted) and reading["value"] == wanted
    score = brier(scores.items(), wanted) if is_sure else None
    yield Case(question, scene, is_right, reading["confidence"] if is_sure else None, score)


def rows(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """A row for each kind, for each kind on static and on moving scenes, and for each question; JSON-ready."""
    groups: dict[str, list[Case]] = defaultdict(list)
    for name, (what, _) in GROUPS.items():
        of_kind = [one for one in cases if KINDS[one.question] == name]
        groups[what] = of_kind
        for where in ("static", "moving"):
            groups[f"{what}, {where} scenes"] = [one for one in of_kind if one.scene.startswith(where)]
    for name, kind in KINDS.items():
        groups[f"{kind}: {name}"] = [one for one in cases if one.question == name]
    return [{"what": what, **summary(these)} for what, these in groups.items() if these]


def figures(cases: Sequence[Case]) -> list[Figure]:
    """What is wanted of each kind, and of how sure the answers are."""
    found = []
    for name, (what, target) in GROUPS.items():
        of_kind = [one for one in cases if KINDS[one.question] == name]
        if of_kind:
            summed = summary(of_kind)
            found.append(Figure(f"{what}: right", "%", (100 * summed["right"],), target))
            found.append(Figure(f"{what}: expected calibration error", "", (summed["ece"],), _ECE))
            found.append(Figure(f"{what}: Brier score", "", (summed["brier"],)))
    whole = summary(cases)
    found.append(Figure("closed kinds: expected calibration error", "", (whole["ece"],), _ECE))
    return found


def markdown(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows as `rows` gives them, as a table for people."""
    lines = [
        "| Closed answers | n | scenes | right % | 95 % interval | off the list | ECE | Brier |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in table:
        unsure = ["–" if row[key] is None else f"{row[key]:.4f}" for key in ("ece", "brier")]
        lines.append(
            f"| {row['what']} | {row['n']} | {row['scenes']} | {100 * row['right']:.2f}"
            f" | {100 * row['low']:.2f}–{100 * row['high']:.2f} | {row['off_list']} | {' | '.join(unsure)} |"
        )
    return lines
