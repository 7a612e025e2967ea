"""What is true of a scene, and None wherever a person looking at the picture could not tell."""

from __future__ import annotations

from dataclasses import dataclass

from streamqa.scenes.world import SEEN, UNSEEN, Scene, Thing


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that questions are asked about; None where it cannot be told."""

    counts: dict[str, int | None]
    present: dict[str, bool | None]
    colours: dict[str, tuple[str, ...] | None]  # of people's shirts and of cars
    has_gate: bool
    has_lamp: bool
    gate: str | None
    light: bool | None
    daytime: str | None
    at_gate: bool | None
    fallen: bool | None


def state(thing: Thing) -> bool | None:
    """True if the thing is plainly in the picture, False if it is not, None if it is half in."""
    share = thing.visible() if thing.strength >= SEEN else thing.strength
    if share >= SEEN:
        return True
    return False if share <= UNSEEN else None


def _count(states: list[bool | None]) -> int | None:
    return None if None in states else states.count(True)


def _present(states: list[bool | None]) -> bool | None:
    if True in states:
        return True
    return None if None in states else False


def _level(value: float, low: float, high: float) -> bool | None:
    if value >= high:
        return True
    return False if value <= low else None


def _at_gate(scene: Scene, people: list[tuple[Thing, bool | None]]) -> bool | None:
    """True from the gate's middle to 0.45 of its width, False from 0.95 on."""
    if not scene.view.has_gate:
        return None
    answers: list[bool | None] = []
    for person, seen in people:
        off = abs(person.x - scene.view.gate_x) / scene.view.gate_w
        if not person.back or off >= 0.95 or seen is False:
            answers.append(False)
        else:
            answers.append(True if off <= 0.45 and seen else None)
    return _present(answers)


def _fallen(people: list[tuple[Thing, bool | None]]) -> bool | None:
    answers: list[bool | None] = []
    for person, seen in people:
        flat = _level(person.lying, 0.05, 0.97)
        answers.append(flat if seen else (False if seen is False or flat is False else None))
    return _present(answers)


def facts(scene: Scene) -> Facts:
    """Work out every fact of a scene."""
    kinds: tuple[str, ...] = ("person", "car", "dog", "box", "fire")
    seen = {kind: [(t, state(t)) for t in scene.things if t.kind == kind] for kind in kinds}
    counts = {kind: _count([s for _, s in seen[kind]]) for kind in kinds}
    opened = _level(scene.gate_open, 0.08, 0.85)
    day = _level(scene.daylight, 0.25, 0.75)
    return Facts(
        counts=counts,
        present={kind: _present([s for _, s in seen[kind]]) for kind in kinds},
        colours={
            kind: None if counts[kind] is None else tuple(t.colour for t, s in seen[kind] if s)
            for kind in ("person", "car")
        },
        has_gate=scene.view.has_gate,
        has_lamp=scene.view.has_lamp,
        gate=None if not scene.view.has_gate or opened is None else ("open" if opened else "closed"),
        light=_level(scene.light, 0.05, 0.7) if scene.view.has_lamp else None,
        daytime=None if day is None else ("day" if day else "night"),
        at_gate=_at_gate(scene, seen["person"]),
        fallen=_fallen(seen["person"]),
    )


def answers(scene: Scene) -> dict[str, bool | int | str | None]:
    """The truth by question id of `configs/demo.yaml`."""
    known = facts(scene)
    return {
        "person": known.present["person"],
        "people": known.counts["person"],
        "car": known.present["car"],
        "cars": known.counts["car"],
        "gate": known.gate,
        "light": known.light,
        "daytime": known.daytime,
        "fire": known.present["fire"],
        "at_gate": known.at_gate,
        "fallen": known.fallen,
    }
