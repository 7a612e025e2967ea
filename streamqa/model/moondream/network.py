"""The whole network: the three parts under the names of the released weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from streamqa.model.moondream.config import MoondreamConfig
from streamqa.model.moondream.packing import Session
from streamqa.model.moondream.prompts import PromptIds
from streamqa.model.moondream.region import Region
from streamqa.model.moondream.rows import Tree
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
        none = self.text.wte.new_empty(0, self.config.text.dim)
        prefix = self.look(tokens_BPD, [], (none, [], []))[0].prefix
        assert prefix is not None
        return prefix

    def look(
        self,
        tokens_BPD: Tensor,
        images: Sequence[int],
        rows: tuple[Tensor, Sequence[int], Sequence[Tree | None]],
    ) -> tuple[Session, Tensor]:
        """Encode pictures and feed the first rows of sequences about them, in one forward: see `Session.look`."""
        pictures_BSD = self.text.pictures(tokens_BPD, self.config.tokenizer.bos_id)
        return Session.look(self.text, pictures_BSD, tokens_BPD.shape[1] + 1, images, rows)

    def embed(self, prompts: Sequence[PromptIds], extra: Sequence[Sequence[int]] = ()) -> Tensor:
        """Embeddings [R, D] of the prompts, each followed by its `extra` ids, if there are any.

        The placeholder ids of a prompt's places are overwritten by what they stand for.
        """
        after = extra or [()] * len(prompts)
        special = self.config.tokenizer
        ids: list[int] = []
        coord_rows: list[int] = []
        size_rows: list[int] = []
        for prompt, more in zip(prompts, after, strict=True):
            coord_rows += _placeholders(prompt.ids, special.coord_id, len(ids))[: len(prompt.coords)]
            size_rows += _placeholders(prompt.ids, special.size_id, len(ids))[: len(prompt.sizes)]
            ids += prompt.ids
            ids += more
        x_RD = self.text.embed(torch.tensor(ids, device=self.device))
        if coord_rows:
            coords = torch.tensor([[c] for prompt in prompts for c in prompt.coords], device=self.device)
            x_RD[coord_rows] = self.region.embed_coord(coords)
        if size_rows:
            sizes = torch.tensor([s for prompt in prompts for s in prompt.sizes], device=self.device)
            x_RD[size_rows] = self.region.embed_size(sizes)
        return x_RD


def _placeholders(ids: Sequence[int], token: int, offset: int) -> list[int]:
    """The rows of `token`, the first of `ids` being in row `offset`."""
    return [offset + i for i, other in enumerate(ids) if other == token]
