import os
from pathlib import Path
from typing import Any

import pytest
import torch

from streamqa.model.moondream import prepare as preparing
from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.prepare import (
    CPU_SLOT_STEP,
    OneDnnKernel,
    dense_layers,
    has_onednn,
    prepare,
    release,
    usable_cores,
)
from streamqa.types import Option, Prompt, Request

YES_NO = (Option(True, ("Yes",)), Option(False, ("No",)))

needs_onednn = pytest.mark.skipif(not has_onednn(), reason="this torch was built without oneDNN")


@needs_onednn
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7)])
@torch.inference_mode()
def test_onednn_gives_the_same_numbers(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x, weight, bias = (torch.randn(s).to(dtype) for s in (shape, (5, 7), (5,)))
    kernel = OneDnnKernel(weight, bias)
    plain = torch.nn.functional.linear(x, weight, bias)
    torch.testing.assert_close(kernel(x, False), plain)
    expected = torch.nn.functional.gelu(plain.float(), approximate="tanh").to(dtype)
    torch.testing.assert_close(kernel(x, True), expected, atol=2e-2, rtol=2e-2)


@needs_onednn
def test_prepared_answers_are_those_of_the_plain_layout(toy_dir: Path, toy_images: list[Any]) -> None:
    plain, fast = (Moondream.from_pretrained(toy_dir, dtype=torch.bfloat16) for _ in range(2))
    prepare(fast.network)
    assert fast.network.text.slot_step == CPU_SLOT_STEP
    assert all(layer.kernel and layer.weight.numel() == 0 for layer in dense_layers(fast.network))
    requests = [Request(image, (Prompt("Is it?", options=YES_NO),)) for image in toy_images]
    for (one,), (other,) in zip(plain.answer(requests), fast.answer(requests), strict=True):
        assert one.option_probs == pytest.approx(other.option_probs, abs=0.02)
    for a, b in zip(plain.encode_image(toy_images), fast.encode_image(toy_images), strict=True):
        assert (a.tokens.float() - b.tokens.float()).norm() <= 0.03 * a.tokens.float().norm()


def test_small_models_in_float32_stay_as_they_are(toy_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Moondream.from_pretrained(toy_dir)
    prepare(model.network)
    assert all(layer.kernel is None for layer in dense_layers(model.network))
    if has_onednn():
        taken: list[bool] = []
        monkeypatch.setattr(preparing, "keep_memory", lambda: taken.append(True))
        monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
        monkeypatch.setattr(preparing, "is_large", lambda _: True)
        prepare(model.network)
        assert model.network.text.lm_head.kernel is not None
        assert taken == [True]


def test_released_weights_are_gone(toy_dir: Path) -> None:
    model = Moondream.from_pretrained(toy_dir, dtype=torch.bfloat16)
    prepare(model.network)
    release(model.network)
    assert model.network.device.type == "meta"
    assert all(layer.kernel is None for layer in dense_layers(model.network))


def test_usable_cores_know_the_containers_share(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(preparing, "_CPU_QUOTA", quota)
    assert usable_cores() == 8
    for text, cores in (("max 100000", 8), ("150000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8)):
        quota.write_text(text + "\n")
        assert usable_cores() == cores
