"""The greedy loops against a scripted decoder: what random weights and golden data would hardly meet."""

import random
from collections.abc import Sequence
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from streamqa.model.moondream.config import MoondreamConfig
from streamqa.model.moondream.generate import (
    Chunk,
    Decoded,
    accept,
    decode_reasoning,
    decode_regions,
    decode_text,
    grounding,
    reason,
)
from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.packing import Session
from streamqa.model.moondream.prompts import PromptIds, query

EOS, ANSWER, COORD, SIZE, GROUND, END_GROUND = 0, 3, 5, 6, 7, 9


class Script:
    """A decoder whose every step is written down: per sequence a list of steps, each its tokens, best first."""

    def __init__(self, config: MoondreamConfig, steps: Sequence[Sequence[Sequence[int]]]) -> None:
        self.config, self.steps = config, steps
        self.text = self
        self.start = 0
        self.rows = list(range(len(steps)))
        self.at = [0] * len(steps)
        self.fed: list[list[Any]] = [[] for _ in steps]
        self.coords = iter([0.25, 0.5, 0.75, 0.125] * 10)
        self.region = SimpleNamespace(
            decode_coord=lambda h: torch.tensor([[next(self.coords)] for _ in h]),
            decode_size=lambda h: torch.tensor([[0.5, 0.25] for _ in h]),
            embed_coord=lambda c: c * 1000,
            embed_size=lambda s: s[:, :1] * 10000,
        )

    def hidden(self) -> torch.Tensor:
        return torch.tensor([[row, self.at[row]] for row in self.rows])

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(len(hidden), 300)
        for i, (row, at) in enumerate(hidden.tolist()):
            for rank, token in enumerate(self.steps[row][at]):
                out[i, token] = 20.0 - rank
        return out

    def embed(self, what: Any, extra: Any = ()) -> torch.Tensor:
        if isinstance(what, torch.Tensor):
            return what[:, None].float()
        return torch.tensor([[float(token)] for prompt in what for token in prompt.ids])

    def feed(self, x: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
        assert len(counts) == len(self.rows)
        for row, part in zip(self.rows, x.split(list(counts)), strict=True):
            self.fed[row] += part[:, 0].tolist()
            self.at[row] += 1
        return self.hidden().repeat_interleave(torch.tensor(counts), 0)

    def keep(self, rows: Sequence[int]) -> None:
        self.rows = [self.rows[row] for row in rows]


def _decode(config: MoondreamConfig, steps: Any, budgets: Sequence[int]) -> tuple[Any, Script]:
    script: Any = Script(config, steps)
    return decode_text(script, script, script.hidden(), budgets), script


def test_answer_id_is_free_first_and_banned_later(toy_config: MoondreamConfig) -> None:
    [got], _ = _decode(toy_config, [[[ANSWER], [ANSWER, 50], [EOS]]], [9])
    assert got.ids == (ANSWER, 50)


def test_eos_at_the_cap_is_not_looked_for(toy_config: MoondreamConfig) -> None:
    got, script = _decode(toy_config, [[[50], [51], [EOS]], [[50], [EOS]], [[EOS]]], [2, 2, 1])
    assert [(g.ids, g.finish) for g in got] == [((50, 51), "length"), ((50,), "eos"), ((), "eos")]
    assert script.fed == [[50], [50], []]  # no forward after the last allowed token, none after eos


def test_finished_rows_leave_the_batch(toy_config: MoondreamConfig) -> None:
    steps = [[[50], [EOS]], [[60], [61], [62], [EOS]], [[70], [71], [EOS]]]
    got, script = _decode(toy_config, steps, [9, 9, 9])
    assert [g.ids for g in got] == [(50,), (60, 61, 62), (70, 71)]
    assert script.fed == [[50], [60, 61, 62], [70, 71]]


def test_logprob_is_the_mean_over_the_full_vocabulary(toy_config: MoondreamConfig) -> None:
    [got], script = _decode(toy_config, [[[50], [ANSWER, 51], [EOS]]], [9])
    steps = [script.logits(torch.tensor([[0, at]])).log_softmax(-1)[0] for at in range(3)]
    expected = (steps[0][50] + steps[1][51] + steps[2][EOS]) / 3
    assert got.logprob == pytest.approx(float(expected), abs=1e-5)


def _think(config: MoondreamConfig, steps: Any, budget: int = 20) -> tuple[Any, Script]:
    script: Any = Script(config, [steps])
    return decode_reasoning(script, script, script.hidden(), budget, 5), script


def test_reasoning_starting_with_a_place(toy_config: MoondreamConfig) -> None:
    got, script = _think(toy_config, [[COORD], [COORD], [ANSWER], [50], [EOS]])
    assert got.chunks[0].points == [(0.25, 0.5)]
    assert got.answer.ids == (50,)
    assert script.fed == [[250.0, 500.0, ANSWER, 50]]  # the coordinates, not their token; the suffix once


def test_reasoning_bans_eos_and_size_after_the_first_token(toy_config: MoondreamConfig) -> None:
    got, _ = _think(toy_config, [[SIZE], [SIZE, EOS, 50], [EOS, SIZE, 51], [ANSWER], [EOS]])
    assert got.ids == (SIZE, 50, 51)
    got, _ = _think(toy_config, [[EOS], [ANSWER], [EOS]])
    assert got.ids == (EOS,)


def test_grounding_tokens_open_the_new_chunk(toy_config: MoondreamConfig) -> None:
    steps = [[50], [GROUND], [COORD], [COORD], [COORD], [END_GROUND], [51], [ANSWER], [EOS]]
    got, _ = _think(toy_config, steps)
    assert [chunk.ids for chunk in got.chunks] == [[50], [GROUND, COORD, COORD, COORD], [END_GROUND, 51]]
    assert grounding(got.chunks, len) == [{"start_idx": 1, "end_idx": 5, "points": [(0.25, 0.5)]}]


def test_last_thought_at_the_cap_is_fed(toy_config: MoondreamConfig) -> None:
    got, script = _think(toy_config, [[50], [COORD], [], [60], [EOS]], budget=2)
    assert got.ids == (50, COORD)
    assert script.fed == [[50, 250.0, ANSWER, 60]]
    assert got.answer.finish == "eos"


def test_thoughts_do_not_carry_their_ban_into_the_answer(toy_config: MoondreamConfig) -> None:
    got, _ = _think(toy_config, [[50], [ANSWER], [EOS]])
    assert (got.answer.ids, got.answer.finish) == ((), "eos")


def test_odd_coordinate_is_dropped() -> None:
    assert Chunk([5, 5, 5], [0.1, 0.2, 0.3]).points == [(0.1, 0.2)]


def test_offsets_count_characters() -> None:
    chunks = [Chunk([1, 2], []), Chunk([3], [0.1, 0.2]), Chunk([4, 5, 6], [0.3, 0.4])]
    spots = grounding(chunks, lambda ids: 10 * len(ids))
    assert [(s["start_idx"], s["end_idx"]) for s in spots] == [(20, 30), (30, 60)]


def test_boxes_of_several_sequences(toy_config: MoondreamConfig) -> None:
    # Of an object only the step after its size asks for a token.
    one = [[50], [], [], [EOS]]
    two = [[50], [], [], [51], [], [], [52]]
    script: Any = Script(toy_config, [one, two, [[EOS]]])
    found = decode_regions(script, script, script.hidden(), [9, 2, 9], "detect")
    assert [len(f) for f in found] == [1, 2, 0]
    box = found[0][0]
    assert (box["x_max"] - box["x_min"], box["y_max"] - box["y_min"]) == (0.5, 0.25)
    assert script.fed[0][2] == 5000.0


def test_no_objects_allowed(toy_config: MoondreamConfig) -> None:
    script: Any = Script(toy_config, [[[50]]])
    assert decode_regions(script, script, script.hidden(), [0], "point") == [[]]


@torch.inference_mode()
def test_reasoning_with_references_reads_them_once(golden: Any) -> None:
    # The reference crashes here: it applies them again to the suffix after the thoughts.
    network, data = golden.model.network, golden.data["images"][1]
    prompt = query(
        golden.model.config, data["spatial"]["question_ids"], data["spatial"]["spatial_refs"], reasoning=True
    )
    got = reason(network, Session(network.text, golden.encoded[1].batch, [0]), prompt, 5)
    assert 1 <= len(got.ids) <= 5
    other = query(
        golden.model.config, data["spatial"]["question_ids"], [(0.9, 0.9), (0, 0, 1, 1)], reasoning=True
    )
    assert other.ids == prompt.ids
    assert reason(network, Session(network.text, golden.encoded[1].batch, [0]), other, 5) != got


@torch.inference_mode()
def test_reasoning_fits_the_context(toy: Moondream) -> None:
    prompt = query(toy.config, range(20, 100), reasoning=True)  # 85 of 96 positions
    network = toy.network
    session = Session(network.text, None, [0])
    got = reason(network, session, prompt, 500)
    assert int(session.lengths.max()) <= 96
    assert len(got.answer.ids) >= 1 or got.answer.finish == "eos"


def decoded_with(golden: Any, drafts: list[list[int]]) -> tuple[list[Decoded], list[int]]:
    """Every golden prompt of every picture in one batch, each with its draft; and the rows of each forward."""
    model, network = golden.model, golden.model.network
    cases = [(i, p["prompt_ids"]) for i, image in enumerate(golden.data["images"]) for p in image["prompts"]]
    encoded = model.encode_image(golden.images)
    session = Session(network.text, encoded[0].batch, [image for image, _ in cases])
    prompts = [PromptIds(tuple(ids)) for _, ids in cases]
    counts = [len(prompt.ids) + len(draft) for prompt, draft in zip(prompts, drafts, strict=True)]
    forwards: list[int] = []
    feed = session.feed

    def counted(x_RD: torch.Tensor, rows: Sequence[int], trees: Sequence[Any] = ()) -> torch.Tensor:
        forwards.append(len(x_RD))
        return feed(x_RD, rows, trees)

    session.feed = counted  # type: ignore[method-assign]
    with torch.inference_mode():
        hidden_RD = session.feed(network.embed(prompts, drafts), counts)
        ends = [e - len(d) - 1 for e, d in zip(accumulate(counts), drafts, strict=True)]
        begun = accept(network, hidden_RD, ends, drafts)
        session.rewind([len(p.ids) + len(b.ids) for p, b in zip(prompts, begun, strict=True)])
        last = torch.tensor([end + len(b.ids) for end, b in zip(ends, begun, strict=True)])
        return decode_text(network, session, hidden_RD[last], [20] * len(prompts), begun), forwards


def test_drafts_of_any_kind_change_nothing_but_the_number_of_forwards(golden: Any) -> None:
    expected = [p["generated_ids"] for image in golden.data["images"] for p in image["prompts"]]
    finish = [p["finish"] for image in golden.data["images"] for p in image["prompts"]]
    plain, steps = decoded_with(golden, [[] for _ in expected])
    rng = random.Random(0)
    half = [ids[: len(ids) // 2] + [rng.randrange(10, 500) for _ in range(3)] for ids in expected]
    mixed = [
        [own, [], wrong, own[:-1]][n % 4] for n, (own, wrong) in enumerate(zip(expected, half, strict=True))
    ]
    over = [[*ids, 7, 8, 9][:20] for ids in expected]
    for drafts in (half, mixed, over, [[11] * 20 for _ in expected]):
        found, _ = decoded_with(golden, drafts)
        assert [list(one.ids) for one in found] == expected
        assert [one.finish for one in found] == finish
        for one, other in zip(found, plain, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
    # The whole answer as its draft: what ended by itself needs no step, what was cut off by the budget neither.
    found, forwards = decoded_with(golden, expected)
    assert [list(one.ids) for one in found] == expected
    assert len(steps) == 20
    assert len(forwards) == 1


def test_a_session_cannot_be_rewound_forwards(golden: Any) -> None:
    session = Session(golden.model.network.text, None, [0])
    with pytest.raises(ValueError, match="not fed yet"):
        session.rewind([1])
