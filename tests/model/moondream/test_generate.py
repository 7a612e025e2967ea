"""The loop against a scripted decoder: what random weights and golden data would hardly meet."""

import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from streamqa.model.moondream.answering import Answerer, Job, reason_budgets
from streamqa.model.moondream.config import MoondreamConfig
from streamqa.model.moondream.generate import decode, feed
from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.packing import Session
from streamqa.model.moondream.prompts import PromptIds, query
from streamqa.model.moondream.runs import Decoded, ObjectsRun, Reasoned, ReasonRun, TextRun
from streamqa.types import Prompt

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
        rows: list[list[float]] = []
        for prompt in what:
            coords, sizes = iter(prompt.coords), iter(prompt.sizes)
            for token in prompt.ids:
                places = {COORD: (1000 * c for c in coords), SIZE: (10000 * w for w, _ in sizes)}
                rows.append([next(places.get(token, iter(())), float(token))])
        return torch.tensor(rows)

    def feed(self, x: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
        assert len(counts) == len(self.rows)
        for row, part in zip(self.rows, x.split(list(counts)), strict=True):
            self.fed[row] += part[:, 0].tolist()
            self.at[row] += 1
        return self.hidden().repeat_interleave(torch.tensor(counts), 0)

    def keep(self, rows: Sequence[int]) -> None:
        self.rows = [self.rows[row] for row in rows]


def _decode(config: MoondreamConfig, steps: Any, budgets: Sequence[int]) -> tuple[list[Decoded], Script]:
    script: Any = Script(config, steps)
    runs = [TextRun(config.tokenizer, budget) for budget in budgets]
    decode(script, script, script.hidden(), runs)
    return [run.decoded for run in runs], script


def test_finished_rows_leave_the_batch(toy_config: MoondreamConfig) -> None:
    steps = [[[50], [EOS]], [[60], [61], [62], [EOS]], [[70], [71], [EOS]]]
    got, script = _decode(toy_config, steps, [9, 9, 9])
    assert [g.ids for g in got] == [(50,), (60, 61, 62), (70, 71)]
    assert script.fed == [[50], [60, 61, 62], [70, 71]]


def test_eos_at_the_cap_is_not_looked_for(toy_config: MoondreamConfig) -> None:
    got, script = _decode(toy_config, [[[50], [51], [EOS]], [[50], [EOS]], [[EOS]]], [2, 2, 1])
    assert [(g.ids, g.finish) for g in got] == [((50, 51), "length"), ((50,), "eos"), ((), "eos")]
    assert script.fed == [[50], [50], []]  # no forward after the last allowed token, none after eos


def test_answer_id_is_free_first_and_banned_later(toy_config: MoondreamConfig) -> None:
    [got], _ = _decode(toy_config, [[[ANSWER], [ANSWER, 50], [EOS]]], [9])
    assert got.ids == (ANSWER, 50)


def test_logprob_is_the_mean_over_the_full_vocabulary(toy_config: MoondreamConfig) -> None:
    [got], script = _decode(toy_config, [[[50], [ANSWER, 51], [EOS]]], [9])
    steps = [script.logits(torch.tensor([[0, at]])).log_softmax(-1)[0] for at in range(3)]
    expected = (steps[0][50] + steps[1][51] + steps[2][EOS]) / 3
    assert got.logprob == pytest.approx(float(expected), abs=1e-5)


def _think(config: MoondreamConfig, steps: Any, budget: int = 20) -> tuple[Reasoned, Script]:
    script: Any = Script(config, [steps])
    run = ReasonRun(config.tokenizer, budget, 5)
    decode(script, script, script.hidden(), [run])
    return run.reasoned, script


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


def test_last_thought_at_the_cap_is_fed(toy_config: MoondreamConfig) -> None:
    # Together with the suffix that opens the answer, so the decoder makes one step of the two.
    got, script = _think(toy_config, [[50], [COORD], [60], [EOS]], budget=2)
    assert got.ids == (50, COORD)
    assert script.fed == [[50, 250.0, ANSWER, 60]]
    assert got.answer.finish == "eos"


def test_thoughts_do_not_carry_their_ban_into_the_answer(toy_config: MoondreamConfig) -> None:
    got, _ = _think(toy_config, [[50], [ANSWER], [EOS]])
    assert (got.answer.ids, got.answer.finish) == ((), "eos")


def test_boxes_of_several_sequences(toy_config: MoondreamConfig) -> None:
    # Of an object only the step after its size asks for a token.
    one = [[50], [], [], [EOS]]
    two = [[50], [], [], [51], [], [], [52]]
    script: Any = Script(toy_config, [one, two, [[EOS]]])
    runs = [ObjectsRun(toy_config.tokenizer, limit, "detect") for limit in (9, 2, 9)]
    decode(script, script, script.hidden(), runs)
    assert [len(run.found) for run in runs] == [1, 2, 0]
    assert [run.full for run in runs] == [False, True, False]
    box = runs[0].found[0]
    assert (box["x_max"] - box["x_min"], box["y_max"] - box["y_min"]) == (0.5, 0.25)
    assert script.fed[0][2] == 5000.0
    assert len(script.fed[1]) == 5  # nothing is fed after the last box that there is room for


def test_no_objects_allowed(toy_config: MoondreamConfig) -> None:
    script: Any = Script(toy_config, [[[50]]])
    run = ObjectsRun(toy_config.tokenizer, 0, "point")
    decode(script, script, script.hidden(), [run])
    assert run.found == []


def test_answers_of_all_kinds_share_their_steps(toy_config: MoondreamConfig) -> None:
    steps = [[[50], [51], [EOS]], [[60], [], [EOS]], [[70], [COORD], [ANSWER], [80], [EOS]]]
    script: Any = Script(toy_config, steps)
    special = toy_config.tokenizer
    text, points, thoughts = TextRun(special, 9), ObjectsRun(special, 9, "point"), ReasonRun(special, 9, 9)
    forwards: list[int] = []
    feed_one = script.feed
    script.feed = lambda x, counts: (forwards.append(len(counts)), feed_one(x, counts))[1]
    decode(script, script, script.hidden(), [text, points, thoughts])
    assert text.ids == [50, 51]
    assert [set(point) for point in points.found] == [{"x", "y"}]
    assert (thoughts.reasoned.ids, thoughts.reasoned.answer.ids) == ((70, COORD), (80,))
    assert forwards == [3, 3, 1, 1]


@torch.inference_mode()
def _reason(model: Moondream, session: Session, prompt: PromptIds, max_tokens: int) -> Reasoned:
    room = model.config.text.max_context - session.start - len(prompt.ids)
    run = ReasonRun(model.config.tokenizer, *reason_budgets(model.config, max_tokens, room))
    decode(model.network, session, feed(model.network, session, [prompt]), [run])
    return run.reasoned


def test_reasoning_with_references_reads_them_once(golden: Any) -> None:
    # The reference crashes here: it applies them again to the suffix after the thoughts.
    model, data = golden.model, golden.data["images"][1]
    prompt = query(
        model.config, data["spatial"]["question_ids"], data["spatial"]["spatial_refs"], reasoning=True
    )
    got = _reason(model, Session(model.network.text, golden.encoded[1].batch, [0]), prompt, 5)
    assert 1 <= len(got.ids) <= 5
    other = query(model.config, data["spatial"]["question_ids"], [(0.9, 0.9), (0, 0, 1, 1)], reasoning=True)
    assert other.ids == prompt.ids
    assert _reason(model, Session(model.network.text, golden.encoded[1].batch, [0]), other, 5) != got


def test_reasoning_fits_the_context(toy: Moondream) -> None:
    prompt = query(toy.config, range(20, 100), reasoning=True)  # 85 of 96 positions
    session = Session(toy.network.text, None, [0])
    got = _reason(toy, session, prompt, 500)
    assert int(session.lengths.max()) <= 96
    assert len(got.answer.ids) >= 1 or got.answer.finish == "eos"


class Ids:
    """Ids as words."""

    def encode(self, text: str) -> list[int]:
        return [int(word) for word in text.split()]

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(map(str, ids))


@torch.inference_mode()
def _with_drafts(
    golden: Any, drafts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Decoded], list[int]]:
    """Every golden prompt of every picture in one batch, each with its draft; and the rows of each forward."""
    model = golden.model
    answerer = Answerer(model.network, Ids(), model.info.tasks)
    cases = [(i, p["prompt_ids"]) for i, image in enumerate(golden.data["images"]) for p in image["prompts"]]
    jobs = [
        Job(n, image, Prompt("", max_tokens=20), PromptIds(tuple(ids)), 400, None, tuple(draft))
        for n, ((image, ids), draft) in enumerate(zip(cases, drafts, strict=True))
    ]
    forwards: list[int] = []
    forward = model.network.text.forward
    monkeypatch.setattr(
        model.network.text, "forward", lambda x, *rest: (forwards.append(len(x)), forward(x, *rest))[1]
    )
    tokens = torch.stack([encoded.tokens for encoded in golden.encoded])
    said = answerer._together(tokens, jobs)
    monkeypatch.undo()
    found = [said[n] for n in range(len(jobs))]
    return [Decoded(tuple(Ids().encode(g.text)), g.finish, g.logprob) for g in found], forwards


def test_drafts_of_any_kind_change_nothing_but_the_number_of_forwards(
    golden: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [p["generated_ids"] for image in golden.data["images"] for p in image["prompts"]]
    finish = [p["finish"] for image in golden.data["images"] for p in image["prompts"]]
    plain, steps = _with_drafts(golden, [[] for _ in expected], monkeypatch)
    assert [list(one.ids) for one in plain] == expected
    rng = random.Random(0)
    half = [ids[: len(ids) // 2] + [rng.randrange(10, 500) for _ in range(3)] for ids in expected]
    mixed = [
        [own, [], wrong, own[:-1]][n % 4] for n, (own, wrong) in enumerate(zip(expected, half, strict=True))
    ]
    over = [[*ids, 7, 8, 9][:20] for ids in expected]
    ended = [[*ids, EOS][:20] for ids in expected]
    for drafts in (half, mixed, over, ended, [[11] * 20 for _ in expected]):
        found, _ = _with_drafts(golden, drafts, monkeypatch)
        assert [list(one.ids) for one in found] == expected
        assert [one.finish for one in found] == finish
        for one, other in zip(found, plain, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
    # The whole answer as its draft: what ended by itself needs no step, what was cut off by the budget neither.
    found, forwards = _with_drafts(golden, expected, monkeypatch)
    assert [list(one.ids) for one in found] == expected
    assert len(steps) == 20
    assert len(forwards) == 1


def test_a_session_cannot_be_rewound_forwards(golden: Any) -> None:
    session = Session(golden.model.network.text, None, [0])
    with pytest.raises(ValueError, match="not fed yet"):
        session.rewind([1])
