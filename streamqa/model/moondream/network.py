"""The whole network: the three parts under the names of the released weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from streamqa.model.moondream.config import MoondreamConfig
from streamqa.model.moondream.prompts import PromptIds
from streamqa.model.moondream.region import Region
from streamqa.model.moondream.text import Prefix, TextModel
from streamqa.model.moondream.vision import VisionTower


class Network(nn.Module):
    """Weights and nothing else: no tokenizer, no generation, no state."""

    def __init__(self, config: MoondreamConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = VisionTower(config.vision)
        self.text = TextModel(config.text)
        self.region = Region(config.region)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.text.wte.device

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and activations."""
        return self.text.wte.dtype

    def prefix(self, tokens_BPD: Tensor) -> Prefix:
        """What prompts see of B pictures."""
        return self.text.prefix(tokens_BPD, self.config.tokenizer.bos_id)

    def embed(self, prompts: Sequence[PromptIds], extra: Sequence[Sequence[int]] = ()) -> Tensor:
        """Embeddings [R, D] of the prompts, each followed by its `extra` ids, if there are any.

        The placeholder ids of a prompt's spatial references are overwritten by what they refer to.
        """
        after = extra or [()] * len(prompts)
        ids: list[int] = []
        coords, sizes = _Spots(), _Spots()
        for prompt, more in zip(prompts, after, strict=True):
            if prompt.refs:
                self._place_refs(prompt, len(ids), coords, sizes)
            ids += prompt.ids
            ids += more
        x_RD = self.text.embed(torch.tensor(ids, device=self.device))
        if coords.rows:
            x_RD[coords.rows] = self.region.embed_coord(torch.tensor(coords.values, device=self.device))
        if sizes.rows:
            x_RD[sizes.rows] = self.region.embed_size(torch.tensor(sizes.values, device=self.device))
        return x_RD

    def _place_refs(self, prompt: PromptIds, offset: int, coords: _Spots, sizes: _Spots) -> None:
        special = self.config.tokenizer
        coord_rows = (offset + i for i, token in enumerate(prompt.ids) if token == special.coord_id)
        size_rows = (offset + i for i, token in enumerate(prompt.ids) if token == special.size_id)
        for ref in prompt.refs:
            for value in ref.centre:
                coords.add(next(coord_rows), (value,))
            if ref.size is not None:
                sizes.add(next(size_rows), ref.size)


class _Spots:
    """Rows to overwrite, and with what."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.values: list[tuple[float, ...]] = []

    def add(self, row: int, value: tuple[float, ...]) -> None:
        self.rows.append(row)
        self.values.append(value)
