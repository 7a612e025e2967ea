"""A moving scene for ever: cycles of 60 s in which everything happens that a question can be asked about."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from streamqa.scenes import draw, sample, truth
from streamqa.scenes.world import WIDTH, Scene, Thing, View

CYCLE_S = 60.0
FALL_S = 0.7
WALK, STROLL, DRIVE, TROT = 105.0, 85.0, 165.0, 120.0  # speeds in pixels per second


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody or something comes in from one side, stops at `thing.x`, and leaves the same way."""

    thing: Thing
    start_s: float
    end_s: float
    side: int  # -1 from the left, 1 from the right
    speed: float
    fall_s: float | None = None
    rise_s: float = 0.0

    @property
    def travel_s(self) -> float:
        """How long the way in takes, in seconds."""
        return self._way() / self.speed

    def _way(self) -> float:
        half = 80.0 if self.thing.kind == "car" else 45.0
        return (self.thing.x + half) if self.side < 0 else (WIDTH + half - self.thing.x)

    def at(self, t_s: float) -> Thing | None:
        """The thing at `t_s` seconds of the cycle, or None while it is away."""
        if not self.start_s <= t_s <= self.end_s:
            return None
        way = self._way()
        gone = max(0.0, way - self.speed * (t_s - self.start_s), way - self.speed * (self.end_s - t_s))
        moving = gone > 0
        leaving = t_s > (self.start_s + self.end_s) / 2
        inwards = -self.side
        towards = -inwards if moving and leaving and self.thing.kind != "car" else inwards
        phase = self.thing.phase + (gone / 62.0 if moving else 0.0)
        lying = self._lying(t_s)
        facing = self.side if lying > 0 else towards  # people fall outwards, away from the fire in the middle
        return replace(self.thing, x=self.thing.x + self.side * gone, facing=facing, phase=phase, lying=lying)

    def _lying(self, t_s: float) -> float:
        if self.fall_s is None:
            return 0.0
        down = (t_s - self.fall_s) / FALL_S
        up = (self.rise_s - t_s) / FALL_S
        return max(0.0, min(1.0, down, up))


@dataclass(frozen=True, slots=True)
class Cycle:
    """The script of one minute: who visits when, and the switching times of gate, lamp, sky and fire in seconds."""

    visits: tuple[Visit, ...]
    gate: tuple[float, ...]
    light: tuple[float, ...]
    sky: tuple[float, ...]
    fire: tuple[float, float]
    fire_x: float


def level(times: tuple[float, ...], t_s: float, ramp_s: float) -> float:
    """A value that starts at 0 and changes sides at each of `times`, over `ramp_s` seconds."""
    value = 0.0
    for index, at in enumerate(times):
        done = max(0.0, min(1.0, (t_s - at) / ramp_s))
        value = value + done if index % 2 == 0 else value - done
    return value


def write(rng: random.Random, camera: View) -> Cycle:
    """Write one minute's script."""
    back = _back_visits(rng, camera)
    front = _front_visits(rng, back)
    cars = [v for side in (-1, 1) for v in _side(rng, side, lambda s, i: _car(rng, camera, s, i), DRIVE, 0.6)]
    dusk = rng.uniform(10, 22)
    dawn = dusk + rng.uniform(16, 26)
    burn = rng.uniform(6, 44)
    lit = dusk + rng.uniform(-3, 7)
    light = [lit, lit + rng.uniform(8, 20)]
    if light[1] < 44:
        light += [light[1] + rng.uniform(4, 6), rng.uniform(53, 57)]
    gate: list[float] = []
    now = rng.uniform(3, 12)
    while now < 52:
        gate += [now, now + rng.uniform(5, 13)]
        now = gate[-1] + rng.uniform(4, 10)
    gate[-1] = min(gate[-1], 57.0)
    return Cycle(
        visits=tuple(back + cars + front + _dogs(rng)),
        gate=tuple(gate),
        light=tuple(light),
        sky=(dusk, dawn),
        fire=(burn, burn + rng.uniform(8, 13)),
        fire_x=WIDTH / 2 + rng.uniform(-6, 6),
    )


def _side(
    rng: random.Random, side: int, make: Callable[[int, bool], Thing], speed: float, outer: float
) -> list[Visit]:
    """Visits from one side: a stack of two places, so that nobody has to pass anybody."""
    visits: list[Visit] = []
    now = rng.uniform(0.5, 7)
    while now < 47:
        stay = min(rng.uniform(12, 24), 58.5 - now)
        visits.append(Visit(make(side, False), now, now + stay, side, speed))
        if stay > 11 and rng.random() < outer:
            visits.append(
                Visit(
                    make(side, True), now + rng.uniform(2.6, 4), now + stay - rng.uniform(2.6, 4), side, speed
                )
            )
        now += stay + rng.uniform(1, 6)
    return visits


def _car(rng: random.Random, camera: View, side: int, outer: bool) -> Thing:
    off = 242.0 if outer else 88.0
    return sample.car(rng, WIDTH / 2 + side * (off + rng.uniform(-5, 5)), camera)


def _walker(rng: random.Random, side: int, outer: bool) -> Thing:
    off = 245.0 if outer else 77.0
    x = WIDTH / 2 + side * (off + rng.uniform(-6, 6))
    return sample.person(rng, x, sample.front_y(rng), rng.uniform(118, 132))


def _front_visits(rng: random.Random, back: list[Visit]) -> list[Visit]:
    """People in the front lane, at most four with those at the back; one of them falls."""
    visits: list[Visit] = []
    for side in (-1, 1):
        for visit in _side(rng, side, lambda s, i: _walker(rng, s, i), WALK, 0.75):
            inner = abs(visit.thing.x - WIDTH / 2) < 120
            if inner or not any(b.start_s < visit.end_s and visit.start_s < b.end_s for b in back):
                visits.append(visit)
    long = [
        i
        for i, v in enumerate(visits)
        if v.end_s - v.start_s - 2 * v.travel_s > 7 and abs(v.thing.x - WIDTH / 2) < 120
    ]
    if long:
        chosen = rng.choice(long)
        visit = visits[chosen]
        fall = visit.start_s + visit.travel_s + rng.uniform(0.5, 1.5)
        visits[chosen] = replace(visit, fall_s=fall, rise_s=visit.end_s - visit.travel_s - 0.3)
    return visits


def _back_visits(rng: random.Random, camera: View) -> list[Visit]:
    """One person at a time along the wall: to the gate mostly, elsewhere sometimes."""
    visits: list[Visit] = []
    now = rng.uniform(4, 12)
    while now < 44:
        near = not visits or rng.random() < 0.6
        x = camera.gate_x + rng.uniform(-0.38, 0.38) * camera.gate_w
        if not near:
            x = (
                camera.gate_x
                + (1 if camera.gate_x < WIDTH / 2 else -1) * rng.uniform(1.2, 1.9) * camera.gate_w
            )
        side = rng.choice((-1, 1))
        who = sample.person(rng, x, camera.gate_base + rng.uniform(4, 9), rng.uniform(88, 97))
        visit = Visit(who, now, now, side, STROLL)
        visits.append(replace(visit, end_s=min(now + 2 * visit.travel_s + rng.uniform(5, 9), 59.0)))
        now = visits[-1].end_s + rng.uniform(8, 18)
    return visits


def _dogs(rng: random.Random) -> list[Visit]:
    start = rng.uniform(5, 45)
    side = rng.choice((-1, 1))
    dog = Thing(
        "dog", WIDTH / 2 + side * 160.0, rng.uniform(322, 334), rng.uniform(39, 46), phase=rng.random()
    )
    return [Visit(dog, start, start + rng.uniform(8, 13), side, TROT)]


class GateScene:
    """A gate watched by one camera; the same seed always shows the same pictures at the same times."""

    def __init__(self, seed: int, size: tuple[int, int] = (640, 360)) -> None:
        """`size` is (width, height) of the pictures in pixels."""
        self.seed = seed
        self.size = size
        rng = random.Random(f"view {seed}")
        self.view = sample.view(rng, always=True)
        self._box = (
            Thing("box", WIDTH / 2 + rng.choice((-1, 1)) * 296.0, 344.0, 40.0) if rng.random() < 0.5 else None
        )
        self._night_first = rng.random() < 0.3
        self._cycle = lru_cache(maxsize=4)(self._write)

    def _write(self, number: int) -> Cycle:
        return write(random.Random(f"cycle {self.seed} {number}"), self.view)

    def scene(self, t_s: float) -> Scene:
        """The state of the world at `t_s` seconds."""
        number, now = divmod(max(0.0, t_s), CYCLE_S)
        cycle = self._cycle(int(number))
        things = [thing for visit in cycle.visits if (thing := visit.at(now)) is not None]
        if self._box is not None:
            things.append(self._box)
        burning = level(cycle.fire, now, 1.2)
        if burning > 0:
            things.append(Thing("fire", cycle.fire_x, 334.0, 76.0, phase=now * 3 % 1.0, strength=burning))
        night = level(cycle.sky, now, 3.0)
        return Scene(
            self.view,
            tuple(things),
            daylight=night if self._night_first else 1.0 - night,
            gate_open=level(cycle.gate, now, 1.2),
            light=level(cycle.light, now, 0.4),
            tick=int(t_s * 12),
        )

    def image(self, t_s: float) -> NDArray[np.uint8]:
        """The picture at `t_s` seconds, uint8 (height, width, 3), RGB."""
        picture = draw.picture(self.scene(t_s))
        if self.size != picture.size:
            picture = picture.resize(self.size)
        return np.asarray(picture)

    def truth(self, t_s: float) -> dict[str, bool | int | str | None]:
        """What is true at `t_s` seconds, by question id of `configs/demo.yaml`; None where it cannot be told."""
        return truth.answers(self.scene(t_s))
