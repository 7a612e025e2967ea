"""The baseline says what the engine says; the golden data say that both are right."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from streamqa.bench.plain import Plain, PlainAnswer
from streamqa.bench.weights import config_of, picture_size, random_model, random_weights
from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.network import Network

GOLDEN = Path(__file__).parents[1] / "golden"


def ticks() -> float:
    return next(_ticks)


_ticks = itertools.count(0.0, 1.0)


@pytest.fixture(scope="module")
def golden() -> tuple[Plain, Moondream]:
    model = Moondream.from_pretrained(GOLDEN)
    tensors = load_file(GOLDEN / "model.safetensors")
    names = Network(model.config).state_dict()
    weights = {name: tensors[f"model.{name}" if f"model.{name}" in tensors else name] for name in names}
    return Plain(weights, model.config), model


def test_the_golden_model_says_the_same(golden: tuple[Plain, Moondream]) -> None:
    plain, model = golden
    data = json.loads((GOLDEN / "golden.json").read_text())
    prompt = [*model.config.tokenizer.templates.query.prefix, 30, 31, 32, 3, 3]
    for entry in data["images"]:
        image = Image.open(GOLDEN / entry["file"])
        mine = plain.answer(plain.encode(image), prompt, 12, ticks)
        assert list(mine.ids) == model.generate_ids(model.encode_image([image]), [[prompt]], 12)[0][0]


@pytest.mark.parametrize("crops", [1, 9])
def test_the_random_model_says_the_same(crops: int) -> None:
    config = config_of("small")
    weights = random_weights(config, torch.float32, torch.device("cpu"))
    model, plain = random_model(config, weights), Plain(weights, config)
    picture = np.random.default_rng(crops).integers(0, 256, (*picture_size(crops, config), 3), dtype=np.uint8)
    prompts = [[1, 40, 2, *range(70 + i, 76 + i), 3, 3] for i in range(3)]
    encoded = plain.encode(picture)
    theirs = model.generate_ids(model.encode_image([picture]), [prompts], 10)[0]
    for prompt, ids in zip(prompts, theirs, strict=True):
        assert list(plain.answer(encoded, prompt, 10, ticks).ids) == ids
        assert [token for token, _ in plain.follow(encoded, prompt, ids)] == ids


def test_where_another_engine_erred_the_lead_says_by_how_much() -> None:
    config = config_of("small")
    plain = Plain(random_weights(config, torch.float32, torch.device("cpu")), config)
    encoded = plain.encode(np.zeros((*picture_size(1, config), 3), dtype=np.uint8))
    prompt = [1, 40, 2, 70, 3, 3]
    ids = list(plain.answer(encoded, prompt, 4, ticks).ids)
    wrong = [ids[0], (ids[1] + 1) % 512, *ids[2:]]
    found = plain.follow(encoded, prompt, wrong)
    assert found[0][0] == ids[0]
    assert found[1][0] == ids[1]
    assert all(lead > 0 for _, lead in found)


def test_a_step_after_the_last_token_is_part_of_the_answer() -> None:
    answer = PlainAnswer((7, 8, 9), (1.0, 1.5, 2.0, 2.5))
    assert (answer.seconds(3), answer.seconds_to_last(3)) == (2.5, 2.0)
    assert (answer.seconds(0), answer.seconds_to_last(0)) == (1.5, 1.0)  # yes or no: one token


def test_every_token_is_timed() -> None:
    config = config_of("small")
    plain = Plain(random_weights(config, torch.float32, torch.device("cpu")), config)
    encoded = plain.encode(np.zeros((*picture_size(1, config), 3), dtype=np.uint8))
    assert plain.answer(encoded, [1, 40, 2, 70, 3, 3], 3, ticks).after_s == (1.0, 2.0, 3.0, 4.0)
