from pathlib import Path
from typing import Any

import pytest
import torch

from streamqa.model.moondream.config import MoondreamConfig
from streamqa.model.moondream.fused import FusedBlock
from streamqa.model.moondream.layers import rope
from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.network import Network
from streamqa.model.moondream.prepare import fuse
from streamqa.model.moondream.text import TextBlock
from streamqa.types import Option, Prompt, Request
from tests.model.moondream.conftest import TOY

YES_NO = (Option(True, ("Yes",)), Option(False, ("No",)))


@pytest.mark.parametrize("heads", [{"n_heads": 4, "n_kv_heads": 4}, {"n_heads": 4, "n_kv_heads": 2}])
@torch.inference_mode()
def test_a_fused_layer_is_the_layer(heads: dict[str, int]) -> None:
    config = MoondreamConfig.from_dict({**TOY, "text": {**TOY["text"], **heads}}).text  # type: ignore[dict-item]
    torch.manual_seed(0)
    block = TextBlock(config)
    fused = FusedBlock(block)
    x, turn = torch.randn(7, config.dim), rope(torch.arange(7), config.rotary_dim, config.rope_theta)
    plain, got = block.open(x, turn), fused.open(x, turn)
    for mine, other in zip(got[:3], plain[:3], strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)
    # The last rows only, as where the pictures' rows end.
    seen = torch.randn(4, config.n_heads, config.head_dim)
    torch.testing.assert_close(
        fused.close(x[3:], seen, got.rest[3:]), block.close(x[3:], seen, plain.rest[3:]), atol=1e-5, rtol=1e-5
    )


def test_no_weight_is_held_twice(golden: Any) -> None:
    network = Network(golden.model.config)
    before = sum(p.numel() for p in network.parameters())
    fuse(network)
    biases = network.config.text.n_layers * network.config.text.dim  # two of each layer became one
    assert sum(p.numel() for p in network.parameters()) == before - biases
    assert all(isinstance(block, FusedBlock) for block in network.text.blocks)


def test_fused_answers_are_those_of_the_plain_layout(toy_dir: Path, toy_images: list[Any]) -> None:
    plain, fused = (Moondream.from_pretrained(toy_dir) for _ in range(2))
    fuse(fused.network)
    prompts = (Prompt("Is it?", options=YES_NO), Prompt("What?", max_tokens=5), Prompt("it", task="point"))
    requests = [Request(image, prompts) for image in toy_images]
    for mine, other in zip(fused.answer(requests), plain.answer(requests), strict=True):
        assert mine[0].option_probs == pytest.approx(other[0].option_probs, abs=1e-4)
        assert [(g.text, g.points) for g in mine[1:]] == [(g.text, g.points) for g in other[1:]]
