"""Plain greedy decoding: one picture, one prompt, the whole sequence again for every token, under one dense mask.

What the package's answers are held against. It shares no code with the package but the config's numbers and the crops
(which have golden data of their own), and takes its tensors from the weights file, in the released naming.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from streamqa.model.moondream.config import MoondreamConfig
from streamqa.types import Option, Prompt

Encode = Callable[[str], Sequence[int]]
# A place in the sequence: a token, a coordinate, or a (width, height).
Item = int | float | tuple[float, float]
EOS, CAP = "<eos>", "<cap>"  # how a row ends
SURE = float("inf")  # the gap of what is no choice


@dataclass
class Row:
    """What one prompt gives, choice by choice."""

    trace: list[Any] = field(default_factory=list)  # tokens or objects, then how it ended
    gaps: list[float] = field(
        default_factory=list
    )  # of each: by how much it won over the second best (`Plain._unit`)
    ids: list[int] = field(default_factory=list)  # of the answer
    logprobs: list[float] = field(default_factory=list)  # of the answer's choices, eos included
    finish: str = "length"
    thoughts: list[int] = field(default_factory=list)
    chunks: list[tuple[list[int], list[float]]] = field(
        default_factory=list
    )  # of the thoughts: ids, coordinates
    option_probs: list[float] = field(default_factory=list)

    def add(self, what: Any, gap: float) -> None:
        self.trace.append(what)
        self.gaps.append(gap)

    @property
    def points(self) -> list[tuple[float, float]]:
        """Of the thoughts: the coordinates of a chunk in pairs, an odd last one dropped."""
        return [(c[i], c[i + 1]) for _, c in self.chunks for i in range(0, len(c) - 1, 2)]

    @property
    def logprob(self) -> float:
        return sum(self.logprobs) / len(self.logprobs)

    def sure(self, least: float) -> int:
        """How many entries of the trace come before the first choice that was won by less than `least`."""
        return next((i for i, gap in enumerate(self.gaps) if gap < least), len(self.gaps))


class Plain:
    """The model by the book."""

    def __init__(
        self, weights: dict[str, Tensor], config: MoondreamConfig, dtype: torch.dtype = torch.float32
    ) -> None:
        self.config, self.dtype = config, dtype
        self.weights = {name.removeprefix("model."): tensor.to(dtype) for name, tensor in weights.items()}

    # --- picture

    def look(self, crops: Any, grid: tuple[int, int]) -> Tensor:
        """All crops of one picture, global one first, uint8 [n, S, S, 3] -> image tokens [P, D]."""
        config = self.config.vision
        features = torch.stack([self._crop(torch.from_numpy(crop.copy())) for crop in crops])
        side, margin, (rows, cols) = config.grid, config.overlap_margin, grid
        step = side - 2 * margin
        tiles = features[1:].view(rows, cols, side, side, -1)
        whole = tiles.new_zeros(rows * step + 2 * margin, cols * step + 2 * margin, config.enc_dim)
        for i in range(rows):
            for j in range(cols):
                top, left = margin * (i > 0), margin * (j > 0)
                bottom, right = side - margin * (i < rows - 1), side - margin * (j < cols - 1)
                part = tiles[i, j, top:bottom, left:right]
                whole[i * step + top : i * step + bottom, j * step + left : j * step + right] = part
        pooled = [
            whole[a:b, c:d].mean((0, 1))
            for a, b in _bins(whole.shape[0], side)
            for c, d in _bins(whole.shape[1], side)
        ]
        both = torch.cat((features[0], torch.stack(pooled)), dim=1)
        return self._mlp("vision.proj_mlp", both)

    def _crop(self, crop: Tensor) -> Tensor:
        config = self.config.vision
        size, side, width = config.enc_patch_size, config.grid, config.enc_dim
        x = ((crop.to(self.dtype) / 255) - 0.5) / 0.5
        patches = [
            x[r * size : (r + 1) * size, c * size : (c + 1) * size].permute(2, 0, 1).reshape(-1)
            for r in range(side)
            for c in range(side)
        ]
        x = self._linear("vision.patch_emb", torch.stack(patches)) + self.weights["vision.pos_emb"][0]
        everything = torch.ones(side * side, side * side, dtype=torch.bool)
        for n in range(config.enc_n_layers):
            name = f"vision.blocks.{n}"
            q, k, v = self._linear(f"{name}.attn.qkv", self._norm(f"{name}.ln1", x)).split(width, dim=1)
            seen = _attention(q, k, v, (config.enc_n_heads, config.enc_n_heads), everything)
            x = x + self._linear(f"{name}.attn.proj", seen)
            x = x + self._mlp(f"{name}.mlp", self._norm(f"{name}.ln2", x))
        return self._norm("vision.post_ln", x)

    # --- decoder

    def hidden(self, picture: Tensor | None, items: Sequence[Item]) -> Tensor:
        """Hidden states before the last norm, one per item. Without a picture the items begin with bos."""
        config = self.config.text
        x = torch.cat([self._embed(item) for item in items])
        prefix = 0
        if picture is not None:
            x = torch.cat([self._embed(self.config.tokenizer.bos_id), picture, x])
            prefix = 1 + len(picture)
        assert len(x) <= config.max_context
        allowed = torch.ones(len(x), len(x), dtype=torch.bool).tril()
        allowed[:prefix, :prefix] = True
        d, heads = config.head_dim, (config.n_heads, config.n_kv_heads)
        for n in range(config.n_layers):
            name = f"text.blocks.{n}"
            h = self._norm(f"{name}.ln", x)
            q, k, v = self._linear(f"{name}.attn.qkv", h).split([heads[0] * d, heads[1] * d, heads[1] * d], 1)
            seen = _attention(self._turned(q), self._turned(k), v, heads, allowed)
            x = x + self._linear(f"{name}.attn.proj", seen) + self._mlp(f"{name}.mlp", h)
        return x[prefix:]

    def _turned(self, x: Tensor) -> Tensor:
        """The first half of each head's dimensions, turned by the row's position: dimension i with i + half."""
        d = self.config.text.head_dim
        half = d // 4
        rate = self.config.text.rope_theta ** (-torch.arange(half).float() / half)
        angle = torch.arange(len(x)).float()[:, None] * rate
        out = x.float().clone()
        for start in range(0, x.shape[1], d):
            a, b = x[:, start : start + half].float(), x[:, start + half : start + 2 * half].float()
            out[:, start : start + half] = a * angle.cos() - b * angle.sin()
            out[:, start + half : start + 2 * half] = a * angle.sin() + b * angle.cos()
        return out.to(self.dtype)

    def logits(self, hidden: Tensor) -> Tensor:
        return self._linear("text.lm_head", self._norm("text.post_ln", hidden)).float()

    def _embed(self, item: Item) -> Tensor:
        if isinstance(item, int):
            return self.weights["text.wte"][item][None]
        kind, numbers = ("size", item) if isinstance(item, tuple) else ("coord", (item,))
        angle = (
            2 * math.pi * torch.tensor([numbers], dtype=self.dtype) @ self.weights[f"region.{kind}_features"]
        )
        return self._linear(f"region.{kind}_encoder", torch.cat((angle.cos(), angle.sin()), dim=1))

    def _coord(self, hidden: Tensor) -> tuple[float, float]:
        """A coordinate, and its gap."""
        logits = self._mlp("region.coord_decoder", hidden).float()
        return int(logits.argmax()) / len(logits), self._gap(logits)

    def _size(self, hidden: Tensor) -> tuple[tuple[float, float], float]:
        rows = self._mlp("region.size_decoder", hidden).float().view(2, -1)
        width, height = (2 ** (int(row.argmax()) / (len(row) - 1) * 10 - 10) for row in rows)
        return (width, height), min(self._gap(row) for row in rows)

    # --- loops

    def say(self, picture: Tensor | None, items: Sequence[Item], budget: int, row: Row | None = None) -> Row:
        """A free answer of up to `budget` tokens."""
        row, special, items = row or Row(), self.config.tokenizer, list(items)
        while len(row.ids) < budget:
            raw = self.logits(self.hidden(picture, items)[-1])
            token, gap = self._choose(raw, [special.answer_id] if row.ids else [])
            row.logprobs.append(float(raw.double().log_softmax(-1)[token]))
            if token == special.eos_id:
                row.finish = "eos"
                row.add(EOS, gap)
                return row
            row.ids.append(token)
            row.add(token, gap)
            items.append(token)
        row.add(CAP, SURE)
        return row

    def think(self, picture: Tensor | None, items: Sequence[Item], budget: int) -> Row:
        """Thoughts of up to `budget` tokens, then an answer of up to as many."""
        special, items, row = self.config.tokenizer, list(items), Row(chunks=[([], [])])
        carried = closest = SURE  # of the last coordinate, and of all of them
        while len(row.thoughts) < budget:
            last = self.hidden(picture, items)[-1]
            token, gap = self._choose(
                self.logits(last), [special.eos_id, special.size_id] if row.thoughts else []
            )
            gap, carried = min(gap, carried), SURE
            if token == special.answer_id:
                row.add("thought", gap)
                break
            row.thoughts.append(token)
            row.add(("thought", token), gap)
            if token in (special.start_ground_points_id, special.end_ground_id):
                row.chunks.append(([], []))
            row.chunks[-1][0].append(token)
            if token == special.coord_id:
                value, carried = self._coord(last)
                closest = min(closest, carried)
                row.chunks[-1][1].append(value)
                items.append(value)
            else:
                items.append(token)
        else:
            row.add("thought", carried)
        row.add(tuple(row.points), closest)
        return self.say(picture, [*items, *special.templates.query.suffix], budget, row)

    def find(self, picture: Tensor, items: Sequence[Item], limit: int, *, boxes: bool) -> Row:
        """Up to `limit` points (x, y) or boxes (x_min, y_min, x_max, y_max)."""
        items, row, eos = list(items), Row(), self.config.tokenizer.eos_id
        last = self.hidden(picture, items)[-1]
        while sum(isinstance(found, tuple) for found in row.trace) < limit:
            logits = self.logits(last)
            best_other = torch.cat((logits[:eos], logits[eos + 1 :])).max()
            gap = self._unit(logits) * float((logits[eos] - best_other).abs())
            if logits[eos] > best_other:
                row.finish = "eos"
                row.add(EOS, gap)
                return row
            numbers: tuple[float, ...] = ()
            for _ in range(2):
                value, gap_here = self._coord(last)
                numbers, gap = (*numbers, value), min(gap, gap_here)
                items.append(value)
                last = self.hidden(picture, items)[-1]
            if boxes:
                (w, h), gap_here = self._size(last)
                gap = min(gap, gap_here)
                items.append((w, h))
                last = self.hidden(picture, items)[-1]
                x, y = numbers
                numbers = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
            row.add(numbers, gap)
        row.add(CAP, SURE)
        return row

    def score(
        self, picture: Tensor | None, items: Sequence[Item], options: Sequence[Option], encode: Encode
    ) -> Row:
        """The probability of each option: the rule of the design, a forward of its own for each variant."""
        forms: list[set[tuple[int, ...]]] = []
        for option in options:
            texts = {
                s + t for v in option.variants for t in (v, v.lower(), v.capitalize()) for s in ("", " ")
            }
            ids = {tuple(encode(text)) for text in texts}
            forms.append({p for p in ids if not any(p != q and p[: len(q)] == q for q in ids)})

        def prob(path: tuple[int, ...]) -> float:
            rows = self.logits(self.hidden(picture, [*items, *path[:-1]])[len(items) - 1 :])
            chosen = rows.double().log_softmax(-1)[torch.arange(len(path)), torch.tensor(path)]
            return float(chosen.sum().exp())

        probs = {path: prob(path) for paths in forms for path in paths}
        row = Row(finish="scored")
        for paths in forms:
            total = 0.0
            for path in paths:
                # Going on into a longer form of another option is that option's. Of forms in a chain only the
                # nearest counts: it holds the longer ones.
                longer = [q for q in probs if q != path and q[: len(path)] == path]
                nearest = [q for q in longer if not any(q != m and q[: len(m)] == m for m in longer)]
                total += probs[path] - sum(probs[q] for q in nearest)
            row.option_probs.append(total)
        return row

    # --- prompts

    def prompt(self, prompt: Prompt, encode: Encode, *, blind: bool) -> list[Item]:
        """Every id around the user's words."""
        special = self.config.tokenizer
        templates = special.templates
        start = [special.bos_id] if blind else []
        if prompt.task == "caption":
            return [*start, *templates.caption[prompt.length]]
        if prompt.task in ("detect", "point"):
            template = templates.detect if prompt.task == "detect" else templates.point
            return [*template.prefix, *encode(" " + prompt.text), *template.suffix]
        suffix = templates.query.suffix
        end = (*suffix, special.thinking_id) if prompt.task == "reason" else (*suffix, *suffix)
        return [*start, *templates.query.prefix, *encode(prompt.text), *end]

    @torch.inference_mode()
    def answer(self, picture: Tensor | None, prompt: Prompt, encode: Encode) -> Row:
        """One prompt of any task."""
        items = self.prompt(prompt, encode, blind=picture is None)
        if prompt.options:
            return self.score(picture, items, prompt.options, encode)
        if prompt.task == "reason":
            return self.think(picture, items, prompt.max_tokens)
        if prompt.task in ("detect", "point"):
            assert picture is not None
            return self.find(picture, items, prompt.max_objects, boxes=prompt.task == "detect")
        return self.say(picture, items, prompt.max_tokens)

    # --- pieces

    def _choose(self, raw: Tensor, banned: list[int]) -> tuple[int, float]:
        """The best token, and its gap."""
        logits = raw.clone()
        logits[banned] = -1e9
        return int(logits.argmax()), self._unit(raw) * float(logits.topk(2).values.diff().abs())

    def _gap(self, logits: Tensor) -> float:
        return self._unit(logits) * float(logits.topk(2).values.diff().abs())

    def _unit(self, logits: Tensor) -> float:
        """Gaps are in logits; in bfloat16 in roundings of the largest logit."""
        return (
            1.0
            if self.dtype == torch.float32
            else 1 / float(logits.abs().max() * torch.finfo(self.dtype).eps)
        )

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight = self.weights[f"{name}.weight"]
        return layer_norm(x, (len(weight),), weight, self.weights[f"{name}.bias"], 1e-5)

    def _mlp(self, name: str, x: Tensor) -> Tensor:
        return self._linear(f"{name}.fc2", gelu(self._linear(f"{name}.fc1", x), approximate="tanh"))


def _attention(q: Tensor, k: Tensor, v: Tensor, heads: tuple[int, int], allowed: Tensor) -> Tensor:
    """Head by head: query head h looks at key head h // (query heads / key heads)."""
    d = q.shape[1] // heads[0]
    seen = []
    for h in range(heads[0]):
        own, shared = slice(h * d, (h + 1) * d), h // (heads[0] // heads[1])
        other = slice(shared * d, (shared + 1) * d)
        scores = (q[:, own].float() @ k[:, other].float().T / d**0.5).masked_fill(~allowed, float("-inf"))
        seen.append(scores.softmax(-1).to(v.dtype) @ v[:, other])
    return torch.cat(seen, dim=1)


def _bins(length: int, count: int) -> list[tuple[int, int]]:
    """Where the bins of an adaptive pooling begin and end; they may overlap."""
    return [(r * length // count, -(-(r + 1) * length // count)) for r in range(count)]
