import pytest
import torch
from torch.nn import functional

from streamqa.model.moondream.layers import MLP, Dense, paired, rope, rotate_


def turned(x: torch.Tensor, turn: torch.Tensor, in_pairs: bool = False) -> torch.Tensor:
    x = x.clone()
    rotate_(x, turn, in_pairs)
    return x


def test_rotation_pairs_halves_and_leaves_the_rest() -> None:
    turn = rope(torch.tensor([0, 3]), 4, 10000.0)
    x = torch.tensor([[[1.0, 0.0, 0.0, 0.0, 5.0, 6.0]]]).expand(2, 1, 6)
    got = turned(x, turn)
    assert got[0, 0].tolist() == [1, 0, 0, 0, 5, 6]
    angle = torch.tensor(3.0)
    expected = torch.stack([angle.cos(), 0 * angle, angle.sin(), 0 * angle, 0 * angle + 5, 0 * angle + 6])
    torch.testing.assert_close(got[1, 0], expected)


@pytest.mark.parametrize("in_pairs", [False, True])
def test_rotation_is_computed_in_float32(in_pairs: bool) -> None:
    turn = rope(torch.tensor([1500]), 8, 10000.0)
    assert turn.dtype == torch.complex64
    x = torch.randn(1, 3, 12, dtype=torch.bfloat16)
    expected = turned(x.float(), turn, in_pairs).bfloat16()
    torch.testing.assert_close(turned(x, turn, in_pairs), expected, atol=0, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pairs_side_by_side_give_the_same_scores(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    heads, width, half = 3, 12, 4
    weight, bias = torch.randn(5 * width, 7).to(dtype), torch.randn(5 * width).to(dtype)
    x, turn = torch.randn(6, 7).to(dtype), rope(torch.arange(6), 2 * half, 10000.0)

    def rows(in_pairs: bool) -> torch.Tensor:
        w, b = (paired(t, heads, width, half) if in_pairs else t for t in (weight, bias))
        out = functional.linear(x, w, b).view(6, 5, width)
        rotate_(out[:, :heads], turn, in_pairs)
        return out.float()

    plain, fast = rows(False), rows(True)
    torch.testing.assert_close(fast[:, heads:], plain[:, heads:])  # values stay where they are
    torch.testing.assert_close(
        torch.einsum("qhd,khd->qkh", fast[:, :heads], fast[:, :heads]),
        torch.einsum("qhd,khd->qkh", plain[:, :heads], plain[:, :heads]),
        atol=1e-4,
        rtol=1e-4,
    )


def test_gelu_is_the_tanh_approximation() -> None:
    mlp = MLP(1, 1, 1)
    for p, value in zip(mlp.parameters(), (1.0, 0.0, 1.0, 0.0), strict=True):
        torch.nn.init.constant_(p, value)
    x = torch.tensor([[1.5]])
    torch.testing.assert_close(mlp(x), functional.gelu(x, approximate="tanh"), atol=0, rtol=0)


def test_a_kernel_takes_the_place_of_the_weights() -> None:
    layer = Dense(2, 3)
    asked: list[bool] = []

    def kernel(x: torch.Tensor, gelu: bool) -> torch.Tensor:
        asked.append(gelu)
        return x[..., :1]

    layer.kernel = kernel
    assert layer(torch.ones(4, 2)).shape == layer.gelu(torch.ones(4, 2)).shape == (4, 1)
    assert asked == [False, True]
