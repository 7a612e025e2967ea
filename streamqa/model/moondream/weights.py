"""Reading `model.safetensors`, strictly: every tensor is where the config says, and there is no other."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from streamqa.errors import ModelError
from streamqa.model.moondream.config import MoondreamConfig
from streamqa.model.moondream.network import Network

# From the names before 2025 (and of training) to the released ones, applied in order.
_ORIGINAL = [
    (re.compile(pattern), name)
    for pattern, name in [
        (r"^vision_encoder\.encoder\.model\.visual\.patch_embed\.linear\.", "vision.patch_emb."),
        (r"^vision_encoder\.encoder\.model\.visual\.norm\.", "vision.post_ln."),
        (r"^vision_encoder\.encoder\.model\.visual\.pos_embed$", "vision.pos_emb"),
        (r"^vision_encoder\.encoder\.model\.visual\.", "vision."),
        (r"^vision_encoder\.projection\.mlp\.", "vision.proj_mlp."),
        (r"^(vision\.blocks\.\d+)\.norm([12])\.", r"\1.ln\2."),
        (r"^text_model\.transformer\.embd\.wte\.weight$", "text.wte"),
        (r"^text_model\.transformer\.h\.", "text.blocks."),
        (r"\.mixer\.Wqkv\.", ".attn.qkv."),
        (r"\.mixer\.out_proj\.", ".attn.proj."),
        (r"^text_model\.lm_head\.ln\.", "text.post_ln."),
        (r"^text_model\.lm_head\.linear\.", "text.lm_head."),
        (r"^region_model\.(coordinate|size)_features\.weight$", r"region.\1_features"),
        (r"^region_model\.", "region."),
        (r"^region\.coordinate_", "region.coord_"),
    ]
]
_TRANSPOSED = re.compile(r"region_model\.(coordinate|size)_features\.weight$")
# Integers and 8-bit floats are quantised: they need scales that nothing here reads, and would load as nonsense.
_DTYPES = ("F64", "F32", "F16", "BF16")
_NAMED = 5  # keys that a message lists before it counts


def released_name(key: str) -> tuple[str, bool]:
    """The network's name for a key of any naming, and whether its tensor is stored transposed."""
    key = key.replace("._orig_mod", "").removeprefix("_orig_mod.").removeprefix("model.")
    transposed = _TRANSPOSED.match(key) is not None
    for pattern, name in _ORIGINAL:
        key = pattern.sub(name, key)
    return key, transposed


def load_network(path: Path, config: MoondreamConfig, device: torch.device, dtype: torch.dtype) -> Network:
    """A network with the weights in `path`.

    Raises:
        ModelError: the file is damaged, its tensors are not exactly those of the config, or not finite.
    """
    with torch.device("meta"):
        network = Network(config)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    try:
        with safe_open(path, framework="pt") as file:
            keys = _match(file, expected, path)
            tensors = {name: _read(file, path, *source).to(device, dtype) for name, source in keys.items()}
    except (SafetensorError, OSError) as error:
        problem = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: damaged or cut off ({problem}); download it again") from error
    network.load_state_dict(tensors, strict=True, assign=True)
    return network.requires_grad_(False).eval()


def _match(file: Any, expected: dict[str, tuple[int, ...]], path: Path) -> dict[str, tuple[str, bool]]:
    """The network's names -> key in the file and whether transposed; nothing is read before all of it fits."""
    found: dict[str, tuple[str, bool]] = {}
    extra, misshapen, mistyped = [], [], []
    for key in file.keys():  # noqa: SIM118 (not a mapping)
        name, transposed = released_name(key)
        if name not in expected or name in found:
            extra.append(key)
            continue
        found[name] = (key, transposed)
        stored = file.get_slice(key)
        if stored.get_dtype() not in _DTYPES:
            mistyped.append(f"{key} {stored.get_dtype()} instead of {', '.join(_DTYPES)}")
        shape = tuple(stored.get_shape())
        shape = shape[::-1] if transposed else shape
        if shape != expected[name]:
            misshapen.append(f"{key} {list(shape)} instead of {list(expected[name])}")
    missing = [name for name in expected if name not in found]
    problems = [
        ("missing", missing),
        ("extra", extra),
        ("wrong shape", misshapen),
        ("wrong type", mistyped),
    ]
    parts = [f"{len(keys)} {what}: {_listed(keys)}" for what, keys in problems if keys]
    if parts:
        raise ModelError(f"{path}: not the weights of this moondream2 config; {'; '.join(parts)}")
    return found


def _read(file: Any, path: Path, key: str, transposed: bool) -> Tensor:
    """A tensor as the file has it; refused where it would make every answer nonsense.

    The extremes take 0.9 s for the whole of the released weights on two cores, `isfinite` 13 s (measured, bfloat16).
    Whether the numbers fit another type is for the caller, who chose it.
    """
    tensor: Tensor = file.get_tensor(key)
    if not all(math.isfinite(extreme) for extreme in tensor.aminmax()):
        raise ModelError(f"{path}: damaged: {key} has numbers that are not finite; download it again")
    return (tensor.t() if transposed else tensor).contiguous()


def _listed(keys: list[str]) -> str:
    more = len(keys) - _NAMED
    return ", ".join(keys[:_NAMED]) + (f" and {more} more" if more > 0 else "")
