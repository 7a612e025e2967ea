import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from streamqa.errors import ModelError
from streamqa.model.moondream.config import MoondreamConfig
from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.network import Network
from streamqa.model.moondream.weights import load_network, released_name

CPU = torch.device("cpu")


def _load(path: Path, config: MoondreamConfig, dtype: torch.dtype = torch.float32) -> Network:
    return load_network(path, config, CPU, dtype)


def _same(a: Network, b: Network) -> bool:
    return all(torch.equal(x, b.state_dict()[name]) for name, x in a.state_dict().items())


def test_original_names_load_the_same(golden: Any, tmp_path: Path) -> None:
    naming = json.loads((golden.directory / "original_key_names.json").read_text())
    released = load_file(golden.directory / "model.safetensors")
    original = {}
    for key, tensor in released.items():
        name = naming[key]["original"]
        # torch.compile leaves its mark inside names of training checkpoints
        name = name.replace("transformer.", "transformer._orig_mod.").replace(
            "visual.blocks", "visual._orig_mod.blocks"
        )
        original[name] = (tensor.t() if naming[key]["transpose"] else tensor).contiguous()
    assert original.keys() != released.keys()
    save_file(original, tmp_path / "model.safetensors")
    assert _same(_load(tmp_path / "model.safetensors", golden.model.config), golden.model.network)


def test_released_names_with_and_without_prefix(golden: Any, tmp_path: Path) -> None:
    tensors = load_file(golden.directory / "model.safetensors")
    save_file({name.removeprefix("model."): t for name, t in tensors.items()}, tmp_path / "model.safetensors")
    assert _same(_load(tmp_path / "model.safetensors", golden.model.config), golden.model.network)


def test_names() -> None:
    assert released_name("model.text.blocks.0.attn.qkv.weight") == ("text.blocks.0.attn.qkv.weight", False)
    assert released_name("region_model._orig_mod.size_features.weight") == ("region.size_features", True)
    assert released_name("text_model.lm_head.ln.bias") == ("text.post_ln.bias", False)


def test_dtype_is_converted(toy_dir: Path, toy_config: MoondreamConfig) -> None:
    network = _load(toy_dir / "model.safetensors", toy_config, torch.bfloat16)
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
    assert not any(p.requires_grad for p in network.parameters())
    assert not network.training


def _refusal(path: Path, config: MoondreamConfig) -> str:
    with pytest.raises(ModelError) as caught:
        _load(path, config)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_every_mismatch_is_named(toy_dir: Path, toy_config: MoondreamConfig, tmp_path: Path) -> None:
    tensors = load_file(toy_dir / "model.safetensors")
    del tensors["model.text.post_ln.bias"]
    tensors["model.text.stranger"] = torch.zeros(1)
    tensors["model.region.size_features"] = torch.zeros(3, 4)
    save_file(tensors, tmp_path / "model.safetensors")
    message = _refusal(tmp_path / "model.safetensors", toy_config)
    assert "1 missing: text.post_ln.bias" in message
    assert "1 extra: model.text.stranger" in message
    assert "1 wrong shape: model.region.size_features [3, 4] instead of [2, 4]" in message


@pytest.mark.parametrize(
    ("dtype", "found"), [(torch.int8, "I8"), (torch.float8_e4m3fn, "F8_E4M3"), (torch.int64, "I64")]
)
def test_quantised_weights_are_refused(
    toy_dir: Path, toy_config: MoondreamConfig, tmp_path: Path, dtype: torch.dtype, found: str
) -> None:
    tensors = load_file(toy_dir / "model.safetensors")
    tensors["model.text.wte"] = tensors["model.text.wte"].to(dtype)
    save_file(tensors, tmp_path / "model.safetensors")
    message = _refusal(tmp_path / "model.safetensors", toy_config)
    assert f"1 wrong type: model.text.wte {found} instead of F64, F32, F16, BF16" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite(
    toy_dir: Path, toy_config: MoondreamConfig, tmp_path: Path, value: float
) -> None:
    tensors = load_file(toy_dir / "model.safetensors")
    tensors["model.region.coord_decoder.fc2.bias"][5] = value
    save_file(tensors, tmp_path / "model.safetensors")
    message = _refusal(tmp_path / "model.safetensors", toy_config)
    assert "model.region.coord_decoder.fc2.bias has numbers that are not finite" in message


def test_any_float_is_read(toy_dir: Path, toy_config: MoondreamConfig, tmp_path: Path) -> None:
    tensors = load_file(toy_dir / "model.safetensors")
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        path = tmp_path / f"{dtype}.safetensors"
        save_file({name: tensor.to(dtype) for name, tensor in tensors.items()}, path)
        assert {p.dtype for p in _load(path, toy_config).parameters()} == {torch.float32}


def test_transposed_linear_is_a_wrong_shape(
    toy_dir: Path, toy_config: MoondreamConfig, tmp_path: Path
) -> None:
    tensors = load_file(toy_dir / "model.safetensors")
    name = "model.text.blocks.1.mlp.fc1.weight"
    tensors[name] = tensors[name].t().contiguous()
    save_file(tensors, tmp_path / "model.safetensors")
    message = _refusal(tmp_path / "model.safetensors", toy_config)
    assert f"1 wrong shape: {name} [32, 64] instead of [64, 32]" in message


def test_weights_of_another_model(toy_config: MoondreamConfig, tmp_path: Path) -> None:
    save_file({f"layers.{n}.weight": torch.zeros(2, 2) for n in range(9)}, tmp_path / "model.safetensors")
    message = _refusal(tmp_path / "model.safetensors", toy_config)
    assert "9 extra: layers.0.weight" in message
    assert "missing: vision." in message


def test_flipped_bits_in_the_header(toy_dir: Path, toy_config: MoondreamConfig, tmp_path: Path) -> None:
    whole = (toy_dir / "model.safetensors").read_bytes()
    path = tmp_path / "model.safetensors"
    for place in (0, 3, 7, 8, 9, 60, 200):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        _refusal(path, toy_config)


def test_long_lists_are_counted(toy_dir: Path) -> None:
    message = _refusal(toy_dir / "model.safetensors", MoondreamConfig())
    assert "missing" in message
    assert "more" in message
    assert len(message) < 1500


def test_one_tensor_under_two_names_is_extra(
    toy_dir: Path, toy_config: MoondreamConfig, tmp_path: Path
) -> None:
    tensors = load_file(toy_dir / "model.safetensors")
    tensors["text.wte"] = tensors["model.text.wte"].clone()
    save_file(tensors, tmp_path / "model.safetensors")
    assert "1 extra" in _refusal(tmp_path / "model.safetensors", toy_config)


@pytest.mark.parametrize("keep", [0, 4, 100, 5000, -7])
def test_cut_off_file(toy_dir: Path, toy_config: MoondreamConfig, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes((toy_dir / "model.safetensors").read_bytes()[:keep])
    assert "damaged" in _refusal(path, toy_config)


def test_file_that_is_something_else(toy_config: MoondreamConfig, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"<html>not found</html>" * 100)
    assert "damaged" in _refusal(path, toy_config)


def test_missing_file(toy_config: MoondreamConfig, tmp_path: Path) -> None:
    _refusal(tmp_path / "model.safetensors", toy_config)


def test_2024_weights_are_refused(toy_dir: Path, toy_config: MoondreamConfig, tmp_path: Path) -> None:
    # Before 2025 the projector was one feature wide, and there was no coordinate encoder.
    tensors = load_file(toy_dir / "model.safetensors")
    tensors = {k: v for k, v in tensors.items() if "region" not in k}
    tensors["model.vision.proj_mlp.fc1.weight"] = torch.zeros(24, 16)
    save_file(tensors, tmp_path / "model.safetensors")
    message = _refusal(tmp_path / "model.safetensors", toy_config)
    assert "region." in message
    assert "proj_mlp" in message


def test_directory_opens(toy_dir: Path) -> None:
    assert Moondream.from_pretrained(str(toy_dir)).info.label == "moondream2@2025-06-21"
