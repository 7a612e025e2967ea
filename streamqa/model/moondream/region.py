"""Coordinates and sizes: from the decoder's hidden state to numbers, and back to embeddings."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from streamqa.model.moondream.config import RegionConfig
from streamqa.model.moondream.layers import MLP, Dense

SIZE_OCTAVES = 10  # size bins lie on a log scale from 2**-10 to 1


def fourier(x: Tensor, weight: Tensor) -> Tensor:
    """[N, in] times [in, f] -> [N, 2 f]: cosines, then sines."""
    angle = 2 * math.pi * x @ weight
    return torch.cat((angle.cos(), angle.sin()), dim=-1)


class Region(nn.Module):
    """The four heads. Positions and sizes are in units of the picture's width and height."""

    def __init__(self, config: RegionConfig) -> None:
        super().__init__()
        self.coord_features = nn.Parameter(torch.zeros(1, config.coord_feat_dim // 2))
        self.size_features = nn.Parameter(torch.zeros(2, config.size_feat_dim // 2))
        self.coord_encoder = Dense(config.coord_feat_dim, config.dim)
        self.coord_decoder = MLP(config.dim, config.inner_dim, config.coord_out_dim)
        self.size_encoder = Dense(config.size_feat_dim, config.dim)
        self.size_decoder = MLP(config.dim, config.inner_dim, config.size_out_dim)

    def decode_coord(self, hidden_ND: Tensor) -> Tensor:
        """The coordinate in each hidden state (taken before the decoder's last norm): float32 [N, 1] in [0, 1)."""
        logits = self.coord_decoder(hidden_ND)
        value: Tensor = logits.argmax(dim=-1, keepdim=True).float() / logits.shape[-1]
        return value

    def decode_size(self, hidden_ND: Tensor) -> Tensor:
        """Width and height in each hidden state: float32 [N, 2] in [2**-10, 1]."""
        logits = self.size_decoder(hidden_ND).unflatten(-1, (2, -1))
        bins = logits.argmax(dim=-1).double()
        return torch.exp2(bins / (logits.shape[-1] - 1) * SIZE_OCTAVES - SIZE_OCTAVES).float()

    def embed_coord(self, coord_N1: Tensor) -> Tensor:
        """float32 [N, 1] -> embeddings [N, D]."""
        out: Tensor = self.coord_encoder(fourier(coord_N1.to(self.coord_features.dtype), self.coord_features))
        return out

    def embed_size(self, size_N2: Tensor) -> Tensor:
        """float32 [N, 2] -> embeddings [N, D]."""
        out: Tensor = self.size_encoder(fourier(size_N2.to(self.size_features.dtype), self.size_features))
        return out
