from typing import Any

import pytest
import torch

from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.text import Prefix


@pytest.mark.parametrize("i", range(5))
def test_prefix_of_the_reference(golden: Any, i: int) -> None:
    text, tokens = golden.model.network.text, golden.encoded[i].tokens[None]
    prefix, hidden = text.prefix_pass(tokens, 0, text.config.n_layers)
    golden.close(hidden[0], f"img{i}.prefix_hidden")
    golden.close(text.logits(hidden[0, -4:]), f"img{i}.prefix_logits")
    golden.close(prefix.v_LBKTd[:, 0], f"img{i}.prefix_v")
    half = text.config.rotary_dim // 2
    keys = golden.arrays[f"img{i}.prefix_k"]  # rotated dimensions in pairs (r0, i0, r1, i1…)
    order = [*range(0, 2 * half, 2), *range(1, 2 * half, 2), *range(2 * half, keys.shape[-1])]
    torch.testing.assert_close(prefix.k_LBKTd[:, 0], keys[..., order], atol=1e-4, rtol=1e-4)


def test_short_prefix_pass_gives_the_same_keys_and_values(golden: Any) -> None:
    text = golden.model.network.text
    tokens = torch.stack([e.tokens for e in golden.encoded])
    short, (whole, _) = text.prefix(tokens, 0), text.prefix_pass(tokens, 0, text.config.n_layers)
    assert torch.equal(short.k_LBKTd, whole.k_LBKTd)
    assert torch.equal(short.v_LBKTd, whole.v_LBKTd)


def test_prefix_with_shared_key_heads(toy: Moondream, toy_images: list[Any], naive_logits: Any) -> None:
    # The naive decoder recomputes the prefix, head by head, with key head = head // 2.
    for encoded in toy.encode_image(toy_images):
        ids = [1, 50, 60, 2, 3]
        got = toy.generate([encoded], [[ids]], 1)[0][0]
        logits = naive_logits(toy, encoded, ids)[-1]
        assert got.ids == (int(logits.argmax()),) or got.finish == "eos"
        assert got.logprob == pytest.approx(float(logits.log_softmax(-1).max()), abs=1e-4)


def test_select_shares_memory_of_neighbours() -> None:
    prefix = Prefix(torch.randn(2, 4, 1, 3, 2), torch.randn(2, 4, 1, 3, 2))
    assert prefix.select([1, 2]).k_LBKTd.data_ptr() == prefix.k_LBKTd[:, 1].data_ptr()
    assert torch.equal(prefix.select([0, 3]).v_LBKTd, prefix.v_LBKTd[:, [0, 3]])
    assert (len(prefix), prefix.length) == (4, 3)


def test_keys_are_not_normed_logits_are_float32(toy: Moondream) -> None:
    text = toy.network.text.to(torch.float32)
    assert text.logits(torch.randn(2, 32)).dtype == torch.float32
