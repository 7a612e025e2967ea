"""Turns a checkpoint into the files that ship: `python -m streamqa.model.tiny.export CHECKPOINT DIRECTORY`."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from streamqa.model.tiny.sizes import Sizes, config

PREFIX = "model."


def released(means: dict[str, Tensor]) -> dict[str, Tensor]:
    """The averaged weights under the released names, fp16; what only training used is left out."""
    own = "network."
    return {
        PREFIX + name.removeprefix(own): value.half().contiguous()
        for name, value in means.items()
        if name.startswith(own)
    }


def export(checkpoint: Path, directory: Path) -> dict[str, Any]:
    """Write `model.safetensors`, `config.json`, `tokenizer.json`; gives recipe, steps done and sha256 by file."""
    state: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    recipe = state["recipe"]
    directory.mkdir(parents=True, exist_ok=True)
    weights = released(state["optimizer"]["means"])
    bad = [name for name, value in weights.items() if not bool(value.isfinite().all())]
    if bad:
        raise ValueError(f"not finite in fp16: {bad}")
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    sizes = config(Sizes(**recipe["sizes"]))
    (directory / "config.json").write_text(json.dumps(sizes, indent=1) + "\n", encoding="utf-8")
    shutil.copyfile(checkpoint.parent / "tokenizer.json", directory / "tokenizer.json")
    names = ("model.safetensors", "config.json", "tokenizer.json")
    return {
        "recipe": recipe,
        "steps": state["step"],
        "parameters": sum(value.numel() for value in weights.values()),
        "sha256": {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names},
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("directory", type=Path)
    options = parser.parse_args()
    print(json.dumps(export(options.checkpoint, options.directory), indent=1))


if __name__ == "__main__":
    main()
