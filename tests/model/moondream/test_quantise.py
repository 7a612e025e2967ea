from pathlib import Path
from typing import Any

import pytest
import torch

from streamqa.errors import ModelError
from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.prepare import OneDnnKernel, dense_layers, prepare
from streamqa.model.moondream.quantise import Int8Kernel, has_int8, quantise
from streamqa.types import Option, Prompt, Request

YES_NO = (Option(True, ("Yes",)), Option(False, ("No",)))
needs_int8 = pytest.mark.skipif(not has_int8(), reason="this torch was built without oneDNN's int8")


@needs_int8
@pytest.mark.parametrize("gelu", [False, True])
@torch.inference_mode()
def test_int8_is_near(gelu: bool) -> None:
    torch.manual_seed(0)
    x, weight, bias = (
        torch.randn(37, 64).bfloat16(),
        torch.randn(48, 64).bfloat16(),
        torch.randn(48).bfloat16(),
    )
    exact = torch.nn.functional.linear(x.float(), weight.float(), bias.float())
    exact = torch.nn.functional.gelu(exact, approximate="tanh") if gelu else exact
    got = Int8Kernel(weight, bias)(x, gelu)
    assert got.dtype == torch.bfloat16
    # 127 steps for 4 standard deviations, rounded twice: 1.3 % and the like were measured
    assert (got.float() - exact).norm() / exact.norm() < 0.025


@needs_int8
@torch.inference_mode()
def test_int8_of_nothing_is_the_bias() -> None:
    kernel = Int8Kernel(torch.zeros(3, 8).bfloat16(), torch.tensor([1.0, 2.0, 3.0]).bfloat16())
    assert kernel(torch.zeros(2, 8).bfloat16(), False).tolist() == [[1.0, 2.0, 3.0]] * 2


@needs_int8
def test_int8_answers_stay_near_the_exact_ones(toy_dir: Path, toy_images: list[Any]) -> None:
    plain, fast = (Moondream.from_pretrained(toy_dir, dtype=torch.bfloat16) for _ in range(2))
    prepare(fast.network, "int8")
    kinds = [type(layer.kernel) for layer in dense_layers(fast.network)]
    assert kinds.count(Int8Kernel) == 4 * fast.config.text.n_layers + 2
    assert isinstance(fast.network.text.lm_head.kernel, OneDnnKernel)
    for a, b in zip(plain.encode_image(toy_images), fast.encode_image(toy_images), strict=True):
        assert 0 < (a.tokens.float() - b.tokens.float()).norm() <= 0.1 * a.tokens.float().norm()
    asked = [
        Request(image, (Prompt("Is it?", options=YES_NO), Prompt("What?", max_tokens=3)))
        for image in toy_images
    ]
    assert {g.finish for group in fast.answer(asked) for g in group} <= {"scored", "eos", "length"}


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp8", torch.bfloat16), ("int8", torch.float32), ("fp8", torch.float32)]
)
def test_arithmetic_that_the_device_has_not(toy_dir: Path, precision: Any, dtype: torch.dtype) -> None:
    network = Moondream.from_pretrained(toy_dir, dtype=dtype).network
    with pytest.raises(ModelError, match=rf"precision {precision} on cpu .* leave precision out"):
        prepare(network, precision)
    with pytest.raises(ModelError, match="compute capability"):
        quantise(network, precision)


@pytest.mark.gpu
@torch.inference_mode()
def test_fp8_is_near() -> None:
    if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("needs a CUDA device of compute capability 8.9")
    from streamqa.model.moondream.quantise import Fp8Kernel

    torch.manual_seed(0)
    x, weight = (torch.randn(64, 128, device="cuda").bfloat16() for _ in range(2))
    bias = torch.randn(64, device="cuda").bfloat16()
    exact = torch.nn.functional.linear(x.float(), weight.float(), bias.float())
    got = Fp8Kernel(weight, bias)(x, False)
    assert (got.float() - exact).norm() / exact.norm() < 0.06
