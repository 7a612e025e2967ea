import pytest
import torch
from torch.nn import functional

from streamqa.model.moondream.layers import MLP, merge_attention, partial_attention, rope, rotate


def _qkv(groups: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(3, 2 * groups, 5, 8), torch.randn(3, 2, 11, 8), torch.randn(3, 2, 11, 8)


@pytest.mark.parametrize("groups", [1, 3])
def test_parts_merge_to_the_whole(groups: int) -> None:
    q, k, v = _qkv(groups)
    # Query heads share a key head in runs (0 0 0 1 1 1), not in turns (0 1 0 1 0 1).
    whole = functional.scaled_dot_product_attention(
        q, k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1), scale=1.0
    )
    parts = [partial_attention(q, k[:, :, s], v[:, :, s], None) for s in (slice(0, 4), slice(4, 11))]
    torch.testing.assert_close(merge_attention(parts[0], parts[1]), whole)


@pytest.mark.parametrize("groups", [1, 3])
def test_mask_hides_keys(groups: int) -> None:
    q, k, v = _qkv(groups)
    mask = torch.ones(5, 11).tril(3).bool().expand(3, 5, 11)
    expected = functional.scaled_dot_product_attention(
        q, k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1), mask[:, None], scale=1.0
    )
    torch.testing.assert_close(partial_attention(q, k, v, mask)[0], expected)


def test_merge_survives_extreme_scores() -> None:
    torch.manual_seed(2)
    q, k, v = torch.randn(1, 1, 2, 4) * 100, torch.randn(1, 1, 6, 4) * 100, torch.randn(1, 1, 6, 4)
    parts = [partial_attention(q, k[:, :, s], v[:, :, s], None) for s in (slice(0, 1), slice(1, 6))]
    expected = functional.scaled_dot_product_attention(q, k, v, scale=1.0)
    torch.testing.assert_close(merge_attention(parts[0], parts[1]), expected)


def test_rotation_pairs_halves_and_leaves_the_rest() -> None:
    cos, sin = rope(torch.tensor([0, 3]), 4, 10000.0)
    x = torch.tensor([[[1.0, 0.0, 0.0, 0.0, 5.0, 6.0]]]).expand(2, 1, 6)
    turned = rotate(x, cos, sin)
    assert turned[0, 0].tolist() == [1, 0, 0, 0, 5, 6]
    angle = torch.tensor(3.0)
    expected = torch.stack([angle.cos(), 0 * angle, angle.sin(), 0 * angle, 0 * angle + 5, 0 * angle + 6])
    torch.testing.assert_close(turned[1, 0], expected)


def test_rotation_is_computed_in_float32() -> None:
    cos, sin = rope(torch.tensor([1500]), 8, 10000.0)
    assert cos.dtype == torch.float32
    x = torch.randn(1, 1, 8, dtype=torch.bfloat16)
    torch.testing.assert_close(rotate(x, cos, sin), rotate(x.float(), cos, sin).bfloat16(), atol=0, rtol=0)


def test_gelu_is_the_tanh_approximation() -> None:
    mlp = MLP(1, 1, 1)
    for p, value in zip(mlp.parameters(), (1.0, 0.0, 1.0, 0.0), strict=True):
        torch.nn.init.constant_(p, value)
    x = torch.tensor([[1.5]])
    torch.testing.assert_close(mlp(x), functional.gelu(x, approximate="tanh"), atol=0, rtol=0)
