import numpy as np
import torch

from streamqa.model.tiny.labels import CENTRED, GLOBALS, KINDS, Heads, label, loss
from streamqa.model.tiny.sizes import Sizes
from streamqa.scenes.truth import facts
from tests.model.tiny.micro import SIZES, scenes

SCENES = scenes(60, "labels")


def test_each_person_and_car_has_a_patch_of_its_own() -> None:
    for scene in SCENES:
        known = facts(scene)
        labels = label(scene, known, Sizes().grid)
        for i, kind in enumerate(CENTRED[:2]):
            if known.counts[kind] is not None:
                assert labels.centres[i].sum() == known.counts[kind]


def test_colour_is_given_where_the_middles_are() -> None:
    for scene in SCENES:
        labels = label(scene, facts(scene), Sizes().grid)
        assert ((labels.colour >= 0) >= (labels.centres[:2].any(0))).all()


def test_flipping_twice_changes_nothing() -> None:
    labels = label(SCENES[0], facts(SCENES[0]), 10)
    twice = labels.flipped().flipped()
    assert np.array_equal(labels.kinds, twice.kinds)
    assert np.array_equal(labels.colour, twice.colour)
    assert not np.array_equal(labels.kinds, labels.flipped().kinds)


def test_what_cannot_be_told_is_not_learned() -> None:
    names = [name for name, _ in GLOBALS]
    for scene in SCENES:
        known = facts(scene)
        whole = label(scene, known, 10).whole
        assert (whole[names.index("gate")] == -1) == (known.gate is None)
        assert (whole[names.index("people")] == -1) == (known.counts["person"] is None)


def test_loss_is_finite_and_falls_when_followed() -> None:
    torch.manual_seed(0)
    heads = Heads(SIZES)
    labels = [label(scene, facts(scene), SIZES.grid) for scene in SCENES[:8]]
    features = torch.randn(8, SIZES.image_tokens, SIZES.vision_dim, requires_grad=True)
    optimizer = torch.optim.Adam([features, *heads.parameters()], lr=0.05)
    first, _ = loss(heads, features, labels)
    for _ in range(30):
        value, right = loss(heads, features, labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert float(value.detach()) < 0.5 * float(first.detach())
    assert set(right) == {name for name, _ in GLOBALS} | {"colour"}
    assert len(KINDS) == 6
