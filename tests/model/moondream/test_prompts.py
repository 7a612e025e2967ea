from typing import Any

import pytest

from streamqa.model.moondream import prompts
from streamqa.model.moondream.config import MoondreamConfig, TokenizerConfig
from streamqa.model.moondream.prompts import Ref

RELEASED = MoondreamConfig()


def test_released_templates() -> None:
    words = [100, 101]
    assert prompts.query(RELEASED, words).ids == (1, 15381, 2, 100, 101, 3, 3)
    assert prompts.query(RELEASED, words, reasoning=True).ids == (1, 15381, 2, 100, 101, 3, 4)
    assert prompts.detect(RELEASED, words).ids == (1, 7235, 476, 2, 100, 101, 3)
    assert prompts.point(RELEASED, words).ids == (1, 2581, 2, 100, 101, 3)
    assert prompts.caption(RELEASED, "normal").ids == (1, 32708, 2, 6382, 3)
    assert prompts.without_image(RELEASED, prompts.query(RELEASED, words)).ids[0] == 0


def test_suffix_can_be_fed_once() -> None:
    once = MoondreamConfig(tokenizer=TokenizerConfig(query_suffix_repeats=1))
    assert prompts.query(once, [9]).ids == (1, 15381, 2, 9, 3)
    assert prompts.query(once, [9], reasoning=True).ids == (1, 15381, 2, 9, 4)


def test_prompts_of_the_reference(golden: Any) -> None:
    config = golden.model.config
    for image in golden.data["images"]:
        for prompt in image["prompts"]:
            if prompt["kind"] == "query":
                assert list(prompts.query(config, prompt["question_ids"]).ids) == prompt["prompt_ids"]
            elif prompt["kind"].startswith("caption_"):
                length = prompt["kind"].removeprefix("caption_")
                assert list(prompts.caption(config, length).ids) == prompt["prompt_ids"]
        reasoning, spatial = image["reasoning"], image["spatial"]
        got = prompts.query(config, reasoning["question_ids"], reasoning=True)
        assert list(got.ids) == reasoning["prompt_ids"]
        assert (
            list(prompts.query(config, spatial["question_ids"], spatial["spatial_refs"]).ids)
            == spatial["prompt_ids"]
        )
        for task, make in (("detect", prompts.detect), ("point", prompts.point)):
            assert list(make(config, [32, *image[task]["object_ids"]]).ids) == image[task]["prompt_ids"]
    text_only = golden.data["text_only"]
    got = prompts.without_image(config, prompts.query(config, text_only["question_ids"]))
    assert list(got.ids) == text_only["prompt_ids"]


def test_references_are_coordinates_and_sizes() -> None:
    got = prompts.query(RELEASED, [9], [(0.1, 0.2), (0.0, 0.5, 0.5, 1.0)])
    assert got.ids == (1, 15381, 2, 5, 5, 5, 5, 6, 9, 3, 3)
    assert (got.coords, got.sizes) == ((0.1, 0.2, 0.25, 0.75), ((0.5, 0.5),))
    assert prompts.without_image(RELEASED, got).coords == got.coords


def test_reference_places() -> None:
    assert Ref.of((0.1, 0.2)) == Ref((0.1, 0.2))
    assert Ref.of((0.0, 0.5, 0.5, 1.0)) == Ref((0.25, 0.75), (0.5, 0.5))


@pytest.mark.parametrize("numbers", [(), (0.1,), (0.1, 0.2, 0.3), (0.5, 1.5), (-0.1, 0.2)])
def test_bad_places(numbers: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="spatial reference"):
        Ref.of(numbers)


def test_unknown_caption_length() -> None:
    with pytest.raises(ValueError, match="short, normal, long"):
        prompts.caption(RELEASED, "epic")
