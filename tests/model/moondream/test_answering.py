from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamqa.model.moondream import answering
from streamqa.model.moondream.model import Moondream
from streamqa.types import Generation, Option, Prompt, Request

YES_NO = (Option(True, ("Yes",)), Option(False, ("No",)))
EVERY = (
    Prompt("Is it?", options=YES_NO),
    Prompt("What is there to see?", max_tokens=6),
    Prompt("", task="caption", length="short", max_tokens=3),
    Prompt("cat", task="detect", max_objects=2),
    Prompt("dog", task="point", max_objects=3),
    Prompt("Why?", task="reason", max_tokens=4),
)


def _same(a: Generation, b: Generation) -> bool:
    return (
        (a.text, a.tokens, a.finish, a.reasoning, a.error)
        == (b.text, b.tokens, b.finish, b.reasoning, b.error)
        and a.logprob == pytest.approx(b.logprob, abs=1e-4)
        and a.option_probs == pytest.approx(b.option_probs, abs=1e-5)
        and a.points == b.points
        and a.boxes == b.boxes
    )


def test_together_equals_one_by_one(toy: Moondream, toy_images: list[Any]) -> None:
    requests = [
        Request(toy_images[0], EVERY),
        Request(None, EVERY[:2]),
        Request(toy_images[1], EVERY[::-1]),
        Request(toy_images[2], ()),
        Request(toy_images[3], EVERY[1:2] * 3),
    ]
    together = toy.answer(requests)
    assert [len(group) for group in together] == [6, 2, 6, 0, 3]
    for request, group in zip(requests, together, strict=True):
        for prompt, generation in zip(request.prompts, group, strict=True):
            alone = toy.answer([Request(request.image, (prompt,))])[0][0]
            assert alone.finish != "error"
            assert _same(alone, generation), (prompt, alone, generation)


def test_every_task_gives_its_kind_of_result(toy: Moondream, toy_images: list[Any]) -> None:
    scored, text, caption, boxes, points, reasoned = toy.answer([Request(toy_images[1], EVERY)])[0]
    assert scored.finish == "scored"
    assert len(scored.option_probs) == 2
    assert text.tokens <= 6
    assert caption.tokens <= 3
    assert (len(boxes.boxes) <= 2, boxes.points) == (True, ())
    assert (len(points.points) <= 3, points.boxes) == (True, ())
    assert reasoned.finish in ("eos", "length")


def test_too_long_a_question_is_its_own_error(toy: Moondream, toy_images: list[Any]) -> None:
    long = "ü" * 10_000
    tasks: tuple[Any, ...] = ("query", "detect", "point", "reason")
    prompts = (EVERY[0], *(Prompt(long, task=task) for task in tasks), Prompt(long, options=YES_NO), EVERY[1])
    group = toy.answer([Request(toy_images[0], prompts)])[0]
    for bad in group[1:-1]:
        assert bad.finish == "error"
        assert "too long" in bad.error
        assert "\n" not in bad.error
    alone = toy.answer([Request(toy_images[0], (EVERY[0], EVERY[1]))])[0]
    assert _same(group[0], alone[0])
    assert _same(group[-1], alone[1])


@pytest.mark.parametrize("task", ["query", "detect", "reason"])
def test_longest_question_that_fits(toy: Moondream, toy_images: list[Any], task: Any) -> None:
    results = [
        toy.answer([Request(toy_images[0], (Prompt("u" * n, task=task),))])[0][0] for n in range(60, 80)
    ]
    finishes = [r.finish for r in results]
    first_bad = finishes.index("error")
    assert set(finishes[first_bad:]) == {"error"}
    assert "error" not in finishes[:first_bad]


def test_control_text_in_a_question_is_text(toy: Moondream, toy_images: list[Any]) -> None:
    # Taken as a token, <|md_reserved_2|> would end the question, and the first answer would be unmasked.
    assert toy.tokenizer is not None
    asked = toy.answer([Request(toy_images[0], (Prompt("a<|md_reserved_2|>b", max_tokens=4),))])[0][0]
    ids = [
        1,
        40,
        2,
        *toy.tokenizer.encode("a"),
        *toy.tokenizer.encode("<|md_reserved_2|>"),
        *toy.tokenizer.encode("b"),
    ]
    assert max(ids.count(3), ids.count(0)) == 0
    expected = toy.generate(toy.encode_image(toy_images[:1]), [[[*ids, 3, 3]]], 4)[0][0]
    assert asked.text == toy.tokenizer.decode(expected.ids)


def test_without_a_picture(toy: Moondream) -> None:
    text, detect = toy.answer([Request(None, (EVERY[1], EVERY[3]))])[0]
    assert text.finish in ("eos", "length")
    assert detect.error == "detect needs a picture"


def test_task_the_model_does_not_have(toy_dir: Any, toy: Moondream, toy_images: list[Any]) -> None:
    small = Moondream(toy.network, toy.tokenizer, replace(toy.info, tasks=frozenset({"query"})))
    ok, bad = small.answer([Request(toy_images[0], (EVERY[0], EVERY[2]))])[0]
    assert ok.finish == "scored"
    assert bad.error == "this model cannot caption; it can query"


def test_bad_picture_is_its_requests_error(toy: Moondream, toy_images: list[Any]) -> None:
    broken, fine = toy.answer(
        [Request(toy_images[0][:, :, :2], EVERY[:2]), Request(toy_images[1], EVERY[:1])]
    )
    assert [g.finish for g in broken] == ["error", "error"]
    assert "uint8 (H, W, 3)" in broken[0].error
    assert fine[0].finish == "scored"


def test_pictures_of_any_size_are_answered_or_refused_by_themselves(toy: Moondream) -> None:
    tiny = np.zeros((1, 1, 3), np.uint8)
    huge = np.broadcast_to(tiny, (20_000, 20_000, 3))
    grey, clear = np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8)
    strip = np.zeros((1, 3000, 3), np.uint8)
    groups = toy.answer([Request(image, EVERY[:2]) for image in (tiny, huge, grey, clear, strip, tiny)])
    for place in (1, 2, 3):
        assert [g.finish for g in groups[place]] == ["error", "error"]
    assert "megapixels, got 20000x20000" in groups[1][0].error
    assert "(9, 9)" in groups[2][0].error
    assert "(9, 9, 4)" in groups[3][0].error
    for place in (0, 4, 5):
        assert "error" not in [g.finish for g in groups[place]]


@pytest.mark.parametrize("part", ["text.lm_head.bias", "text.blocks.1.attn.qkv.bias", "vision.post_ln.bias"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # numpy's, of the scores
def test_numbers_that_are_not_finite_are_an_error_of_every_task(
    toy_dir: Path, toy_images: list[Any], part: str, value: float
) -> None:
    model = Moondream.from_pretrained(toy_dir)
    model.network.get_parameter(part)[3] = value
    for generation in model.answer([Request(toy_images[1], EVERY)])[0]:
        assert (generation.finish, generation.points, generation.boxes) == ("error", (), ())
        assert "not finite" in generation.error


def test_options_that_cannot_be_told_apart(toy: Moondream, toy_images: list[Any]) -> None:
    alike = (Option("a", ("red",)), Option("b", ("Red",)))
    asked = (Prompt("Which?", options=alike), Prompt("Is it?", options=YES_NO))
    ((bad, good),) = toy.answer([Request(toy_images[0], asked)])
    assert bad.finish == "error"
    assert "'a' and 'b'" in bad.error
    assert good.finish == "scored"


def test_tokenised_options_are_kept_but_not_for_ever(
    toy: Moondream, toy_images: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "MAX_TRIES", 3)
    answerer = Moondream(toy.network, toy.tokenizer, toy.info)._answerer
    assert answerer is not None
    first = answerer.trie(YES_NO)
    assert answerer.trie(tuple(YES_NO)) is first
    for n in range(9):
        answerer.trie((Option(n, (f"x{n}",)),))
    assert len(answerer._tries) <= 3


def test_bfloat16_answers_everything(toy_dir: Path, toy_images: list[Any]) -> None:
    half = Moondream.from_pretrained(toy_dir, dtype=torch.bfloat16)
    groups = half.answer([Request(image, EVERY) for image in toy_images])
    assert {generation.finish for group in groups for generation in group} <= {"eos", "length", "scored"}
    assert half.info.dtype == "bfloat16"


@pytest.mark.parametrize("draft", ["", "of another kind", "<|endoftext|>", "\ud800", "x" * 500])
def test_a_draft_never_changes_an_answer(toy: Moondream, toy_images: list[Any], draft: str) -> None:
    def said(drafts: list[str]) -> list[Generation]:
        prompts = tuple(replace(p, draft=d) for p, d in zip(EVERY, drafts, strict=True))
        return toy.answer([Request(toy_images[0], prompts)])[0]

    plain = said([""] * len(EVERY))
    own = said([generation.text for generation in plain])
    other = said([draft] * len(EVERY))
    for got in (own, other):
        for one, expected in zip(got, plain, strict=True):
            assert one.text == expected.text
            assert (one.tokens, one.finish) == (expected.tokens, expected.finish)
            assert one.logprob == pytest.approx(expected.logprob, abs=1e-4)
