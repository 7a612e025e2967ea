import json
from pathlib import Path

from streamqa.model.moondream.config import read_config
from streamqa.model.tiny.sizes import SPECIAL, Sizes, config


def test_the_product_reads_this_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config(Sizes())))
    read = read_config(tmp_path / "config.json")
    assert read.vision.crop_size == 160
    assert read.prefix_len == Sizes().prefix == 101
    assert read.tokenizer.answer_id == SPECIAL.answer


def test_special_tokens_have_their_places() -> None:
    assert len(SPECIAL.names) == len(set(SPECIAL.names)) == 17
    assert SPECIAL.names[SPECIAL.eos] == "<|endoftext|>"
    assert max(SPECIAL.point, SPECIAL.detect, SPECIAL.long) < len(SPECIAL.names)


def test_heads_are_even_and_divide() -> None:
    sizes = Sizes()
    assert sizes.text_dim // sizes.text_heads % 4 == 0
    assert sizes.vision_dim % sizes.vision_heads == 0
    assert sizes.crop % sizes.patch == 0
