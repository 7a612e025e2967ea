import random
from itertools import pairwise

import pytest
import torch

from streamqa.model.tiny import pointing
from streamqa.model.tiny.sizes import SPECIAL
from streamqa.model.tiny.tokens import pack
from tests.model.tiny.micro import SIZES, network, scenes, tokenizer

BOX = (0.25, 0.5, 0.375, 0.75)


def test_boxes_are_inside_and_from_left_to_right() -> None:
    for scene in scenes(60):
        for some in pointing.boxes(scene).values():
            for x0, y0, x1, y1 in some or ():
                assert 0 <= x0 < x1 <= 1
                assert 0 <= y0 < y1 <= 1
            assert all(a[0] + a[2] <= b[0] + b[2] for a, b in pairwise(some or ()))


def test_flipping_twice_changes_nothing() -> None:
    for scene in scenes(10):
        found = pointing.boxes(scene)
        twice = pointing.flipped(pointing.flipped(found))
        for kind, some in found.items():
            assert (some is None) == (twice[kind] is None)
            for a, b in zip(some or (), twice[kind] or (), strict=True):
                assert a == pytest.approx(b)


def test_classes_are_read_back_as_the_product_does() -> None:
    for value in (0.01, 0.1, 0.333, 0.9):
        assert pointing.coord_bin(value) / 1024 == pytest.approx(value, abs=1 / 1024)
        assert 2 ** (pointing.size_bin(value) / 1023 * 10 - 10) == pytest.approx(value, rel=0.01)


def test_a_box_is_two_coordinates_and_a_size() -> None:
    asked = pointing.encode("car", [BOX, BOX], True, tokenizer())
    s = SPECIAL
    question = [s.detect, *tokenizer().encode(" car").ids, s.answer]
    assert asked.tokens == [*question, s.coord, s.coord, s.size, s.coord, s.coord, s.size]
    start = len(question) - 1
    assert asked.targets[start] == asked.targets[start + 3] == s.coord
    assert asked.targets[-1] == s.eos
    assert asked.fed[start + 1] == (0.3125,)
    assert asked.fed[start + 3] == pytest.approx((0.125, 0.25))
    assert asked.wanted[start] == (pointing.coord_bin(0.3125),)
    assert asked.wanted[start + 2] == (pointing.size_bin(0.125), pointing.size_bin(0.25))


def test_nothing_to_point_at_ends_at_once() -> None:
    asked = pointing.encode("zebra", [], False, tokenizer())
    assert asked.targets[-1] == SPECIAL.eos
    assert not asked.fed


def test_feed_replaces_only_coordinates_and_sizes() -> None:
    made = network()
    packed = pack([[pointing.encode("car", [BOX], True, tokenizer())]], 1, 20, 0)
    before = made.text.wte[packed.tokens]
    after = pointing.feed(made.region, before, packed)
    changed = (before != after).any(-1)[0].nonzero().squeeze(1).tolist()
    coords = [i for i, t in enumerate(packed.tokens[0].tolist()) if t in (SPECIAL.coord, SPECIAL.size)]
    assert changed == coords


def test_loss_counts_errors() -> None:
    made = network()
    packed = pack([[pointing.encode("car", [BOX], True, tokenizer())]], 1, 20, 0)
    value, errors = pointing.loss(made.region, torch.randn(20, SIZES.text_dim), packed)
    assert float(value.detach()) > 0
    assert set(errors) == {"coord_error", "size_error"}
    empty = pack([[pointing.encode("car", [], True, tokenizer())]], 1, 20, 0)
    value, errors = pointing.loss(made.region, torch.randn(20, SIZES.text_dim), empty)
    assert float(value) == 0
    assert not errors


def test_ask_is_none_where_it_cannot_be_told() -> None:
    rng = random.Random(0)
    nothing = dict.fromkeys(pointing.NAMES)
    asked = [pointing.ask(nothing, rng, tokenizer()) for _ in range(40)]
    assert any(a is None for a in asked)
    assert all(a is None or not a.fed for a in asked)
