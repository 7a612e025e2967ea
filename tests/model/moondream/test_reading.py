import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from streamqa.model.moondream.reading import choose, read_rows
from streamqa.model.moondream.scoring import build_trie
from streamqa.types import Option
from tests.model.moondream.test_scoring import NUMBERS, YES_NO, _letters, probs_of


def test_bans_hold_in_their_own_row_only() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0], [1.0, 3.0, 2.0]])
    spots = torch.tensor([[1, 2, 2], [1, 1, 2]])
    tokens, logprobs, normaliser = choose(logits.clone(), spots)
    assert tokens.tolist() == [1, 2, 0]
    torch.testing.assert_close(normaliser, logits.logsumexp(-1))
    torch.testing.assert_close(logprobs, logits.log_softmax(-1)[torch.arange(3), tokens])
    assert choose(logits.clone(), None)[0].tolist() == [1, 1, 1]


def test_choices_and_options_of_chosen_rows() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(200, 128) * 4  # the head of this test says what it is given
    tries = [build_trie(options, _letters) for options in (YES_NO, NUMBERS)]
    sizes = [1 + trie.n_fed for trie in tries]
    rows = [3, *range(5, 5 + sizes[0]), 1, *range(30, 30 + sizes[1])]
    places = [1, 2 + sizes[0]]
    banned = [(int(hidden[row].argmax()),) if row == 3 else () for row in rows]
    choices, probs = read_rows(torch.clone, hidden, rows, banned, list(zip(places, tries, strict=True)))
    assert choices[0][0] == int(hidden[3].topk(2).indices[1])
    for row, (token, logprob) in list(zip(rows, choices, strict=True))[1:]:
        assert token == int(hidden[row].argmax())
        assert logprob == pytest.approx(float(hidden[row].log_softmax(-1)[token]), abs=1e-5)
    for place, trie, got in zip(places, tries, probs, strict=True):
        mine = rows[place : place + 1 + trie.n_fed]
        np.testing.assert_allclose(got, probs_of([trie], hidden[mine])[0], rtol=1e-5)


def test_what_is_banned_still_counts_as_an_option() -> None:
    trie = build_trie([Option("a", ("a",))], _letters)
    hidden = torch.zeros(2, 128)  # after the prompt, and after a blank
    alone = read_rows(torch.clone, hidden, [0, 1], None, [(0, trie)])
    both = read_rows(torch.clone, hidden, [0, 1], [(ord("a"),), ()], [(0, trie)])
    assert alone[0] == []
    assert both[1] == alone[1]
    assert both[1][0][0] == pytest.approx(2 / 128 + 2 / 128**2)


class Copies(TorchDispatchMode):
    """Counts what waits for the device: reads of single numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.reads += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return func(*args, **(kwargs or {}))


def test_nothing_waits_for_the_device_but_the_copy_back() -> None:
    trie = build_trie(YES_NO, _letters)
    rows = list(range(1 + trie.n_fed))
    banned = [(row,) for row in rows]
    with Copies() as copies:
        read_rows(torch.clone, torch.zeros(len(rows), 128), rows, banned, [(0, trie)])
    assert copies.reads == 0
