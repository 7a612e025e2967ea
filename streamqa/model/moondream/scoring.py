"""Probability of each option of a closed question, over all the ways to write it.

The written forms of all options make a trie of tokens. Its inner nodes ride along with the prompt in the same
forward (`packing.Tree`), each seeing the prompt and its own branch; everything else is arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamqa.errors import ConfigError
from streamqa.model.moondream.config import Ids
from streamqa.types import Option

Floats = npt.NDArray[np.float64]


def spellings(option: Option) -> list[str]:
    """Every written form as written, in lower case and capitalised, with and without a leading space."""
    forms: dict[str, None] = {}
    for text in option.variants:
        for form in (text, text.lower(), text.capitalize()):
            forms[form] = forms[" " + form] = None
    return list(forms)


def _shortest(paths: set[Ids]) -> list[Ids]:
    """Without those that another one is a prefix of."""
    return [path for path in sorted(paths) if not any(path[:n] in paths for n in range(1, len(path)))]


@dataclass(frozen=True, slots=True, eq=False)
class Trie:
    """The tokens of all options; nodes 0 to n_fed - 1 have children, the others end a form.

    A node's parent is -1 when it directly follows the prompt.
    """

    tokens: npt.NDArray[np.int64]  # [M]
    parents: npt.NDArray[np.int64]  # [M], each < n_fed
    depths: npt.NDArray[np.int64]  # [n_fed], 1 = directly after the prompt
    sees: npt.NDArray[np.bool_]  # [n_fed, n_fed], node and its ancestors
    path: Floats  # [M, M], 1 at a node and its ancestors
    weights: Floats  # [options, M]: +1 where a form ends, -1 where another option's longer one does

    @property
    def n_fed(self) -> int:
        """Nodes whose next-token probabilities are needed."""
        return len(self.depths)

    @property
    def fed(self) -> list[int]:
        """Their tokens."""
        return [int(token) for token in self.tokens[: self.n_fed]]


def build_trie(options: Sequence[Option], encode: Callable[[str], Sequence[int]]) -> Trie:
    """The trie of a question's options.

    Raises:
        ConfigError: two options can be written with the same tokens.
    """
    owner: dict[Ids, int] = {}
    for number, option in enumerate(options):
        for path in _shortest({tuple(encode(text)) for text in spellings(option)} - {()}):
            if path in owner:
                first = options[owner[path]].value
                raise ConfigError(
                    f"options {first!r} and {option.value!r} can be written alike; change one of them"
                )
            owner[path] = number
    inner = {path[:n] for path in owner for n in range(1, len(path))}
    nodes = [*sorted(inner, key=lambda p: (len(p), p)), *(path for path in owner if path not in inner)]
    place = {path: i for i, path in enumerate(nodes)}
    path_MM = np.zeros((len(nodes), len(nodes)))
    for path, i in place.items():
        path_MM[i, [place[path[:n]] for n in range(1, len(path) + 1)]] = 1.0
    weights = np.zeros((len(options), len(nodes)))
    for path, number in owner.items():
        weights[number, place[path]] = 1.0
        # Going on into a longer form is that form's probability; the nearest shorter one gives it away.
        for n in range(len(path) - 1, 0, -1):
            if path[:n] in owner:
                weights[owner[path[:n]], place[path]] = -1.0
                break
    return Trie(
        tokens=np.array([path[-1] for path in nodes], dtype=np.int64),
        parents=np.array([place.get(path[:-1], -1) for path in nodes], dtype=np.int64),
        depths=np.array([len(path) for path in nodes[: len(inner)]], dtype=np.int64),
        sees=path_MM[: len(inner), : len(inner)] > 0,
        path=path_MM,
        weights=weights,
    )


def option_spots(tries: Sequence[Trie], starts: Sequence[int]) -> npt.NDArray[np.int64]:
    """Where the log-probabilities of all nodes of all questions stand: row and token of each, [2, nodes].

    Args:
        tries: one per question.
        starts: for each question the row after its prompt, which the rows after its fed nodes follow.
    """
    rows = [start + 1 + trie.parents for start, trie in zip(starts, tries, strict=True)]
    none = np.empty(0, dtype=np.int64)
    return np.stack([np.concatenate([none, *rows]), np.concatenate([none, *(trie.tokens for trie in tries)])])


def option_probs(tries: Sequence[Trie], logprobs: Floats) -> list[tuple[float, ...]]:
    """The full-vocabulary probability of each option of each question, from what stands at `option_spots`."""
    result: list[tuple[float, ...]] = []
    for trie in tries:
        mine, logprobs = logprobs[: len(trie.tokens)], logprobs[len(trie.tokens) :]
        probs = trie.weights @ np.exp(trie.path @ mine)
        result.append(tuple(float(p) for p in probs.clip(0.0, 1.0)))  # rounding may leave -1e-17
    return result
