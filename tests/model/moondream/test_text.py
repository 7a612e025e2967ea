from typing import Any

import pytest
import torch

from streamqa.model.moondream.attention import attend_part
from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.text import Prefix


@pytest.mark.parametrize("i", range(5))
def test_prefix_of_the_reference(golden: Any, i: int) -> None:
    text, encoded = golden.model.network.text, golden.encoded[i]
    golden.close(encoded.v_LKTd, f"img{i}.prefix_v")
    half = text.config.rotary_dim // 2
    keys = golden.arrays[f"img{i}.prefix_k"]  # rotated dimensions in pairs (r0, i0, r1, i1…)
    order = [*range(0, 2 * half, 2), *range(1, 2 * half, 2), *range(2 * half, keys.shape[-1])]
    torch.testing.assert_close(encoded.k_LKTd, keys[..., order], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("i", range(5))
def test_hidden_states_of_the_prefix(golden: Any, i: int) -> None:
    # The product never needs them: a prefix ends with its last keys and values.
    text = golden.model.network.text
    x_RD = text.pictures(golden.encoded[i].tokens[None], 0)[0]

    def all_see_all(_: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        seen, _lse = attend_part(*(t.transpose(0, 1)[None] for t in (q, k, v)))
        return seen[0].transpose(0, 1)

    hidden = text(x_RD, torch.arange(len(x_RD)), all_see_all)
    golden.close(hidden, f"img{i}.prefix_hidden")
    golden.close(text.logits(hidden[-4:]), f"img{i}.prefix_logits")


def test_prefix_with_shared_key_heads(toy: Moondream, toy_images: list[Any], naive_logits: Any) -> None:
    # The naive decoder recomputes the prefix, head by head, with key head = head // 2.
    for encoded in toy.encode_image(toy_images):
        ids = [1, 50, 60, 2, 3]
        got = toy.generate([encoded], [[ids]], 1)[0][0]
        logits = naive_logits(toy, encoded, ids)[-1]
        assert got.ids == (int(logits.argmax()),) or got.finish == "eos"
        assert got.logprob == pytest.approx(float(logits.log_softmax(-1).max()), abs=1e-4)


def test_select_shares_memory_of_neighbours() -> None:
    keys, values = (tuple(torch.randn(4, 1, 3, 2) for _ in range(2)) for _ in range(2))
    prefix = Prefix(keys, values, 3)
    assert prefix.select([1, 2]).keys[1].data_ptr() == keys[1][1].data_ptr()
    assert torch.equal(prefix.select([0, 3]).values[0], values[0][[0, 3]])
    assert (len(prefix), prefix.length, prefix.mask) == (4, 3, None)
    joined = Prefix.join([prefix.select([2]), prefix.select([0])])
    assert torch.equal(joined.keys[1], keys[1][[2, 0]])


def test_padding_is_hidden() -> None:
    keys = (torch.randn(1, 1, 5, 2),)
    mask = Prefix(keys, keys, 3).mask
    assert mask is not None
    assert mask.tolist() == [[[[0.0, 0.0, 0.0, float("-inf"), float("-inf")]]]]


def test_keys_are_not_normed_logits_are_float32(toy: Moondream) -> None:
    text = toy.network.text.to(torch.float32)
    assert text.logits(torch.randn(2, 32)).dtype == torch.float32
