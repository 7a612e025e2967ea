"""The network that is trained and the product's are one function of the same weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from streamqa.model.moondream.generate import feed
from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.packing import Session
from streamqa.model.moondream.prompts import PromptIds
from streamqa.model.tiny import pointing
from streamqa.model.tiny.data import tensor
from streamqa.model.tiny.grammar import QA
from streamqa.model.tiny.network import Network, rotary_table, rotate
from streamqa.model.tiny.sizes import SPECIAL, config
from streamqa.model.tiny.tokens import Asked, encode, pack
from tests.model.tiny.micro import SIZES, network, save, tokenizer

PICTURES = [np.random.default_rng(i).integers(0, 256, (90, 160, 3)).astype(np.uint8) for i in range(2)]
QUESTIONS = ("Is there a person?", "How many cars are there in the picture?", "Day or night?")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, Moondream]:
    directory: Path = tmp_path_factory.mktemp("weights")
    made = network().eval()
    save(made, directory)
    (directory / "config.json").write_text(json.dumps(config(SIZES)))
    return made, Moondream.from_pretrained(directory, device="cpu", dtype=torch.float32)


def seen(product: Moondream) -> torch.Tensor:
    """The product's own crops, as the training network takes pictures."""
    return tensor([product.crops(picture)[0][0] for picture in PICTURES], torch.float32)


def trained(made: Network, pictures: torch.Tensor, batch: list[list[Asked]]) -> torch.Tensor:
    """Hidden states (B * N * T, D) of packed questions."""
    packed = pack(batch, 2, 60, SIZES.prefix)
    embedded = pointing.feed(made.region, made.text.wte[packed.tokens], packed)
    hidden = made.hidden(made.vision.features(pictures), embedded, packed.positions, packed.mask)
    asked = packed.targets.flatten() >= 0
    first = torch.cat((torch.tensor([True]), ~asked[:-1])) & asked  # the last token of each prompt
    return hidden.flatten(0, 1)[first]


@torch.inference_mode()
def test_image_tokens_agree(both: tuple[Network, Moondream]) -> None:
    made, product = both
    ours = made.vision.project(made.vision.features(seen(product)))
    theirs = torch.stack([e.tokens for e in product.encode_image(PICTURES)])
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_logits_agree(both: tuple[Network, Moondream]) -> None:
    made, product = both
    asked = [encode(QA("x", question, "Yes"), tokenizer()) for question in QUESTIONS]
    ours = made.text.logits(trained(made, seen(product), [asked, asked]))
    encoded = product.encode_image(PICTURES)
    prompts = [PromptIds(tuple(a.tokens[:-1])) for a in asked]
    rows = []
    for image in encoded:
        session = Session(product.network.text, image.batch, [image.index] * len(prompts))
        rows.append(product.network.text.logits(feed(product.network, session, prompts)))
    torch.testing.assert_close(ours, torch.cat(rows), atol=2e-4, rtol=1e-3)


@torch.inference_mode()
def test_points_agree(both: tuple[Network, Moondream]) -> None:
    made, product = both
    prompt = pointing.encode("person", [], False, tokenizer()).tokens
    hidden = trained(made, seen(product), [[Asked(prompt, [-1] * (len(prompt) - 1) + [0], "point")]] * 2)
    with torch.no_grad():  # make both say that there is something to point at
        for bias in (made.text.lm_head.bias, product.network.text.lm_head.bias):
            bias[SPECIAL.coord] += 50
    try:
        found = product.point_ids(product.encode_image(PICTURES)[0], prompt, max_objects=1)
    finally:
        for bias in (made.text.lm_head.bias, product.network.text.lm_head.bias):
            bias[SPECIAL.coord] -= 50
    ours = int(made.region.coord_decoder(hidden[:1]).argmax(-1))
    assert found[0]["x"] == pytest.approx(ours / 1024)


def test_rotation_keeps_lengths_and_depends_on_distance_only() -> None:
    table = rotary_table(64, 16)
    q, k = torch.randn(2, 1, 1, 1, 32).unbind(0)
    turned = rotate(q, table[5:6])
    assert turned.norm() == pytest.approx(float(q.norm()), rel=1e-5)
    near = [float((rotate(q, table[i : i + 1]) * rotate(k, table[i + 3 : i + 4])).sum()) for i in (0, 7, 40)]
    assert near == pytest.approx([near[0]] * 3, abs=1e-4)
