import random
from collections import Counter
from itertools import pairwise

from streamqa.scenes import sample
from streamqa.scenes.truth import answers

SCENES = [sample.scene(random.Random(f"sample {i}")) for i in range(600)]


def test_a_seed_gives_one_scene() -> None:
    assert sample.scene(random.Random(7)) == sample.scene(random.Random(7))
    assert sample.scene(random.Random(7)) != sample.scene(random.Random(8))


def test_counts_are_balanced() -> None:
    for question in ("people", "cars"):
        counts = Counter(answers(s)[question] for s in SCENES)
        assert set(counts) == {0, 1, 2, 3, 4}
        assert min(counts.values()) > 80


def test_yes_and_no_are_balanced() -> None:
    for question, least in (("at_gate", 0.35), ("light", 0.35), ("fire", 0.25), ("fallen", 0.15)):
        told = [a for s in SCENES if (a := answers(s)[question]) is not None]
        assert least < sum(told) / len(told) < 1 - least, question


def test_things_of_one_lane_keep_apart() -> None:
    for scene in SCENES:
        for kind in ("person", "car"):
            lanes: dict[bool, list[float]] = {}
            for thing in scene.things:
                if thing.kind == kind:
                    x0, _, x1, _ = thing.box()
                    lanes.setdefault(thing.back, []).append((x0 + x1) / 2)
            for middles in lanes.values():
                ordered = sorted(middles)
                assert all(b - a > 60 for a, b in pairwise(ordered))


def test_lamp_is_in_the_picture_and_not_behind_the_gate() -> None:
    for scene in SCENES:
        view = scene.view
        assert view.lamp_y + view.shift - 17 > 0
        assert abs(view.lamp_x - view.gate_x) > view.gate_w / 2 + 17
