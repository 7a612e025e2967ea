import random
from itertools import islice

import pytest
import torch

from streamqa.model.tiny import asking, data
from streamqa.model.tiny.grammar import QA
from streamqa.model.tiny.tokens import encode, pack
from tests.model.tiny.micro import SIZES, network, tokenizer

EXAMPLES = list(islice(data.examples(random.Random(1), SIZES.crop, SIZES.grid), 4))


def test_packed_questions_lose_as_much_as_single_ones() -> None:
    made = network()
    features = torch.randn(1, SIZES.image_tokens, SIZES.vision_dim)
    asked = [
        encode(QA("a", "Is there a car?", "Yes"), tokenizer()),
        encode(QA("b", "How many dogs?", "3"), tokenizer()),
    ]
    together, _ = asking.loss(made, features, pack([asked], 1, 60, SIZES.prefix))
    alone = [asking.loss(made, features, pack([[one]], 1, 60, SIZES.prefix))[0] for one in asked]
    assert float(together.detach()) == pytest.approx(sum(float(a.detach()) for a in alone) / 2, rel=1e-4)


def test_right_means_every_token() -> None:
    asked = encode(QA("a", "x?", "I can't tell."), tokenizer())
    packed = pack([[asked, encode(QA("b", "y?", "Yes"), tokenizer())]], 1, 60, 0)
    places = (packed.targets.flatten() >= 0).nonzero().squeeze(1)
    scores = torch.zeros(len(places), SIZES.vocab)
    scores[torch.arange(len(places)), packed.targets.flatten()[places]] = 1
    assert asking.right(scores, places, packed) == {"a": (1, 1), "b": (1, 1)}
    scores[1] = 0
    scores[1, 700] = 1
    assert asking.right(scores, places, packed) == {"a": (0, 1), "b": (1, 1)}


def test_training_questions_fill_the_rows() -> None:
    packed = asking.training_questions(EXAMPLES, random.Random(0), tokenizer(), SIZES.prefix)
    assert (packed.group >= 0).float().mean() > 0.6
    assert min(len(types) for types in packed.types) > 7


@pytest.mark.parametrize("heldout", [False, True])
def test_validation_questions_have_every_type(heldout: bool) -> None:
    facts = [example.facts for example in EXAMPLES]
    packed = asking.validation_questions(facts, random.Random(0), tokenizer(), SIZES.prefix, heldout)
    assert {"outside", "exist_outside", "describe"} <= {name for types in packed.types for name in types}
