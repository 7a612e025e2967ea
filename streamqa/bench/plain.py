"""The plain baseline: what users of moondream2 run today, over the same weight tensors as the engine.

Its ways are those of the reference implementation: one picture and one question at a time; both crops of a 1x1
tiling, though they are the same; keys and values in a cache as long as the context, of which each question gets a
copy; attention over the whole cache with a mask, for the picture, the prompt and every step; the next token is read
back one by one; after the last token there is one more forward, in which an end of text would show. No drafts.
It shares no code with the engine but the resizing of pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from streamqa.model.moondream.config import MoondreamConfig
from streamqa.model.moondream.crops import Picture, Tiling, all_crops

_EPS = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class PlainImage:
    """Keys and values of a picture's prefix, per layer [1, K, P, d]."""

    keys: list[Tensor]
    values: list[Tensor]


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """A greedy answer and when it was where."""

    ids: tuple[int, ...]
    after_s: tuple[float, ...]  # since the start, when the token after the first 0, 1, 2… tokens was known

    def seconds(self, tokens: int) -> float:
        """What an answer of `tokens` tokens took, with the forward after its last; of a closed one, one token."""
        return self.after_s[max(1, tokens)]

    def seconds_to_last(self, tokens: int) -> float:
        """The same without that forward."""
        return self.after_s[max(1, tokens) - 1]


class Plain:
    """The model, one question at a time."""

    def __init__(self, weights: Mapping[str, Tensor], config: MoondreamConfig) -> None:
        self.weights = weights
        self.config = config
        wte = weights["text.wte"]
        self.dtype, self.device = wte.dtype, wte.device
        size, prefix = config.text.max_context, config.prefix_len
        mask = torch.ones(size, size, dtype=torch.bool).tril()
        mask[:prefix, :prefix] = True
        self._mask = mask.to(self.device)[None, None]
        head = torch.arange(0, config.text.rotary_dim, 2, dtype=torch.float32) / config.text.rotary_dim
        angle = torch.arange(size)[:, None] * config.text.rope_theta**-head
        self._cos, self._sin = angle.cos().to(self.device), angle.sin().to(self.device)

    @torch.inference_mode()
    def encode(self, image: Picture) -> PlainImage:
        """Crops, vision tower, decoder over [bos, image tokens]."""
        crops, grid = all_crops(image, self.config.vision)
        tokens_PD = self._project(self._tower(torch.from_numpy(crops).to(self.device)), grid)
        x_TD = torch.cat((self._wte([self.config.tokenizer.bos_id]), tokens_PD))
        keys, values = self._caches(), self._caches()
        self._decoder(x_TD, 0, keys, values)
        length = len(x_TD)
        return PlainImage(
            [k[:, :, :length].clone() for k in keys], [v[:, :, :length].clone() for v in values]
        )

    @torch.inference_mode()
    def answer(
        self, image: PlainImage, prompt: Sequence[int], max_tokens: int, clock: Callable[[], float]
    ) -> PlainAnswer:
        """Greedy decoding of one question, `max_tokens` >= 1; `clock` is in seconds."""
        start_s = clock()
        keys, values, position = self._opened(image)
        hidden_D = self._decoder(self._wte(prompt), position, keys, values)[-1]
        position += len(prompt)
        token = int(self._logits(hidden_D).argmax().item())
        ids: list[int] = []
        after_s = [clock() - start_s]
        while token != self.config.tokenizer.eos_id and len(ids) < max_tokens:
            ids.append(token)
            hidden_D = self._decoder(self._wte([token]), position, keys, values)[-1]
            position += 1
            logits_V = self._logits(hidden_D)
            logits_V[self.config.tokenizer.answer_id] = float("-inf")
            token = int(logits_V.argmax().item())
            after_s.append(clock() - start_s)
        return PlainAnswer(tuple(ids), tuple(after_s))

    @torch.inference_mode()
    def follow(self, image: PlainImage, prompt: Sequence[int], ids: Sequence[int]) -> list[tuple[int, float]]:
        """At each place of an answer that another engine gave: the token chosen here, and its lead over `ids`' one.

        Where the two are the same token, the lead is that over the second likeliest.
        """
        keys, values, position = self._opened(image)
        x_TD = self._wte([*prompt, *ids[:-1]])
        hidden_TD = self._decoder(x_TD, position, keys, values)[len(prompt) - 1 :]
        logits_TV = torch.stack([self._logits(row) for row in hidden_TD])
        logits_TV[1:, self.config.tokenizer.answer_id] = float("-inf")
        found = []
        for row, theirs in zip(logits_TV, ids, strict=True):
            best, second = row.topk(2).values.tolist()
            mine = int(row.argmax())
            found.append((mine, best - second if mine == theirs else best - float(row[theirs])))
        return found

    def _caches(self) -> list[Tensor]:
        text = self.config.text
        shape = (1, text.n_kv_heads, text.max_context, text.head_dim)
        return [torch.zeros(shape, dtype=self.dtype, device=self.device) for _ in range(text.n_layers)]

    def _opened(self, image: PlainImage) -> tuple[list[Tensor], list[Tensor], int]:
        """Whole caches with the picture's prefix copied into them, and the next position."""
        keys, values = self._caches(), self._caches()
        for cache, prefix in zip([*keys, *values], [*image.keys, *image.values], strict=True):
            cache[:, :, : prefix.shape[2]] = prefix
        return keys, values, image.keys[0].shape[2]

    def _wte(self, ids: Sequence[int]) -> Tensor:
        return self.weights["text.wte"][torch.tensor(ids, device=self.device)]

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return functional.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return functional.layer_norm(x, (x.shape[-1],), weight, bias, _EPS)

    def _mlp(self, x: Tensor, name: str) -> Tensor:
        return self._linear(
            functional.gelu(self._linear(x, f"{name}.fc1"), approximate="tanh"), f"{name}.fc2"
        )

    def _tower(self, crops_NSSC: Tensor) -> Tensor:
        """uint8 [n, S, S, 3] -> [n, P, E]."""
        vision = self.config.vision
        n, grid, size = len(crops_NSSC), vision.grid, vision.enc_patch_size
        x = crops_NSSC.to(self.dtype).div(255).sub(0.5).div(0.5).permute(0, 3, 1, 2)
        x = x.reshape(n, 3, grid, size, grid, size).permute(0, 2, 4, 1, 3, 5).reshape(n, grid * grid, -1)
        x = self._linear(x, "vision.patch_emb") + self.weights["vision.pos_emb"]
        for layer in range(vision.enc_n_layers):
            name = f"vision.blocks.{layer}"
            qkv = self._linear(self._norm(x, f"{name}.ln1"), f"{name}.attn.qkv")
            q, k, v = (
                part.view(n, grid * grid, vision.enc_n_heads, -1).transpose(1, 2) for part in qkv.chunk(3, -1)
            )
            seen = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
            x = x + self._linear(seen, f"{name}.attn.proj")
            x = x + self._mlp(self._norm(x, f"{name}.ln2"), f"{name}.mlp")
        return self._norm(x, "vision.post_ln")

    def _project(self, features_NPE: Tensor, grid: Tiling) -> Tensor:
        """Global and stitched local features -> image tokens [P, D]."""
        vision = self.config.vision
        (rows, cols), side, margin = grid, vision.grid, vision.overlap_margin
        tiles = features_NPE[1:].view(rows, cols, side, side, -1)
        bands = []
        for i in range(rows):
            down = slice(margin if i else 0, side if i == rows - 1 else side - margin)
            across = [
                slice(margin if j else 0, side if j == cols - 1 else side - margin) for j in range(cols)
            ]
            bands.append(torch.cat([tiles[i, j][down, across[j]] for j in range(cols)], dim=1))
        whole_EHW = torch.cat(bands, dim=0).permute(2, 0, 1)
        local_PE = functional.adaptive_avg_pool2d(whole_EHW, side).flatten(1).t()
        return self._mlp(torch.cat((features_NPE[0], local_PE), dim=-1), "vision.proj_mlp")

    def _decoder(self, x_TD: Tensor, position: int, keys: list[Tensor], values: list[Tensor]) -> Tensor:
        """Hidden states [T, D] of rows that follow `position` others; their keys and values go into the caches."""
        text, end = self.config.text, position + len(x_TD)
        mask = self._mask[:, :, position:end]
        widths = [text.n_heads * text.head_dim, *[text.n_kv_heads * text.head_dim] * 2]
        for layer in range(text.n_layers):
            name = f"text.blocks.{layer}"
            normed = self._norm(x_TD, f"{name}.ln")
            q, k, v = (
                part.view(1, len(x_TD), -1, text.head_dim).transpose(1, 2)
                for part in torch.split(self._linear(normed, f"{name}.attn.qkv"), widths, -1)
            )
            keys[layer][:, :, position:end] = self._rotated(k, position)
            values[layer][:, :, position:end] = v
            seen = functional.scaled_dot_product_attention(
                self._rotated(q, position),
                keys[layer],
                values[layer],
                attn_mask=mask,
                enable_gqa=text.n_heads != text.n_kv_heads,
            )
            attended = self._linear(seen.transpose(1, 2).reshape(x_TD.shape), f"{name}.attn.proj")
            x_TD = x_TD + attended + self._mlp(normed, f"{name}.mlp")
        return x_TD

    def _rotated(self, x_1HTd: Tensor, position: int) -> Tensor:
        half, end = self.config.text.rotary_dim // 2, position + x_1HTd.shape[2]
        cos, sin = self._cos[position:end], self._sin[position:end]
        x = x_1HTd.float()
        a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
        return torch.cat((a * cos - b * sin, a * sin + b * cos, rest), dim=-1).to(self.dtype)

    def _logits(self, hidden_D: Tensor) -> Tensor:
        return self._linear(self._norm(hidden_D, "text.post_ln"), "text.lm_head").float()
