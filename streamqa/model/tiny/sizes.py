"""The embedded model's sizes and special token ids, and the `config.json` they make."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Sizes:
    """Widths and depths. The defaults are the shipped model: 100 image tokens, 4.7 million parameters."""

    crop: int = 160
    patch: int = 16
    vision_dim: int = 160
    vision_layers: int = 5
    vision_heads: int = 5
    vision_ff: int = 640
    proj_inner: int = 512
    text_dim: int = 192
    text_layers: int = 4
    text_heads: int = 6
    text_ff: int = 768
    vocab: int = 768
    context: int = 512
    coord_feat: int = 64
    coord_out: int = 1024
    size_feat: int = 64
    size_out: int = 2048
    region_inner: int = 192

    @property
    def grid(self) -> int:
        """Patches along one side of the crop."""
        return self.crop // self.patch

    @property
    def image_tokens(self) -> int:
        """Image tokens of one picture."""
        return self.grid * self.grid

    @property
    def prefix(self) -> int:
        """Positions that see each other: the first token and the image."""
        return 1 + self.image_tokens


@dataclass(frozen=True, slots=True)
class Special:
    """Ids of the added tokens, all below 17. They never come out of encoding text."""

    eos: int = 0
    query: int = 1
    caption: int = 2
    answer: int = 3
    thinking: int = 4
    coord: int = 5
    size: int = 6
    ground: int = 7
    end_ground: int = 9
    short: int = 10
    normal: int = 11
    long: int = 12
    detect: int = 13
    point: int = 14
    names: tuple[str, ...] = field(default=("<|endoftext|>", *(f"<|tiny_{i}|>" for i in range(1, 17))))


SPECIAL = Special()


def config(sizes: Sizes) -> dict[str, Any]:
    """The `config.json` of these sizes, in the released model's field names."""
    s = SPECIAL
    return {
        "text": {
            "dim": sizes.text_dim,
            "ff_dim": sizes.text_ff,
            "n_layers": sizes.text_layers,
            "vocab_size": sizes.vocab,
            "max_context": sizes.context,
            "n_heads": sizes.text_heads,
            "n_kv_heads": sizes.text_heads,
            "prefix_attn": sizes.prefix,
        },
        "vision": {
            "enc_dim": sizes.vision_dim,
            "enc_patch_size": sizes.patch,
            "enc_n_layers": sizes.vision_layers,
            "enc_ff_dim": sizes.vision_ff,
            "enc_n_heads": sizes.vision_heads,
            "proj_out_dim": sizes.text_dim,
            "crop_size": sizes.crop,
            "in_channels": 3,
            "max_crops": 1,
            "overlap_margin": 1,
            "proj_inner_dim": sizes.proj_inner,
        },
        "region": {
            "dim": sizes.text_dim,
            "coord_feat_dim": sizes.coord_feat,
            "coord_out_dim": sizes.coord_out,
            "size_feat_dim": sizes.size_feat,
            "size_out_dim": sizes.size_out,
            "inner_dim": sizes.region_inner,
        },
        "tokenizer": {
            "bos_id": s.eos,
            "eos_id": s.eos,
            "answer_id": s.answer,
            "thinking_id": s.thinking,
            "coord_id": s.coord,
            "size_id": s.size,
            "start_ground_points_id": s.ground,
            "end_ground_id": s.end_ground,
            "templates": {
                "caption": {
                    "short": [s.caption, s.short],
                    "normal": [s.caption, s.normal],
                    "long": [s.caption, s.long],
                },
                "query": {"prefix": [s.query], "suffix": [s.answer]},
                "detect": {"prefix": [s.detect], "suffix": [s.answer]},
                "point": {"prefix": [s.point], "suffix": [s.answer]},
            },
        },
    }
