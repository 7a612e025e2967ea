"""`streamqa bench answers --part window`: what a window of five frames gets wrong, beside a single frame.

The same readings, from the real line, are decided over by `engine.window` with `mean` and with `majority`. Three
materials:

- *lost bands*: a still scene of which every frame has lost a band somewhere and has sensor noise of another strength,
  drawn anew for each, so that what is wrong in one says nothing about the next;
- *heavy noise*: a still scene under noise so heavy that the model sees it wrongly by itself; drawn anew for each
  frame, too, but what goes wrong is mostly the same in all of them;
- *starved clips*: small moving scenes through H.264 at its worst. Frames are alike, and a window is late where
  something changes: "nothing changing" leaves out the windows in which it did.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pictures

from streamqa.bench.answers_kinds import KINDS, questions, truth
from streamqa.bench.answers_line import records
from streamqa.bench.answers_stats import share
from streamqa.bench.figures import Figure, Target
from streamqa.capture.encode import write_video
from streamqa.engine.window import Window
from streamqa.evaluate.material import EVERY_NS, X264, scenes
from streamqa.model.base import VisionModel
from streamqa.scenes import draw
from streamqa.scenes.script import GateScene
from streamqa.scenes.truth import facts
from streamqa.types import NS_PER_S, Decide, Kind, Question, Reading, Value

if TYPE_CHECKING:
    from streamqa.types import Image

FRAMES = 5
RULES: tuple[Decide, ...] = ("mean", "majority")
BANDS, HEAVY, CLIPS, STEADY = "lost bands", "heavy noise", "starved clips", "starved clips, nothing changing"
GROUPS: Mapping[str, tuple[Kind, ...]] = {"yes, no or a choice": ("yes_no", "choice"), "numbers": ("number",)}
_HALVED = Target("<=", 0.5)
_SEED = 62_000_000  # of the scenes; no other measurement here has these
_FPS, _CLIP_START_S = 15, 8.0
_STARVED_SIZE, _STARVED_CRF = (320, 180), 51  # a quarter of the pixels, and the worst that the codec can do
_BAND = 0.4  # of the picture's height, at most
_NOISE, _HEAVY_NOISE = 10.0, 120.0  # of 255: the mean of its strengths, and the same strength in all frames

Spoil = Callable[["Image", np.random.Generator], "Image"]
Truths = Mapping[str, bool | int | str | None]


@dataclass(frozen=True, slots=True)
class Asked:
    """One frame's reading of one question beside what is true of that frame."""

    t_ns: int
    question: str
    reading: Reading
    truth: bool | int | str | None  # None: nobody could tell


@dataclass(frozen=True, slots=True)
class Judged:
    """One window: which of its frames' readings are wrong, and whether it is, by each rule."""

    scene: str
    kind: Kind
    single: tuple[bool, ...]
    window: Mapping[Decide, bool]
    is_steady: bool  # what is true was the same throughout


def measure(model: VisionModel, still: int, clips: int, clip_s: float, folder: Path) -> list[dict[str, Any]]:
    """Rows, JSON-ready: of `still` scenes for each kind of noise and of `clips` moving ones; files go into `folder`.

    Raises:
        StreamQAError: the line failed.
    """
    bands = list(_still(model, still, with_lost_band, folder / "bands"))
    heavy = list(_still(model, still, with_heavy_noise, folder / "noise"))
    moving = [
        judged
        for number in range(clips)
        for judged in _moving(
            model, GateScene(_SEED + number, _STARVED_SIZE), clip_s, folder / f"starved-{number}.mp4"
        )
    ]
    steady = [judged for judged in moving if judged.is_steady]
    return [
        row(material, group, of_group)
        for material, judged in ((BANDS, bands), (HEAVY, heavy), (CLIPS, moving), (STEADY, steady))
        for group, kinds in GROUPS.items()
        if (of_group := [one for one in judged if one.kind in kinds])
    ]


def with_lost_band(image: Image, rng: np.random.Generator) -> Image:
    """A band of up to 0.4 of the height is grey, and there is sensor noise of a random strength."""
    height = image.shape[0]
    lost = int(height * rng.uniform(0, _BAND))
    top = int(rng.integers(0, height - lost + 1))
    spoilt = _noisy(image, rng, rng.exponential(_NOISE))
    spoilt[top : top + lost] = 128
    return spoilt


def with_heavy_noise(image: Image, rng: np.random.Generator) -> Image:
    """Sensor noise of one and the same strength, about half of what a picture's values span."""
    return _noisy(image, rng, _HEAVY_NOISE)


def _noisy(image: Image, rng: np.random.Generator, strength: float) -> Image:
    noise = rng.standard_normal(image.shape, np.float32) * strength
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _still(model: VisionModel, count: int, spoil: Spoil, folder: Path) -> Iterator[Judged]:
    """Each scene stands for one window, a second from frame to frame; every frame is a picture of its own."""
    folder.mkdir()
    rng = np.random.default_rng(_SEED)
    shown = scenes(_SEED, count)
    for number, scene in enumerate(shown):
        image = np.asarray(draw.picture(scene))
        for index in range(FRAMES):
            spoilt = Pictures.fromarray(spoil(image, rng))
            spoilt.save(folder / f"{number * FRAMES + index:06}.png", compress_level=1)
    truths = [truth(facts(scene)) for scene in shown]
    asked = list(_asked(model, NS_PER_S, folder, lambda t_ns: truths[t_ns // NS_PER_S // FRAMES]))
    by_scene: dict[int, list[Asked]] = defaultdict(list)
    for one in asked:
        by_scene[one.t_ns // NS_PER_S // FRAMES].append(one)
    for scene_number, of_scene in by_scene.items():
        yield from judge(of_scene, NS_PER_S, f"still {scene_number}")


def _moving(model: VisionModel, scene: GateScene, seconds: float, clip: Path) -> Iterator[Judged]:
    images = (scene.image(_CLIP_START_S + n / _FPS) for n in range(round(seconds * _FPS)))
    write_video(clip, images, _FPS, crf=_STARVED_CRF, options=X264)

    def true(t_ns: int) -> Truths:
        return truth(facts(scene.scene(_CLIP_START_S + round(t_ns * _FPS / NS_PER_S) / _FPS)))

    yield from judge(_asked(model, EVERY_NS, clip, true), EVERY_NS, f"moving {scene.seed}")


def _asked(
    model: VisionModel, every_ns: int, recording: Path, true: Callable[[int], Truths]
) -> Iterator[Asked]:
    for answer in records(model, questions(every_ns), recording):
        if answer["type"] == "answer":
            t_ns = round(answer["t_s"] * NS_PER_S)
            name = answer["question"]
            yield Asked(t_ns, name, reading_of(answer), true(t_ns)[name])


def reading_of(answer: Mapping[str, Any]) -> Reading:
    """The reading in the payload of an answer whose window is its own frame."""
    said = answer["reading"]
    return Reading(
        value=said["value"],
        confidence=said["confidence"],
        state=said["state"],
        reason=answer["reason"] or "",
        text=answer["text"],
        scores=tuple((said["scores"] or {}).items()),
        mass=answer["mass"],
    )


def judge(asked: Iterable[Asked], every_ns: int, scene: str) -> Iterator[Judged]:
    """Every whole window of each question of one stream, held against what is true at its end."""
    by_question: dict[str, list[Asked]] = defaultdict(list)
    for one in asked:
        by_question[one.question].append(one)
    of = {question.id: question for question in questions(every_ns)}
    for name, these in by_question.items():
        windows = {rule: Window(_with(of[name], rule)) for rule in RULES}
        held: deque[Asked] = deque(maxlen=FRAMES)
        for one in these:
            held.append(one)
            said = {rule: window.add(one.t_ns, one.reading).value for rule, window in windows.items()}
            if len(held) == FRAMES and one.truth is not None:
                yield Judged(
                    scene,
                    KINDS[name],
                    tuple(not _is(frame.reading.value, frame.truth) for frame in _frames(held)),
                    {rule: not _is(value, one.truth) for rule, value in said.items()},
                    len({frame.truth for frame in held}) == 1,
                )


def _with(question: Question, rule: Decide) -> Question:
    return replace(question, window_ns=FRAMES * question.every_ns, decide=rule)


def _frames(held: Sequence[Asked]) -> Sequence[Asked]:
    """Those of a window whose own readings stand for a single frame: all where nothing changes, else the newest."""
    return held if len({frame.truth for frame in held}) == 1 else [held[-1]]


def _is(value: Value, true: bool | int | str | None) -> bool:
    """True == 1 in Python, but "yes" is no answer to "how many"."""
    return type(value) is type(true) and value == true


def row(material: str, group: str, judged: Sequence[Judged]) -> dict[str, Any]:
    """What single frames and windows got wrong of one material and of kinds of one group, JSON-ready."""
    singles = [(one.scene, wrong) for one in judged for wrong in one.single]
    single = share(singles)
    found: dict[str, Any] = {
        "material": material,
        "group": group,
        "windows": len(judged),
        "scenes": single.scenes,
        "single": round(single.value, 5),
        "single_low": round(single.low, 5),
        "single_high": round(single.high, 5),
    }
    for rule in RULES:
        decided = share([(one.scene, one.window[rule]) for one in judged])
        found[rule] = round(decided.value, 5)
        found[f"{rule}_low"], found[f"{rule}_high"] = round(decided.low, 5), round(decided.high, 5)
        found[f"{rule}_ratio"] = round(decided.value / single.value, 4) if single.value else None
    return found


def figures(rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Errors of single frames and of windows; what is wanted is wanted where frames go wrong by themselves."""
    found = []
    for one in rows:
        what = f"{one['material']}, {one['group']}"
        found.append(Figure(f"{what}: a frame is wrong", "%", (100 * one["single"],)))
        for rule in RULES:
            found.append(Figure(f"{what}: {rule} of {FRAMES} is wrong", "%", (100 * one[rule],)))
            if one[f"{rule}_ratio"] is not None:
                name = f"{what}: {rule} of {FRAMES} over a frame"
                target = _HALVED if one["material"] == BANDS else None
                found.append(Figure(name, "x", (one[f"{rule}_ratio"],), target))
    return found


def markdown(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows as `measure` gives them, as a table for people."""
    head = " | ".join(f"{rule} of {FRAMES} % | over a frame's" for rule in RULES)
    lines = [
        f"| Wrong of what is asked of | windows | scenes | a frame % | {head} |",
        "|" + "---|" * (4 + 2 * len(RULES)),
    ]
    for one in rows:
        cells = [
            f"{one['material']}: {one['group']}",
            str(one["windows"]),
            str(one["scenes"]),
            _percent(one, "single"),
        ]
        for rule in RULES:
            ratio = one[f"{rule}_ratio"]
            cells += [_percent(one, rule), "–" if ratio is None else f"{ratio:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _percent(one: Mapping[str, Any], key: str) -> str:
    """`12.6 (11.0–14.4)`."""
    return f"{100 * one[key]:.2f} ({100 * one[f'{key}_low']:.2f}–{100 * one[f'{key}_high']:.2f})"
