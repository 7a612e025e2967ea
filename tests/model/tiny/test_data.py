import random
from itertools import islice

import numpy as np
import torch
from PIL import Image

from streamqa.model.tiny import data
from streamqa.scenes import draw
from tests.model.tiny.micro import scenes


def test_seeds_of_training_validation_and_test_are_apart() -> None:
    assert data.TRAIN_SEEDS < data.VALIDATION_SEED < data.TEST_SEED


def test_examples_are_reproducible() -> None:
    first, second = (list(islice(data.examples(random.Random(1), 40, 5), 6)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert a.image.shape == (40, 40, 3)
        assert np.array_equal(a.image, b.image)
        assert a.facts == b.facts
    assert not np.array_equal(first[0].image, first[1].image)


def test_spoiling_keeps_the_picture_recognisable() -> None:
    for i, scene in enumerate(scenes(12, "spoil")):
        clean = draw.picture(scene)
        small = np.asarray(clean.resize((160, 160), Image.Resampling.LANCZOS)).astype(int)
        spoiled = data.spoil(clean, random.Random(i), 160)
        assert spoiled.dtype == np.uint8
        assert np.abs(spoiled - small).mean() < 25


def test_pool_shows_old_ones_again() -> None:
    pool = data.Pool(data.examples(random.Random(1), 40, 5), random.Random(2), keep=6)
    assert len(pool.batch(4, fresh=1)) == 4  # nothing is kept yet, so all are new
    for _ in range(5):
        batch = pool.batch(4, fresh=1)
        assert len(batch) == 4
    assert len(pool._kept) == 6


def test_flipped_example() -> None:
    example = next(data.examples(random.Random(1), 40, 5))
    flipped = example.flipped()
    assert np.array_equal(flipped.image[:, ::-1], example.image)
    assert flipped.facts == example.facts


def test_tensor_is_normalised_like_the_product() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[..., 0] = 255
    made = data.tensor([picture], torch.float32)
    assert made.shape == (1, 3, 8, 8)
    assert made[0, 0].unique().tolist() == [1.0]
    assert made[0, 1].unique().tolist() == [-1.0]
