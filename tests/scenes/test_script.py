import random
from collections import defaultdict

import numpy as np
import pytest

from streamqa.scenes import sample, script
from streamqa.scenes.script import CYCLE_S, GateScene, level

QUESTIONS = {"person", "people", "car", "cars", "gate", "light", "daytime", "fire", "at_gate", "fallen"}
SEEDS = (0, 1, 10_000_000)


@pytest.fixture(scope="module")
def values() -> dict[int, dict[str, list[bool | int | str | None]]]:
    """Truth of the first two minutes of each seed, four times a second."""
    found: dict[int, dict[str, list[bool | int | str | None]]] = {}
    for seed in SEEDS:
        scene = GateScene(seed)
        found[seed] = defaultdict(list)
        for step in range(480):
            for question, value in scene.truth(step / 4).items():
                found[seed][question].append(value)
    return found


def test_truth_has_every_question(values: dict[int, dict[str, list[object]]]) -> None:
    for by_question in values.values():
        assert set(by_question) == QUESTIONS


def test_everything_happens_within_a_minute(values: dict[int, dict[str, list[object]]]) -> None:
    for seed, by_question in values.items():
        for question, series in by_question.items():
            for minute in (series[:240], series[240:]):
                wanted = {0, 1, 2} if question in ("people", "cars") else None
                seen = {v for v in minute if v is not None}
                assert seen >= wanted if wanted else len(seen) == 2, (seed, question, seen)


def test_most_of_the_time_it_can_be_told(values: dict[int, dict[str, list[object]]]) -> None:
    for by_question in values.values():
        for question, series in by_question.items():
            assert series.count(None) < 0.25 * len(series), question


def test_never_more_than_four(values: dict[int, dict[str, list[object]]]) -> None:
    for seed in range(12):
        scene = GateScene(seed)
        for step in range(0, 240):
            for kind in ("person", "car"):
                assert sum(t.kind == kind for t in scene.scene(step / 2).things) <= 4


def test_a_seed_gives_one_film_in_any_order() -> None:
    a, b = GateScene(4), GateScene(4)
    for t_s in (130.0, 2.5, 61.0):
        assert np.array_equal(a.image(t_s), b.image(t_s))
        assert a.truth(t_s) == b.truth(t_s)
    assert np.array_equal(a.image(2.5), GateScene(4).image(2.5))
    assert not np.array_equal(a.image(2.5), GateScene(5).image(2.5))


def test_nothing_jumps() -> None:
    scene = GateScene(2)
    before = scene.scene(0.0)
    for step in range(1, 1300):
        now = scene.scene(step / 10)
        for name in ("daylight", "gate_open", "light"):
            assert abs(getattr(now, name) - getattr(before, name)) < 0.3, (step, name)
        for person in (t for t in now.things if t.kind == "person"):
            near = [t for t in before.things if t.kind == "person" and abs(t.x - person.x) < 15]
            assert near or person.visible() < 0.3, (step, person)
        before = now


def test_size_of_the_picture() -> None:
    assert GateScene(1).image(3.0).shape == (360, 640, 3)
    assert GateScene(1, size=(320, 180)).image(3.0).shape == (180, 320, 3)


def test_level_changes_sides_at_each_time() -> None:
    times = (10.0, 20.0)
    assert [level(times, t, 2.0) for t in (0, 10, 11, 12, 19, 21, 30)] == [0, 0, 0.5, 1, 1, 0.5, 0]


def test_visits_end_within_their_cycle() -> None:
    for seed in range(40):
        rng = random.Random(seed)
        cycle = script.write(rng, sample.view(rng, always=True))
        assert all(0 <= v.start_s < v.end_s < CYCLE_S for v in cycle.visits)
        assert all(times[-1] < CYCLE_S for times in (cycle.gate, cycle.light, cycle.sky, cycle.fire))
