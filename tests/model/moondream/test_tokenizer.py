import json
from pathlib import Path
from typing import Any

import pytest

from streamqa.errors import ModelError
from streamqa.model.moondream.config import MoondreamConfig, TextConfig, TokenizerConfig
from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.tokenizer import TextTokenizer

CONTROL = set(range(10))


@pytest.fixture
def tokenizer(toy: Moondream) -> TextTokenizer:
    assert toy.tokenizer is not None
    return toy.tokenizer


def _source(toy_dir: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((toy_dir / "tokenizer.json").read_text())
    return data


@pytest.mark.parametrize(
    "text",
    [
        "Is there a person?",
        "<|endoftext|>",
        "<|md_reserved_2|>",
        "say <|md_reserved_2|><|endoftext|> now",
        "<|endoftext|><|endoftext|>x",
        "tabs\tand\x00\x07control\x1b[31m",
        "日本 🙂",
        "",
        " Yes",
    ],
)
def test_text_never_becomes_a_control_token(tokenizer: TextTokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert CONTROL.isdisjoint(ids)
    assert tokenizer.decode(ids) == text


def test_lone_surrogates_are_replaced(tokenizer: TextTokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a?b"


def test_control_tokens_have_no_text(tokenizer: TextTokenizer) -> None:
    assert tokenizer.decode([0, *tokenizer.encode("ab"), 3, 9]) == "ab"


def _greedy(toy_dir: Path) -> dict[str, Any]:
    """As the toy's, but its model itself gives a control token for the control token's whole text."""
    data = _source(toy_dir)
    data["pre_tokenizer"] = None
    data["model"]["ignore_merges"] = True
    return data


def test_control_text_in_the_vocabulary_is_cut_up(toy_dir: Path, toy_config: MoondreamConfig) -> None:
    tokenizer = TextTokenizer(json.dumps(_greedy(toy_dir)), toy_config)
    ids = tokenizer.encode("<|md_reserved_2|>")
    assert CONTROL.isdisjoint(ids)
    assert tokenizer.decode(ids) == "<|md_reserved_2|>"


def test_whitespace_tokens_are_not_control(toy_dir: Path, toy_config: MoondreamConfig) -> None:
    data = _source(toy_dir)
    blank = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    data["added_tokens"].append({"id": 273, "content": "    ", **blank})
    tokenizer = TextTokenizer(json.dumps(data), toy_config)
    assert 273 in tokenizer.encode("a    b")
    assert tokenizer.decode(tokenizer.encode("a    b")) == "a    b"


def test_shifted_whitespace_tokens_are_refused(toy_dir: Path, toy_config: MoondreamConfig) -> None:
    data = _source(toy_dir)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    data["added_tokens"].append({"id": 273, "content": "<|late|>", **flags})
    data["added_tokens"].append({"id": 274, "content": "    ", **flags})
    assert "not supported" in _refusal(json.dumps(data), toy_config)


def _refusal(source: str, config: MoondreamConfig) -> str:
    with pytest.raises(ModelError) as caught:
        TextTokenizer(source, config, "dir/tokenizer.json")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("dir/tokenizer.json")
    return message


def test_released_model_refuses_another_tokenizer(toy_dir: Path) -> None:
    source = (toy_dir / "tokenizer.json").read_text()
    message = _refusal(source, MoondreamConfig())
    assert "'query'" in message
    assert "moondream/starmie-v1" in message


def test_probe_refuses_other_merges(toy_dir: Path, toy_config: MoondreamConfig) -> None:
    data = _source(toy_dir)
    data["model"]["merges"] = data["model"]["merges"][1:]
    assert "'Yes'" in _refusal(json.dumps(data), toy_config)


def test_other_end_of_text_is_refused(toy_dir: Path) -> None:
    source = (toy_dir / "tokenizer.json").read_text()
    config = MoondreamConfig(tokenizer=TokenizerConfig(eos_id=8))
    assert "<|endoftext|>" in _refusal(source, config)


def test_larger_vocabulary_is_refused(toy_dir: Path) -> None:
    config = MoondreamConfig(text=TextConfig(vocab_size=128))
    assert "128" in _refusal((toy_dir / "tokenizer.json").read_text(), config)


@pytest.mark.parametrize(
    "source", ["", "{", "[]", "{}", '{"added_tokens": [{}]}', '{"model": {"type": "BPE"}}']
)
def test_damaged_file_is_refused(source: str, toy_config: MoondreamConfig) -> None:
    _refusal(source, toy_config)


def test_unreadable_file(tmp_path: Path, toy_config: MoondreamConfig) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        TextTokenizer.from_file(tmp_path / "tokenizer.json", toy_config)
