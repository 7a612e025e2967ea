import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamqa.errors import ConfigError
from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.scoring import Trie, build_trie, option_probs, option_spots, spellings
from streamqa.types import Option, Prompt, Request

YES_NO = (Option(True, ("Yes",)), Option(False, ("No",)))
NUMBERS = tuple(
    Option(n, (str(n), word)) for n, word in ((1, "one"), (10, "ten"), (100, "one hundred"), (0, "zero"))
)
COLOURS = tuple(Option(c, (c,)) for c in ("red", "reddish", "blue green", "RE"[:1] + "ose"))


def probs_of(tries: Sequence[Trie], logits: torch.Tensor) -> list[tuple[float, ...]]:
    """Of questions that stand one after the other in `logits`."""
    starts = [sum(1 + trie.n_fed for trie in tries[:n]) for n in range(len(tries))]
    rows, tokens = option_spots(tries, starts)
    return option_probs(tries, logits.log_softmax(-1)[rows, tokens].double().numpy())


def _letters(text: str) -> list[int]:
    return [ord(c) for c in text]


def naive_probs(model: Moondream, options: Sequence[Option], next_logprobs: Any) -> list[float]:
    """The rule of the design, word by word, one forward per prefix of a variant."""
    assert model.tokenizer is not None
    variants: list[set[tuple[int, ...]]] = []
    for option in options:
        texts = {form for v in option.variants for form in (v, v.lower(), v.capitalize())}
        ids = {tuple(model.tokenizer.encode(space + text)) for text in texts for space in ("", " ")}
        variants.append({v for v in ids if not any(w != v and v[: len(w)] == w for w in ids)})

    def prob(path: tuple[int, ...]) -> float:
        return math.exp(sum(float(next_logprobs(path[:n])[path[n]]) for n in range(len(path))))

    def own(number: int, path: tuple[int, ...]) -> float:
        longer = {
            w
            for other, paths in enumerate(variants)
            if other != number
            for w in paths
            if len(w) > len(path) and w[: len(path)] == path
        }
        nearest = {w for w in longer if not any(v != w and w[: len(v)] == v for v in longer)}
        return prob(path) - sum(prob(w) for w in nearest)

    return [sum(own(number, path) for path in paths) for number, paths in enumerate(variants)]


@pytest.mark.parametrize("options", [YES_NO, NUMBERS, COLOURS])
@torch.inference_mode()
def test_probabilities_equal_the_naive_rule(
    toy: Moondream, toy_images: list[Any], naive_logits: Any, options: tuple[Option, ...]
) -> None:
    assert toy.tokenizer is not None
    encoded = toy.encode_image(toy_images)[1]
    prompt = Prompt("How many?", options=options)
    ids = [1, 40, 2, *toy.tokenizer.encode(prompt.text), 3, 3]
    seen: dict[tuple[int, ...], torch.Tensor] = {}

    def next_logprobs(path: tuple[int, ...]) -> torch.Tensor:
        if path not in seen:
            seen[path] = naive_logits(toy, encoded, [*ids, *path])[-1].double().log_softmax(-1)
        return seen[path]

    expected = naive_probs(toy, options, next_logprobs)
    # Alone, and packed among prompts of other shapes and pictures.
    others = (Prompt("Is it?", options=YES_NO), Prompt("What?", max_tokens=3))
    alone = toy.answer([Request(toy_images[1], (prompt,))])[0][0]
    packed = toy.answer([Request(toy_images[0], others), Request(toy_images[1], (*others, prompt))])[1][2]
    for generation in (alone, packed):
        assert generation.option_probs == pytest.approx(expected, rel=1e-3, abs=1e-9)
        best = max(range(len(options)), key=lambda i: expected[i])
        assert (generation.text, generation.tokens, generation.finish) == (
            options[best].variants[0],
            0,
            "scored",
        )


def _probs(options: Sequence[Option], table: dict[str, dict[str, float]]) -> tuple[float, ...]:
    """Option probabilities where `table` says which letter follows which text."""
    trie = build_trie(options, _letters)
    paths = {-1: ""}
    for node, (token, parent) in enumerate(zip(trie.tokens, trie.parents, strict=True)):
        paths[node] = paths[int(parent)] + chr(token)
    logits = torch.full((1 + trie.n_fed, 128), -1e9)
    for row in range(1 + trie.n_fed):
        for letter, p in table.get(paths[row - 1], {}).items():
            logits[row, ord(letter)] = math.log(p)
        rest = 1 - sum(table.get(paths[row - 1], {}).values())
        logits[row, 0] = math.log(rest) if rest > 0 else -1e9
    return probs_of([trie], logits)[0]


def test_one_is_not_ten() -> None:
    options = [Option(1, ("1",)), Option(10, ("10",)), Option(100, ("100",))]
    got = _probs(options, {"": {"1": 0.5, " ": 0.25}, " ": {"1": 1.0}, "1": {"0": 0.5}, "10": {"0": 0.5}})
    # " 1" goes on nowhere here, so all of its 0.25 is a 1.
    assert got == pytest.approx((0.25 + 0.25, 0.125, 0.125))


def test_longer_form_of_the_same_option_is_dropped() -> None:
    got = _probs([Option("a", ("a", "ab"))], {"": {"a": 0.5}, "a": {"b": 0.5}})
    assert got == pytest.approx((0.5,))


def test_no_end_token_no_length_normalisation() -> None:
    got = _probs([Option("ab", ("ab",)), Option("c", ("c",))], {"": {"a": 0.5, "c": 0.4}, "a": {"b": 0.5}})
    assert got == pytest.approx((0.25, 0.4))


def test_spellings() -> None:
    assert set(spellings(Option(1, ("New York",)))) == {
        s + t for s, t in product(("", " "), ("New York", "new york", "New york"))
    }


@pytest.mark.parametrize(("a", "b"), [("Yes", "yes"), ("red", "RED"), ("go", " go")])
def test_options_written_alike_are_a_config_error(a: str, b: str) -> None:
    with pytest.raises(ConfigError, match="written alike"):
        build_trie([Option(a, (a,)), Option(b, (b,))], _letters)


@given(st.sets(st.text("ab1 ", min_size=1, max_size=4).map(str.strip).filter(bool), min_size=1, max_size=6))
def test_options_never_take_more_than_all(texts: set[str]) -> None:
    options = [Option(text, (text,)) for text in sorted(texts)]
    try:
        trie = build_trie(options, _letters)
    except ConfigError:
        return
    assert (trie.parents < trie.n_fed).all()
    assert trie.sees.diagonal().all()
    torch.manual_seed(len(texts))
    probs = probs_of([trie], torch.randn(1 + trie.n_fed, 128) * 4)[0]
    assert all(p >= 0 for p in probs)
    assert sum(probs) <= 1 + 1e-6


def test_several_questions_in_one_table() -> None:
    tries = [build_trie(options, _letters) for options in (YES_NO, NUMBERS)]
    logits = torch.randn(2 + sum(t.n_fed for t in tries), 128)
    together = probs_of(tries, logits)
    first = 1 + tries[0].n_fed
    assert together[0] == probs_of(tries[:1], logits[:first])[0]
    np.testing.assert_allclose(together[1], probs_of(tries[1:], logits[first:])[0])
