"""The vision tower: crops to image tokens, for many pictures of different tilings at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamqa.model.moondream.attention import attend_part
from streamqa.model.moondream.config import VisionConfig
from streamqa.model.moondream.crops import Tiling
from streamqa.model.moondream.layers import EPS, MLP, Attention, Dense
from streamqa.model.moondream.text import padding_mask


class VisionBlock(nn.Module):
    """Pre-norm transformer block in which every patch of a crop sees all its patches."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.n_heads = config.enc_n_heads
        self.ln1 = nn.LayerNorm(config.enc_dim, eps=EPS)
        self.attn = Attention(config.enc_dim, 3 * config.enc_dim)
        self.ln2 = nn.LayerNorm(config.enc_dim, eps=EPS)
        self.mlp = MLP(config.enc_dim, config.enc_ff_dim, config.enc_dim)

    def forward(self, x_NSE: Tensor, mask: Tensor | None) -> Tensor:
        """[n, S, E] -> [n, S, E]; `mask` hides padding, as in `attend_part`."""
        n, slots, width = x_NSE.shape
        qkv = self.attn.qkv(self.ln1(x_NSE)).view(n, slots, 3, self.n_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        seen, _ = attend_part(q, k, v, mask)
        x_NSE = self.attn.proj(seen.transpose(1, 2).reshape(n, slots, width)).add_(x_NSE)
        return x_NSE.add_(self.mlp(self.ln2(x_NSE)))


class VisionTower(nn.Module):
    """Patches, transformer, merging of global and local views, projection to the decoder's width."""

    # Crops that go through the tower together: enough to fill a GPU, little enough for its activations to fit.
    crops_per_pass = 64
    # And of these the ones that go through a layer together: on a CPU one, so that what a layer makes stays in the
    # cache, as the weights of the layer do for the next crop.
    crops_per_layer = 64
    encoder: Callable[[Tensor], Tensor] | None = None  # stands in for `encode`
    slot_step = 1  # the slots of a crop's patches are a multiple of this; what is over is padding

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_emb = Dense(config.in_channels * config.enc_patch_size**2, config.enc_dim)
        self.pos_emb = nn.Parameter(torch.zeros(1, config.n_patches, config.enc_dim))
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(config.enc_n_layers))
        self.post_ln = nn.LayerNorm(config.enc_dim, eps=EPS)
        self.proj_mlp = MLP(2 * config.enc_dim, config.proj_inner_dim, config.proj_out_dim)

    def forward(self, crops_NSSC: Tensor, tilings: Sequence[Tiling]) -> Tensor:
        """Image tokens [B, P, D] of B pictures.

        Args:
            crops_NSSC: uint8 [n, S, S, 3], the unique crops of all pictures, picture after picture.
            tilings: one per picture; 1x1 has one crop, every other tiling 1 + rows * columns.
        """
        encode = self.encoder or self.encode
        chunks = torch.split(crops_NSSC, self.crops_per_pass)
        features = torch.cat([encode(chunk) for chunk in chunks])
        if all(grid == (1, 1) for grid in tilings):
            return self.project(features, features)
        counts = [1 if grid == (1, 1) else 1 + grid[0] * grid[1] for grid in tilings]
        per_picture = torch.split(features, counts)
        pooled = [self.pool(f, grid) for f, grid in zip(per_picture, tilings, strict=True)]
        return self.project(torch.stack([f[0] for f in per_picture]), torch.stack(pooled))

    def normalise(self, crops_NSSC: Tensor) -> Tensor:
        """uint8 to [-1, 1], step by step in the model's dtype, as the weights were trained."""
        x: Tensor = crops_NSSC.to(self.pos_emb.dtype).div_(255).sub_(0.5).div_(0.5)
        return x

    def encode(self, crops_NSSC: Tensor) -> Tensor:
        """uint8 [n, S, S, 3] -> features [n, P, E] of each crop by itself."""
        size, grid, n_patches = self.config.enc_patch_size, self.config.grid, self.config.n_patches
        x = self.normalise(crops_NSSC).view(-1, grid, size, grid, size, 3)
        patches = x.permute(0, 1, 3, 5, 2, 4).reshape(x.shape[0], n_patches, -1)  # (channel, row, column)
        x_NSE = self.patch_emb(patches).add_(self.pos_emb)
        slots = -(-n_patches // self.slot_step) * self.slot_step
        if slots > n_patches:
            x_NSE = functional.pad(x_NSE, (0, 0, 0, slots - n_patches))
        mask = padding_mask(slots, n_patches, x_NSE.device)
        parts = list(x_NSE.split(self.crops_per_layer))
        for block in self.blocks:
            parts = [block(part, mask) for part in parts]
        out: Tensor = self.post_ln(torch.cat(parts)[:, :n_patches])
        return out

    def stitch(self, tiles_NPE: Tensor, grid: Tiling) -> Tensor:
        """Local features of rows * columns tiles -> one map; margins stay only on the outer border."""
        rows, cols = grid
        side, margin = self.config.grid, self.config.overlap_margin
        tiles = tiles_NPE.view(rows, cols, side, side, -1)
        bands = []
        for i in range(rows):
            top, bottom = (0 if i == 0 else margin), (side if i == rows - 1 else side - margin)
            pieces = [
                tiles[
                    i, j, top:bottom, (0 if j == 0 else margin) : (side if j == cols - 1 else side - margin)
                ]
                for j in range(cols)
            ]
            bands.append(torch.cat(pieces, dim=1))
        return torch.cat(bands, dim=0)

    def pool(self, features_NPE: Tensor, grid: Tiling) -> Tensor:
        """Features of one picture's unique crops -> local features [P, E] at the size of one crop."""
        if grid == (1, 1):
            return features_NPE[0]
        whole_HWE = self.stitch(features_NPE[1:], grid)
        pooled = functional.adaptive_avg_pool2d(whole_HWE.permute(2, 0, 1), self.config.grid)
        return pooled.flatten(1).transpose(0, 1)

    def project(self, global_BPE: Tensor, local_BPE: Tensor) -> Tensor:
        """[B, P, E] twice -> image tokens [B, P, D]."""
        tokens: Tensor = self.proj_mlp(torch.cat((global_BPE, local_BPE), dim=-1))
        return tokens
