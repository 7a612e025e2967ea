"""Text to ids and back. What a user writes never becomes a control token."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tokenizers

from streamqa.errors import ModelError
from streamqa.model.moondream.config import MoondreamConfig

END_OF_TEXT = "<|endoftext|>"


class TextTokenizer:
    """A `tokenizer.json`, used through two views: with its control tokens to decode, without them to encode.

    Raises:
        ModelError: not the tokenizer that the config describes.
    """

    def __init__(self, source: str, config: MoondreamConfig, name: str = "tokenizer.json") -> None:
        try:
            data: dict[str, Any] = json.loads(source)
            added = [token for token in data.get("added_tokens") or [] if token["content"].strip()]
            # Added tokens are looked for in the text before anything else. Left out, they are ordinary text.
            blank = [token for token in data.get("added_tokens") or [] if token not in added]
            plain = {**data, "added_tokens": blank}
            self._full: Any = tokenizers.Tokenizer.from_str(source)
            self._plain: Any = tokenizers.Tokenizer.from_str(json.dumps(plain))
        except Exception as error:  # the library raises bare Exception for whatever it cannot read
            raise ModelError(f"{name}: not a tokenizer: {_one_line(error)}") from error
        self.control_ids = frozenset(int(token["id"]) for token in added)
        texts = sorted((re.escape(token["content"]) for token in added), key=len, reverse=True)
        self._control_text = re.compile("|".join(texts)) if texts else None
        if any(self._plain.token_to_id(token["content"]) != token["id"] for token in blank):
            raise ModelError(f"{name}: its blank tokens depend on its control tokens; this is not supported")
        self._guard(config, name)

    @classmethod
    def from_file(cls, path: Path, config: MoondreamConfig) -> TextTokenizer:
        """Read `path`.

        Raises:
            ModelError: unreadable, or not the tokenizer that the config describes.
        """
        try:
            source = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"{path}: cannot be read: {error}") from error
        return cls(source, config, str(path))

    def encode(self, text: str) -> list[int]:
        """Ids of ordinary text, without anything added before or after.

        Raises:
            ValueError: the text cannot be expressed without a control token.
        """
        text = text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates are no text
        ids = self._encode_plain(text)
        if self.control_ids.isdisjoint(ids):
            return ids
        # The vocabulary itself holds a control token's text; cut each such text after its first character.
        if self._control_text is not None:
            ids, start = [], 0
            for match in self._control_text.finditer(text):
                ids += self._encode_plain(text[start : match.start() + 1])
                start = match.start() + 1
            ids += self._encode_plain(text[start:])
        if not self.control_ids.isdisjoint(ids):
            raise ValueError("the text cannot be told apart from the model's control tokens")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; control tokens have none."""
        text: str = self._full.decode([token for token in ids if token not in self.control_ids])
        return text

    def _encode_plain(self, text: str) -> list[int]:
        ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        return ids

    def _guard(self, config: MoondreamConfig, name: str) -> None:
        """Refuse a tokenizer of another model: with it, fluent nonsense would come out, and no error."""
        size = self._full.get_vocab_size(with_added_tokens=True)
        if size > config.text.vocab_size:
            raise ModelError(
                f"{name}: wrong tokenizer: {size} tokens, the model has {config.text.vocab_size}"
            )
        special = config.tokenizer
        end = self._full.token_to_id(END_OF_TEXT)
        if end != special.eos_id and (end is not None or special.probe):
            raise ModelError(
                f"{name}: wrong tokenizer: {END_OF_TEXT} is {end}, the model's is {special.eos_id}{_hint(config)}"
            )
        for text, expected in special.probe.items():
            ids = self._encode_plain(text)
            if tuple(ids) != expected:
                wanted = list(expected)
                raise ModelError(
                    f"{name}: wrong tokenizer: {text!r} gives {ids}, the model expects {wanted}{_hint(config)}"
                )


def _hint(config: MoondreamConfig) -> str:
    """Where the right file is, for the released model; the one beside its weights is the wrong one."""
    released = MoondreamConfig().tokenizer.probe
    return "; take tokenizer.json from moondream/starmie-v1" if config.tokenizer.probe == released else ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
