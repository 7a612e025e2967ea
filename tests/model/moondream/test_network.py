from typing import Any

import torch

from streamqa.model.moondream.config import MoondreamConfig
from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.network import Network
from streamqa.model.moondream.packing import Session
from streamqa.model.moondream.prompts import PromptIds, Ref


def test_released_model_has_the_released_tensors() -> None:
    with torch.device("meta"):
        tensors = Network(MoondreamConfig()).state_dict()
    assert len(tensors) == 592
    assert sum(tensor.numel() for tensor in tensors.values()) == 1_927_237_104
    assert tuple(tensors["text.blocks.23.attn.qkv.weight"].shape) == (6144, 2048)
    assert tuple(tensors["vision.proj_mlp.fc1.weight"].shape) == (8192, 2304)
    assert tuple(tensors["region.size_features"].shape) == (2, 256)


def test_nothing_but_weights_is_stored() -> None:
    with torch.device("meta"):
        assert list(Network(MoondreamConfig()).buffers()) == []


def test_references_overwrite_their_placeholders_only(toy: Moondream) -> None:
    region, wte = toy.network.region, toy.network.text.wte
    box = Ref.of((0.25, 0.5, 0.75, 1.0))
    assert box.size is not None
    plain, marked = PromptIds((1, 5, 6)), PromptIds((1, 5, 5, 6, 50, 5), box.centre, (box.size,))
    x: Any = toy.network.embed([plain, marked], [[7], []])
    assert torch.equal(x[:5], wte[[1, 5, 6, 7, 1]])
    torch.testing.assert_close(x[5:7], region.embed_coord(torch.tensor([[0.5], [0.75]])))
    torch.testing.assert_close(x[7:8], region.embed_size(torch.tensor([[0.5, 0.5]])))
    assert torch.equal(x[8:], wte[[50, 5]])


def test_everything_follows_the_weights_to_their_device() -> None:
    # The meta device stands in for a GPU: an operation that mixes it with the CPU fails.
    with torch.device("meta"):
        network = Network(MoondreamConfig()).bfloat16()
    crops = torch.empty(10, 378, 378, 3, dtype=torch.uint8, device="meta")
    tokens = network.vision(crops, [(1, 1), (2, 4)])
    assert tokens.shape == (2, 729, 2048)
    prefix = network.prefix(tokens)
    assert [tuple(k.shape) for k in prefix.keys] == [(2, 32, 730, 64)] * 24
    prompts = [PromptIds((1, 5, 5, 6, 9), (0.5, 0.5), ((1.0, 1.0),)), PromptIds((1, 2)), PromptIds((3,))]
    rows = network.embed(prompts), [5, 2, 1]
    alike = Session(network.text, prefix, [0, 0, 1]).feed(*rows)
    session, hidden = network.look(tokens, [0, 0, 1], (*rows, []))
    assert hidden.shape == alike.shape == (8, 2048)
    session.keep([0, 2])
    hidden = session.feed(network.text.embed(hidden[:2].argmax(-1)), [1, 1])
    assert network.text.logits(hidden).shape == (2, 51200)
    region = network.region
    for embedded in (
        region.embed_coord(region.decode_coord(hidden)),
        region.embed_size(region.decode_size(hidden)),
    ):
        assert (embedded.shape, embedded.device.type, embedded.dtype) == ((2, 2048), "meta", torch.bfloat16)
