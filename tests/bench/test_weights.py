import numpy as np
import pytest
import torch

from streamqa.bench import weights as bench
from streamqa.bench.rig import YES_NO
from streamqa.bench.weights import WordTokenizer, config_of, picture_size, random_model, random_weights
from streamqa.model.moondream.config import MoondreamConfig
from streamqa.model.moondream.crops import tiling
from streamqa.model.moondream.scoring import build_trie
from streamqa.types import Prompt, Request

CPU = torch.device("cpu")
SMALL = config_of("small")


def test_full_size_is_the_released_model() -> None:
    assert config_of("full") == MoondreamConfig()


@pytest.mark.parametrize("size", bench.SIZES)
def test_pictures_have_the_crops_that_they_are_for(size: str) -> None:
    config = config_of(size)
    assert tiling(*picture_size(1, config), config.vision) == (1, 1)
    rows, cols = tiling(*picture_size(9, config), config.vision)
    assert rows * cols + 1 == 9
    if size == "full":
        assert (picture_size(1, config), picture_size(9, config)) == ((360, 640), (720, 1280))


def test_weights_are_scaled_so_that_activations_stay_near_one() -> None:
    weights = random_weights(SMALL, torch.float32, CPU)
    fc2 = weights["text.blocks.1.mlp.fc2.weight"]
    assert fc2.std().item() == pytest.approx(128**-0.5, rel=0.05)
    assert weights["text.post_ln.weight"].eq(1).all()
    assert weights["text.post_ln.bias"].eq(0).all()
    assert weights["text.lm_head.bias"][0] == bench.EOS_BIAS
    head = weights["text.lm_head.weight"]
    assert (head @ torch.randn(64, 100)).std().item() == pytest.approx(bench.LOGIT_STD, rel=0.1)
    assert len(torch.unique(head, dim=0)) == len(head)  # tiled, and yet no two rows alike
    again = random_weights(SMALL, torch.float32, CPU)
    assert all(torch.equal(again[name], tensor) for name, tensor in weights.items())


def test_the_tokenizer_loses_nothing() -> None:
    tokenizer = WordTokenizer(512)
    ids = [0, 3, 511, 64, 64, 7]
    assert tokenizer.encode(tokenizer.decode(ids)) == ids
    assert tokenizer.encode("") == []
    assert all(64 <= token < 512 for token in tokenizer.encode("What is w999 there?"))


@pytest.mark.parametrize("size", bench.SIZES)
def test_yes_and_no_have_tokens_of_their_own(size: str) -> None:
    trie = build_trie(YES_NO, WordTokenizer(config_of(size).text.vocab_size).encode)
    assert trie.n_fed == 0  # one token each, as in the released tokenizer
    assert len(trie.tokens) == 8


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_model_answers_in_full_length_and_a_draft_is_replayed(dtype: torch.dtype) -> None:
    model = random_model(SMALL, random_weights(SMALL, dtype, CPU))
    image = np.random.default_rng(0).integers(0, 256, (*picture_size(9, SMALL), 3), dtype=np.uint8)
    first = model.answer([Request(image, (Prompt("w80 w90", max_tokens=6), Prompt("w80", options=YES_NO)))])[
        0
    ]
    assert (first[0].tokens, first[0].finish) == (6, "length")
    assert first[1].finish == "scored"
    if dtype == torch.float32:
        again = model.answer([Request(image, (Prompt("w80 w90", max_tokens=6, draft=first[0].text),))])
        assert again[0][0].text == first[0].text
