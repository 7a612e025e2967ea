"""Random camera views and random static scenes, balanced so that no question can be answered without looking."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from streamqa.scenes.world import COLOURS, WIDTH, Kind, Rgb, Scene, Thing, View

_SKIES: tuple[Rgb, ...] = (
    (150, 190, 228),
    (176, 204, 226),
    (196, 206, 214),
    (128, 170, 214),
    (208, 214, 208),
)
_GROUNDS: tuple[Rgb, ...] = (
    (132, 140, 112),
    (150, 142, 124),
    (122, 132, 118),
    (146, 146, 142),
    (118, 140, 104),
)
_ROADS: tuple[Rgb, ...] = ((104, 104, 110), (118, 116, 114), (96, 100, 108), (128, 124, 118))
_WALLS: tuple[Rgb, ...] = ((172, 132, 112), (176, 170, 150), (152, 156, 160), (186, 174, 142))
# Light enough for a person in black to stand out against it at night.
_GATES: tuple[Rgb, ...] = ((138, 104, 70), (104, 124, 108), (112, 118, 132), (150, 116, 80), (122, 106, 102))
_PILLARS: tuple[Rgb, ...] = ((136, 128, 116), (112, 112, 116), (154, 144, 126), (98, 90, 84))
NAMES = tuple(COLOURS)


def view(rng: random.Random, always: bool = False) -> View:
    """A random camera view. `always`: it has both gate and lamp."""
    gate_w = rng.uniform(138, 164)
    gate_x = rng.uniform(130, WIDTH - 130)
    spots = [x for x in range(40, WIDTH - 39, 10) if abs(x - gate_x) > gate_w / 2 + 46]
    return View(
        sky=_shade(rng, rng.choice(_SKIES)),
        ground=_shade(rng, rng.choice(_GROUNDS)),
        road=_shade(rng, rng.choice(_ROADS)),
        wall=_shade(rng, rng.choice(_WALLS)) if rng.random() < 0.6 else None,
        gate=_shade(rng, rng.choice(_GATES)),
        pillar=_shade(rng, rng.choice(_PILLARS)),
        has_gate=always or rng.random() < 0.88,
        has_lamp=always or rng.random() < 0.88,
        gate_x=gate_x,
        gate_w=gate_w,
        gate_h=rng.uniform(92, 108),
        lamp_x=float(rng.choice(spots)),
        lamp_y=rng.uniform(30, 48),
        shift=rng.uniform(-7, 7),
        trees=tuple((rng.uniform(0, WIDTH), rng.uniform(20, 36)) for _ in range(rng.randrange(4))),
        clouds=tuple(
            (rng.uniform(0, WIDTH), rng.uniform(8, 60), rng.uniform(24, 60)) for _ in range(rng.randrange(4))
        ),
        windows=tuple(rng.uniform(20, WIDTH - 20) for _ in range(rng.randrange(4))),
        bushes=tuple((rng.uniform(0, WIDTH), rng.uniform(9, 15)) for _ in range(rng.randrange(3))),
        grain=rng.randrange(1 << 16),
    )


def _shade(rng: random.Random, colour: Rgb) -> Rgb:
    factor = rng.uniform(0.9, 1.08)
    r, g, b = (max(0, min(255, round(c * factor + rng.uniform(-6, 6)))) for c in colour)
    return r, g, b


def person(rng: random.Random, x: float, y: float, height: float) -> Thing:
    """A person with random shirt, skin and step."""
    return Thing(
        "person", x, y, height, rng.choice(NAMES), rng.choice((-1, 1)), rng.random(), skin=rng.randrange(4)
    )


def front_y(rng: random.Random) -> float:
    """A random place of somebody's feet in the front lane."""
    return rng.uniform(338, 352)


def car(rng: random.Random, x: float, camera: View) -> Thing:
    """A car of random colour on the road."""
    height = rng.uniform(53, 58)
    return Thing(
        "car",
        x,
        camera.road_y + rng.uniform(-3, 3),
        height,
        rng.choice(NAMES),
        rng.choice((-1, 1)),
        rng.random(),
    )


def scene(rng: random.Random) -> Scene:
    """A random static scene: counts of people and cars uniform over 0 to 4, everything else near fifty-fifty."""
    camera = view(rng)
    people = rng.randrange(5)
    back = _back_people(rng, camera, people)
    front = _front(rng, people - len(back))
    cars = _road(rng, camera)
    return Scene(
        camera,
        tuple(back + cars + front),
        daylight=_two_way(rng, (0.0, 0.2), (0.8, 1.0)),
        gate_open=_two_way(rng, (0.0, 0.04), (0.9, 1.0)),
        light=_two_way(rng, (0.0, 0.0), (0.8, 1.0)),
        tick=rng.randrange(1 << 16),
    )


def _two_way(rng: random.Random, low: tuple[float, float], high: tuple[float, float]) -> float:
    """Mostly the ends, sometimes anything between (and then nobody asks)."""
    if rng.random() < 0.06:
        return rng.random()
    return rng.uniform(*rng.choice((low, high)))


def _back_people(rng: random.Random, camera: View, people: int) -> list[Thing]:
    """At most two in the gate's lane: one right at the gate half of the time, one well beside it."""
    found: list[Thing] = []
    if people and rng.random() < 0.6:
        found.append(_back_person(rng, camera, camera.gate_x + rng.uniform(-0.42, 0.42) * camera.gate_w))
    if len(found) < people and rng.random() < 0.3:
        places = [x for x in range(25, WIDTH - 24, 5) if abs(x - camera.gate_x) > camera.gate_w]
        x = float(rng.choice(places))
        if not found or abs(x - found[0].x) > 75:
            found.append(_back_person(rng, camera, x))
    return found


def _back_person(rng: random.Random, camera: View, x: float) -> Thing:
    return person(rng, x, camera.gate_base + rng.uniform(4, 9), rng.uniform(88, 97))


def _front(rng: random.Random, people: int) -> list[Thing]:
    """People and smaller things side by side in a random order, with random gaps."""
    row: list[Thing] = [person(rng, 0.0, front_y(rng), rng.uniform(118, 132)) for _ in range(people)]
    row = [replace(p, lying=1.0) if rng.random() < 0.22 else p for p in row]
    for kind, chance, height in (
        ("fire", 0.35, 76),
        ("dog", 0.4, 42),
        ("box", 0.35, 40),
        ("dog", 0.15, 42),
        ("box", 0.15, 40),
    ):
        if rng.random() < chance:
            row.append(_small(rng, kind, height))  # type: ignore[arg-type]
    while _width(row) > WIDTH - 24:
        row.pop()  # people come first and therefore stay
    rng.shuffle(row)
    return _spread(rng, row, margin=-6.0 if people < 4 else 4.0)


def _small(rng: random.Random, kind: Kind, height: float) -> Thing:
    y = rng.uniform(322, 350)
    return Thing(
        kind, 0.0, y, height * rng.uniform(0.92, 1.1), facing=rng.choice((-1, 1)), phase=rng.random()
    )


def _road(rng: random.Random, camera: View) -> list[Thing]:
    row = [car(rng, 0.0, camera) for _ in range(rng.randrange(5))]
    return _spread(rng, row, margin=-20.0)


def _span(thing: Thing) -> float:
    """The width to keep free for a thing: people's middles stay 74 px apart, more than one of the model's patches."""
    x0, _, x1, _ = thing.box()
    return max(x1 - x0 + 6, 74.0 if thing.kind == "person" else 0.0)


def _width(row: Sequence[Thing]) -> float:
    return sum(_span(thing) for thing in row)


def _spread(rng: random.Random, row: Sequence[Thing], margin: float) -> list[Thing]:
    """Place a row from left to right, the free width split at random. `margin` < 0 lets the outermost leave a bit."""
    free = max(0.0, WIDTH - 2 * margin - _width(row))
    cuts = sorted(rng.uniform(0, free) for _ in row)
    placed: list[Thing] = []
    left = margin
    for thing, cut in zip(row, cuts, strict=True):
        x0 = thing.box()[0]
        placed.append(
            replace(thing, x=left + cut + (_span(thing) - (thing.box()[2] - x0)) / 2 - x0 + thing.x)
        )
        left += _span(thing)
    return placed
