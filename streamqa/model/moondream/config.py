"""What a checkpoint of the moondream2 family looks like: sizes, special ids, templates.

The defaults are the released model (2025-06-21), whose own `config.json` says nothing. Field names are the
reference's. Everything that follows from these numbers (grid, prefix length, head widths) is derived here, once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from streamqa.errors import ModelError

Ids = tuple[int, ...]
T = TypeVar("T")


def _check(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The decoder."""

    dim: int = 2048
    ff_dim: int = 8192
    n_layers: int = 24
    vocab_size: int = 51200
    max_context: int = 2048
    n_heads: int = 32
    n_kv_heads: int = 32
    prefix_attn: int = 730  # stated by checkpoints; the prefix's true length follows from the vision config
    rope_theta: float = 10000.0

    def __post_init__(self) -> None:
        _check(self.dim % self.n_heads == 0, "text.dim must be a multiple of n_heads")
        _check(self.n_heads % self.n_kv_heads == 0, "text.n_heads must be a multiple of n_kv_heads")
        _check(self.head_dim % 4 == 0, "text.dim / n_heads must be a multiple of 4")

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.dim // self.n_heads

    @property
    def rotary_dim(self) -> int:
        """Leading dimensions of a head that are rotated."""
        return self.head_dim // 2


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """The crops, the vision tower and the projector."""

    enc_dim: int = 1152
    enc_patch_size: int = 14
    enc_n_layers: int = 27
    enc_ff_dim: int = 4304
    enc_n_heads: int = 16
    proj_inner_dim: int = 8192
    proj_out_dim: int = 2048
    crop_size: int = 378
    in_channels: int = 3
    max_crops: int = 12
    overlap_margin: int = 4

    def __post_init__(self) -> None:
        _check(self.enc_dim % self.enc_n_heads == 0, "vision.enc_dim must be a multiple of enc_n_heads")
        _check(
            self.crop_size % self.enc_patch_size == 0, "vision.crop_size must be a multiple of enc_patch_size"
        )
        _check(0 <= 2 * self.overlap_margin < self.grid, "vision.overlap_margin must leave a window")
        _check(self.in_channels == 3, "vision.in_channels must be 3")

    @property
    def grid(self) -> int:
        """Patches along one side of a crop."""
        return self.crop_size // self.enc_patch_size

    @property
    def n_patches(self) -> int:
        """Patches of a crop, which is also the number of image tokens."""
        return self.grid**2

    @property
    def margin_px(self) -> int:
        """What neighbouring crops share on each side, in pixels."""
        return self.overlap_margin * self.enc_patch_size

    @property
    def window_px(self) -> int:
        """The part of a crop that is its own, in pixels."""
        return self.crop_size - 2 * self.margin_px


@dataclass(frozen=True, slots=True)
class RegionConfig:
    """Coordinates and sizes in and out of the decoder."""

    dim: int = 2048
    coord_feat_dim: int = 256
    coord_out_dim: int = 1024
    size_feat_dim: int = 512
    size_out_dim: int = 2048
    inner_dim: int = 8192


@dataclass(frozen=True, slots=True)
class Template:
    """What stands before and after the user's words."""

    prefix: Ids
    suffix: Ids


@dataclass(frozen=True, slots=True)
class Templates:
    """The prompts of the released model, as ids."""

    query: Template = Template((1, 15381, 2), (3,))
    detect: Template = Template((1, 7235, 476, 2), (3,))
    point: Template = Template((1, 2581, 2), (3,))
    caption: Mapping[str, Ids] = field(
        default_factory=lambda: {
            "short": (1, 32708, 2, 12492, 3),
            "normal": (1, 32708, 2, 6382, 3),
            "long": (1, 32708, 2, 4059, 3),
        }
    )


@dataclass(frozen=True, slots=True)
class TokenizerConfig:
    """Special ids and templates."""

    bos_id: int = 0
    eos_id: int = 0
    answer_id: int = 3
    thinking_id: int = 4
    coord_id: int = 5
    size_id: int = 6
    start_ground_points_id: int = 7
    end_ground_id: int = 9
    templates: Templates = field(default_factory=Templates)
    # The reference feeds the query's suffix twice, and the released weights were trained so.
    query_suffix_repeats: int = 2
    # Text -> ids that the right tokenizer gives: a wrong one produces fluent nonsense, not an error.
    probe: Mapping[str, Ids] = field(default_factory=dict)


RELEASED_PROBE: Mapping[str, Ids] = {"query": (15381,)}


@dataclass(frozen=True, slots=True)
class MoondreamConfig:
    """A whole checkpoint."""

    text: TextConfig = field(default_factory=TextConfig)
    vision: VisionConfig = field(default_factory=VisionConfig)
    region: RegionConfig = field(default_factory=RegionConfig)
    tokenizer: TokenizerConfig = field(default_factory=lambda: TokenizerConfig(probe=RELEASED_PROBE))

    def __post_init__(self) -> None:
        _check(self.vision.proj_out_dim == self.text.dim, "vision.proj_out_dim must equal text.dim")
        _check(self.region.dim == self.text.dim, "region.dim must equal text.dim")
        _check(
            self.prefix_len < self.text.max_context, "text.max_context must be longer than the image prefix"
        )

    @property
    def prefix_len(self) -> int:
        """Positions of [bos, image tokens]: they see each other, and every prompt sees all of them."""
        return 1 + self.vision.n_patches

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MoondreamConfig:
        """From the sections `text`, `vision`, `region`, `tokenizer`; what is absent has the released value.

        Raises:
            ValueError: an unknown or impossible field.
        """
        unknown = set(data) - {f.name for f in fields(cls)}
        _check(not unknown, f"unknown section {', '.join(sorted(unknown))}")
        return cls(
            text=_section(TextConfig, "text", data.get("text", {})),
            vision=_section(VisionConfig, "vision", data.get("vision", {})),
            region=_section(RegionConfig, "region", data.get("region", {})),
            tokenizer=_tokenizer(data.get("tokenizer", {})),
        )


# Stated by the reference's configs, of no effect here: int4 group size.
_IGNORED = frozenset({"group_size"})


def _section(kind: type[T], name: str, data: Mapping[str, Any]) -> T:
    # mypy cannot know that every `kind` here is a dataclass.
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    unknown = set(data) - known - _IGNORED
    _check(not unknown, f"unknown field {', '.join(f'{name}.{key}' for key in sorted(unknown))}")
    for key, value in data.items():
        if key in _IGNORED or key in ("templates", "probe"):
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        _check(number and value >= 0, f"{name}.{key} must be a number, got {value!r}")
    return kind(**{key: value for key, value in data.items() if key in known})


def _ids(data: Any) -> Ids:
    _check(isinstance(data, list) and all(isinstance(i, int) for i in data), f"ids expected, got {data!r}")
    return tuple(data)


def _templates(data: Mapping[str, Any]) -> Templates:
    given: dict[str, Any] = {}
    for name, value in data.items():
        _check(name in ("query", "detect", "point", "caption"), f"unknown template {name!r}")
        _check(isinstance(value, dict), f"template {name!r} must be a mapping")
        if name == "caption":
            given[name] = {length: _ids(ids) for length, ids in value.items()}
        else:
            _check(set(value) == {"prefix", "suffix"}, f"template {name!r} needs exactly prefix and suffix")
            given[name] = Template(_ids(value["prefix"]), _ids(value["suffix"]))
    return Templates(**given)


def _tokenizer(data: Mapping[str, Any]) -> TokenizerConfig:
    fields_given = dict(data)
    if data.get("templates"):
        fields_given["templates"] = _templates(data["templates"])
    else:
        fields_given.pop("templates", None)
    if "probe" in data:
        fields_given["probe"] = {text: _ids(ids) for text, ids in data["probe"].items()}
    config = _section(TokenizerConfig, "tokenizer", fields_given)
    if "probe" not in data and config.templates.query == Templates().query:
        return TokenizerConfig(**{**fields_given, "probe": RELEASED_PROBE})
    return config


def read_config(path: Path) -> MoondreamConfig:
    """The config in a checkpoint's `config.json`; the released sizes where it is absent or says nothing.

    Raises:
        ModelError: not JSON, or not the config of a moondream2.
    """
    if not path.is_file():
        return MoondreamConfig()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        _check(isinstance(data, dict), "not a JSON object")
        # The released file wraps the (empty) config into the fields of transformers.
        sections = data if {"text", "vision", "region", "tokenizer"} & set(data) else data.get("config") or {}
        return MoondreamConfig.from_dict(sections)
    except (OSError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise ModelError(f"{path}: not a moondream2 config: {error}") from error
