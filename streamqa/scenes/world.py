"""What a scene is: one camera's view, the things in it, and the state of gate, lamp and sky.

Everything is in pixels of a 640x360 picture, y downwards. Three lanes keep objects apart, so that what is true of
a scene can also be seen in it: the back (gate, lamp), the road (cars), the front (people, dogs, boxes, fire).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

WIDTH, HEIGHT = 640, 360

Rgb = tuple[int, int, int]
Kind = Literal["person", "car", "dog", "box", "fire"]
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels

COLOURS: dict[str, Rgb] = {
    "red": (205, 32, 36),
    "blue": (30, 72, 205),
    "green": (30, 150, 60),
    "yellow": (238, 202, 36),
    "white": (240, 240, 238),
    "black": (26, 26, 30),
}

SEEN, UNSEEN = 0.65, 0.05
"""A thing counts as there from this visible share on, and as absent below the second; between, nobody can tell."""


@dataclass(frozen=True, slots=True)
class View:
    """One camera's fixed picture: where gate, lamp and backdrop are, and their colours."""

    sky: Rgb
    ground: Rgb
    road: Rgb
    wall: Rgb | None
    gate: Rgb
    pillar: Rgb
    has_gate: bool
    has_lamp: bool
    gate_x: float
    gate_w: float
    gate_h: float
    lamp_x: float
    lamp_y: float
    shift: float  # the whole camera looks this many pixels lower or higher
    trees: tuple[tuple[float, float], ...]  # x, crown radius
    clouds: tuple[tuple[float, float, float], ...]  # x, y, half width
    windows: tuple[float, ...]  # x of each
    bushes: tuple[tuple[float, float], ...]  # x, radius
    grain: int  # seed of the ground's texture

    @property
    def horizon(self) -> float:
        """Where the ground begins, y in pixels."""
        return 126.0 + self.shift

    @property
    def gate_base(self) -> float:
        """Where gate, lamp and walls stand, y in pixels."""
        return 160.0 + self.shift

    @property
    def road_y(self) -> float:
        """Where cars' wheels stand, y in pixels."""
        return 231.0 + self.shift


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that comes and goes. `x` is its middle (of the feet, for a person), `y` where it stands."""

    kind: Kind
    x: float
    y: float
    height: float
    colour: str = "white"
    facing: int = 1  # 1 looks to the right, -1 to the left; a person falls that way
    phase: float = 0.0  # of walking, burning; in turns
    lying: float = 0.0  # 0 upright, 1 flat on the ground
    strength: float = 1.0  # of a fire: 0 out, 1 burning
    skin: int = 0

    @property
    def back(self) -> bool:
        """Whether the thing is in the gate's lane rather than in the front."""
        return self.y < 200.0

    def box(self) -> Box:
        """Its bounding box, not cut to the picture."""
        h = self.height
        half = _HALF_WIDTH[self.kind] * h
        if self.kind == "person" and self.lying > 0:
            flat = self.lying
            reach = self.facing * h * flat
            top = self.y - max(h * (1 - flat), 2 * half)
            return (
                min(self.x - half * (1 - flat), self.x + reach),
                top,
                max(self.x + half * (1 - flat), self.x + reach),
                self.y,
            )
        return self.x - half, self.y - h, self.x + half, self.y

    def visible(self) -> float:
        """The share of its box inside the picture, 0 to 1."""
        x0, y0, x1, y1 = self.box()
        inside = max(0.0, min(x1, WIDTH) - max(x0, 0.0)) * max(0.0, min(y1, HEIGHT) - max(y0, 0.0))
        return inside / max(1.0, (x1 - x0) * (y1 - y0))


_HALF_WIDTH: dict[str, float] = {"person": 0.2, "car": 1.2, "dog": 0.95, "box": 0.58, "fire": 0.36}


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment: a view, the state of gate, lamp and daylight (each 0 to 1), and the things in it."""

    view: View
    things: tuple[Thing, ...]
    daylight: float
    gate_open: float
    light: float
    tick: int = 0  # changes what flickers
