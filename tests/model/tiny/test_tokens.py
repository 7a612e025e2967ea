import random
from pathlib import Path

import pytest
import torch

from streamqa.model.tiny.grammar import QA, training_mix
from streamqa.model.tiny.sizes import SPECIAL
from streamqa.model.tiny.tokens import ANSWERS, COLOURS, encode, load_tokenizer, pack
from tests.model.tiny.micro import known, tokenizer


def test_closed_answers_are_single_tokens() -> None:
    for answer in (*ANSWERS, *COLOURS):
        assert len(tokenizer().encode(answer).ids) == 1


@pytest.mark.parametrize("text", ["Is there a person?", "Größe? 你好 🙂", "", " \t\n", "x" * 300])
def test_any_text_survives(text: str) -> None:
    ids = tokenizer().encode(text).ids
    assert tokenizer().decode(ids, skip_special_tokens=False) == text
    assert all(token >= len(SPECIAL.names) for token in ids)


def test_saved_and_loaded(tmp_path: Path) -> None:
    tokenizer().save(str(tmp_path / "t.json"))
    assert load_tokenizer(tmp_path / "t.json").encode("How many?").ids == tokenizer().encode("How many?").ids


def test_a_question_is_what_the_product_feeds() -> None:
    ids = tokenizer().encode("Is it day or night?").ids
    asked = encode(QA("daytime", "Is it day or night?", "day"), tokenizer())
    (day,) = tokenizer().encode("day").ids
    assert asked.tokens == [SPECIAL.query, *ids, SPECIAL.answer, SPECIAL.answer, day]
    assert asked.targets == [-1] * (len(ids) + 2) + [day, SPECIAL.eos]


def test_reasoning_is_left_at_once() -> None:
    asked = encode(QA("daytime", "Day?", "day"), tokenizer(), thinking=True)
    at = asked.tokens.index(SPECIAL.thinking)
    assert asked.tokens[at - 1 : at + 2] == [SPECIAL.answer, SPECIAL.thinking, SPECIAL.answer]
    assert asked.targets[at] == SPECIAL.answer


def test_captions_have_their_own_prompt() -> None:
    asked = encode(QA("caption", "", "day.", "long"), tokenizer())
    assert asked.tokens[:2] == [SPECIAL.caption, SPECIAL.long]
    assert asked.targets[0] == -1
    assert asked.targets[-1] == SPECIAL.eos


def test_packing_keeps_questions_apart() -> None:
    rng = random.Random(0)
    batch = [[encode(qa, tokenizer()) for qa in training_mix(facts, rng, 10)] for facts in known(3)]
    packed = pack(batch, rows=5, width=44, start=26)
    assert packed.tokens.shape == (3, 220)
    assert packed.mask.shape == (3, 1, 5, 44, 44)
    for b, questions in enumerate(batch):
        for index, _ in enumerate(packed.types[b]):
            places = (packed.group[b] == index).nonzero().squeeze(1)
            kept = packed.tokens[b, places].tolist()
            assert kept in [q.tokens for q in questions]
            assert packed.positions[b, places].tolist() == list(range(26, 26 + len(kept)))
            assert places[-1] // 44 == places[0] // 44  # in one row
    group = packed.group.view(3, 5, 44)
    seen = packed.mask[:, 0] == 0
    assert torch.equal(seen, seen & (group[..., :, None] == group[..., None, :]))
    assert not seen.triu(1).any()


def test_what_does_not_fit_is_left_out() -> None:
    asked = encode(QA("daytime", "Is it day or night?", "day"), tokenizer())
    packed = pack([[asked] * 9], rows=2, width=len(asked.tokens) + 3, start=0)
    assert len(packed.types[0]) == 2
