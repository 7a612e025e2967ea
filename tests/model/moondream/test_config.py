import json
from pathlib import Path

import pytest

from streamqa.errors import ModelError
from streamqa.model.moondream.config import MoondreamConfig, read_config


def test_released_sizes_are_the_default() -> None:
    config = MoondreamConfig()
    assert (config.prefix_len, config.vision.grid, config.vision.window_px) == (730, 27, 266)
    assert (config.text.head_dim, config.text.rotary_dim, config.vision.margin_px) == (64, 32, 56)
    assert config.tokenizer.probe == {"query": (15381,)}


def test_golden_field_names(golden_dir: Path) -> None:
    config = read_config(golden_dir / "config.json")
    assert (config.text.dim, config.vision.grid, config.prefix_len) == (64, 6, 37)
    assert config.tokenizer.templates.caption["long"] == (1, 308, 2, 405, 3)
    assert config.tokenizer.probe == {}


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        '{"model_type": "moondream1", "auto_map": {}, "config": {}}',
        '{"config": {"text": {"group_size": null}}}',
    ],
)
def test_empty_or_nested_config_means_the_released_sizes(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    assert read_config(path) == MoondreamConfig()


def test_absent_config_means_the_released_sizes(tmp_path: Path) -> None:
    assert read_config(tmp_path / "config.json") == MoondreamConfig()


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("{", "config.json"),
        ("[]", "JSON object"),
        ('{"text": {"dmi": 3}}', "text.dmi"),
        ('{"text": {"dim": "x"}}', "text.dim"),
        ('{"text": 3}', "config.json"),
        ('{"text": {"n_heads": 3}}', "n_heads"),
        ('{"text": {"n_heads": 0}}', "config.json"),
        ('{"text": {"dim": 1024}}', "proj_out_dim"),
        ('{"vision": {"crop_size": 100}}', "crop_size"),
        ('{"vision": {"overlap_margin": 14}}', "overlap_margin"),
        ('{"tokenizer": {"templates": {"query": {"prefix": [1]}}}}', "suffix"),
        ('{"tokenizer": {"templates": {"quiz": {}}}}', "quiz"),
        ('{"tokenizer": {"templates": {"caption": {"short": "x"}}}}', "ids expected"),
        ('{"text": {}, "extra": {}}', "extra"),
    ],
)
def test_bad_config_is_one_line(tmp_path: Path, content: str, names: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(ModelError) as caught:
        read_config(path)
    assert names in str(caught.value)
    assert "\n" not in str(caught.value)


def test_config_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError):
        read_config(path)


def test_a_probe_can_be_stated(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"tokenizer": {"probe": {"yes": [7]}}}))
    assert read_config(path).tokenizer.probe == {"yes": (7,)}
