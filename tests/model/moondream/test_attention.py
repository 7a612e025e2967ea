import pytest
import torch
from torch.nn import functional

from streamqa.model.moondream.attention import attend_part, gpu_kernel, merge_rows

Part = tuple[torch.Tensor, torch.Tensor]


def _qkv(groups: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(3, 2 * groups, 5, 8), torch.randn(3, 2, 11, 8), torch.randn(3, 2, 11, 8)


def _rows(part: Part) -> Part:
    return part[0].transpose(1, 2).flatten(0, 1), part[1].transpose(1, 2).flatten(0, 1)


def _dense(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
    """Query heads share a key head in runs (0 0 0 1 1 1), not in turns (0 1 0 1 0 1)."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    return functional.scaled_dot_product_attention(q, k, v, seen)


@pytest.mark.parametrize("groups", [1, 3])
def test_parts_merge_to_the_whole(groups: int) -> None:
    q, k, v = _qkv(groups)
    a, b = (_rows(attend_part(q, k[:, :, s], v[:, :, s])) for s in (slice(0, 4), slice(4, 11)))
    torch.testing.assert_close(merge_rows(a, b), _dense(q, k, v, None).transpose(1, 2).flatten(0, 1))


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("shape", [(3, 5), (1, 5), (1, 1)])
def test_mask_hides_keys(groups: int, shape: tuple[int, int]) -> None:
    q, k, v = _qkv(groups)
    seen = torch.ones(5, 11).tril(3).bool()[: shape[1]].expand(shape[0], 1, shape[1], 11)
    mask = torch.zeros(seen.shape).masked_fill(~seen, float("-inf"))
    got, lse = attend_part(q, k, v, mask)
    torch.testing.assert_close(got, _dense(q, k, v, seen.expand(3, 1, 5, 11)))
    scores = q @ k.repeat_interleave(groups, 1).transpose(-1, -2) / 8**0.5 + mask
    torch.testing.assert_close(lse, scores.logsumexp(-1))


@pytest.mark.parametrize("masked", [False, True])
def test_written_out_equals_the_fused_kernel(masked: bool) -> None:
    # What devices without a kernel of their own do, here on tensors that have no device kernel.
    q, k, v = _qkv(1)
    mask = torch.zeros(1, 1, 1, 11)
    mask[..., 7:] = float("-inf") if masked else 0.0
    fused = attend_part(q, k, v, mask if masked else None)
    double = attend_part(q.to("cpu").double(), k.double(), v.double(), mask.double() if masked else None)
    torch.testing.assert_close(fused[0], double[0].float())
    torch.testing.assert_close(fused[1], double[1].float())


def test_merge_survives_extreme_scores() -> None:
    torch.manual_seed(2)
    q, k, v = torch.randn(1, 1, 2, 4) * 100, torch.randn(1, 1, 6, 4) * 100, torch.randn(1, 1, 6, 4)
    a, b = (_rows(attend_part(q, k[:, :, s], v[:, :, s])) for s in (slice(0, 1), slice(1, 6)))
    expected = functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(merge_rows(a, b), expected.transpose(1, 2).flatten(0, 1))


def test_odd_numbers_of_keys_and_bfloat16() -> None:
    torch.manual_seed(3)
    q, k, v = (torch.randn(2, 3, 19, 72).bfloat16() for _ in range(3))
    got, lse = attend_part(q, k, v)
    expected = functional.scaled_dot_product_attention(q.float(), k.float(), v.float())
    torch.testing.assert_close(got.float(), expected, atol=2e-2, rtol=2e-2)
    assert lse.dtype == torch.float32


def test_old_gpus_and_float32_do_without_flash_attention() -> None:
    assert gpu_kernel(torch.bfloat16, (9, 0)) == gpu_kernel(torch.float16, (8, 0)) == "flash"
    assert gpu_kernel(torch.float16, (7, 5)) == gpu_kernel(torch.float32, (9, 0)) == "efficient"


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("width", [64, 72])
def test_kernels_of_the_gpu(dtype: torch.dtype, width: int) -> None:
    torch.manual_seed(4)
    q, k, v = (torch.randn(2, 3, rows, width) for rows in (19, 730, 730))
    got, lse = attend_part(*(t.to("cuda", dtype) for t in (q, k, v)))
    expected = attend_part(q, k, v)
    torch.testing.assert_close(got.float().cpu(), expected[0], atol=5e-3, rtol=5e-3)
    torch.testing.assert_close(lse.float().cpu(), expected[1], atol=5e-3, rtol=5e-3)
