"""What the golden data cannot detect: masks, chunks, caps and shared heads, each brought about on purpose."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from streamqa.model.moondream.config import MoondreamConfig
from streamqa.types import Generation, Prompt, Request, Task
from tests.model.moondream.subjects import (
    GOLDEN,
    Subject,
    alike,
    open_subject,
    random_weights,
    small_config,
    write_checkpoint,
)

EOS, ANSWER, COORD, SIZE, GROUND, END_GROUND = 0, 3, 5, 6, 7, 9
LIKED = 60.0  # more than any logit: what is liked by so much is said wherever it may be


def biased(directory: Path, likes: dict[int, float]) -> Subject:
    """The golden model, liking some tokens."""
    weights = load_file(GOLDEN / "model.safetensors")
    for token, more in likes.items():
        weights["model.text.lm_head.bias"][token] += more
    return open_subject(
        write_checkpoint(directory, weights, json.loads((GOLDEN / "config.json").read_text()))
    )


def said(subject: Subject, prompt: Prompt, picture: int = 1) -> Generation:
    return subject.model.answer([Request(subject.picture(picture), (prompt,))])[0][0]


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """One that ends its answers soon."""
    return biased(tmp_path_factory.mktemp("brief"), {EOS: 1.5})


@pytest.fixture(scope="module")
def pointing(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """One whose thoughts are full of places."""
    likes = {GROUND: 2.0, END_GROUND: 2.0, COORD: 2.0, ANSWER: -3.0}
    return biased(tmp_path_factory.mktemp("pointing"), likes)


def test_size_and_eos_are_said_first_in_thought_and_never_again(tmp_path: Path) -> None:
    for first, second in ((SIZE, EOS), (EOS, SIZE)):
        subject = biased(tmp_path / str(first), {first: LIKED, second: LIKED - 20})
        got = said(subject, Prompt("Why?", task="reason", max_tokens=6))
        thoughts = subject.encode(got.reasoning)
        assert thoughts[0] == first
        assert {first, second}.isdisjoint(thoughts[1:])
        assert len(thoughts) > 1
        # The answer knows no such ban.
        expected = ("", "eos") if first == EOS else (subject.text([SIZE] * 6), "length")
        assert (got.text, got.finish) == expected


def test_a_thought_may_be_nothing_but_places(tmp_path: Path) -> None:
    subject = biased(tmp_path, {COORD: LIKED})
    for budget in (1, 2, 5):
        prompt = Prompt("Why?", task="reason", max_tokens=budget)
        got, want = said(subject, prompt), subject.expected(1, prompt)
        assert subject.encode(got.reasoning) == [COORD] * budget
        assert alike(tuple((p.x, p.y) for p in got.points), tuple(want.points))
        assert len(got.points) == budget // 2  # an odd last coordinate is dropped
        # In the answer it is a token like any other, fed as such.
        assert subject.encode(got.text) == [COORD] * budget


@pytest.mark.parametrize("draft", [[], [ANSWER], [ANSWER, ANSWER], [ANSWER] * 9, [40, ANSWER]])
def test_answer_id_may_be_said_first_and_never_again(tmp_path: Path, draft: list[int]) -> None:
    subject = biased(tmp_path, {ANSWER: LIKED})
    prompt = Prompt("What?", max_tokens=5, draft=subject.text(draft))
    got = subject.encode(said(subject, prompt).text)
    assert got[0] == ANSWER
    assert ANSWER not in got[1:]
    assert got == subject.expected(1, prompt).ids
    thought = said(subject, Prompt("Why?", task="reason", max_tokens=5))
    assert thought.reasoning == ""  # there it means: enough thought
    assert subject.encode(thought.text)[0] == ANSWER


def test_a_draft_without_the_answer_id_does_not_hide_it(tmp_path: Path) -> None:
    """Were the first choice masked like the others, the draft would be right."""
    subject = biased(tmp_path, {ANSWER: LIKED})
    ids = subject.plain.prompt(Prompt("What?"), subject.encode, blind=False)
    second = subject.plain.logits(subject.plain.hidden(subject.see(1), ids)[-1]).topk(2).indices[1]
    got = said(subject, Prompt("What?", max_tokens=3, draft=subject.text([int(second), 40])))
    assert subject.encode(got.text)[0] == ANSWER


def test_eos_just_beyond_the_cap_is_not_looked_for(brief: Subject) -> None:
    subject, rng, lengths = brief, random.Random(5), Counter[int]()
    for _ in range(40):
        words = subject.text([rng.randrange(10, 512) for _ in range(rng.randint(1, 9))])
        row = subject.expected(1, Prompt(words, max_tokens=12))
        if row.finish != "eos" or row.sure(1e-3) < len(row.gaps):
            continue
        n = len(row.ids)
        lengths[n] += 1
        drafts = ([], row.ids, [*row.ids, EOS], [*row.ids, 77], row.ids[:-1], [EOS, *row.ids])
        for budget, finish in ((n - 1, "length"), (n, "length"), (n + 1, "eos"), (n + 5, "eos")):
            if budget < 1:
                continue
            prompts = [Prompt(words, max_tokens=budget, draft=subject.text(draft)) for draft in drafts]
            for got in subject.model.answer([Request(subject.picture(1), tuple(prompts))])[0]:
                ids = row.ids[:budget]
                assert (subject.encode(got.text), got.tokens, got.finish) == (ids, len(ids), finish)
                chosen = row.logprobs[:budget]
                assert got.logprob == pytest.approx(sum(chosen) / len(chosen), abs=1e-4)
    assert sum(count for n, count in lengths.items() if n) >= 5


@pytest.mark.parametrize("room", [1, 2, 5])
def test_the_context_is_a_cap_too(toy_dir: Path, tmp_path: Path, room: int) -> None:
    toy = json.loads((toy_dir / "config.json").read_text())
    sizes = small_config(toy, n_heads=4, n_kv_heads=2)
    weights = random_weights(MoondreamConfig.from_dict(sizes), 3)
    weights["text.lm_head.bias"][EOS] -= LIKED
    subject = open_subject(write_checkpoint(tmp_path, weights, sizes))
    words = "x" * (sizes["text"]["max_context"] - subject.plain.config.prefix_len - 5 - room)
    want = subject.expected(1, Prompt(words, max_tokens=room))
    drafts = ([], want.ids, [*want.ids, 50, 51, 52], want.ids[:1], [60] * 99)
    prompts = tuple(Prompt(words, max_tokens=500, draft=subject.text(draft)) for draft in drafts)
    for got in subject.model.answer([Request(subject.picture(1), prompts)])[0]:
        assert (subject.encode(got.text), got.tokens, got.finish) == (want.ids, room, "length")


def test_as_many_objects_as_allowed_is_a_cap(toy_dir: Path, tmp_path: Path) -> None:
    toy = json.loads((toy_dir / "config.json").read_text())
    sizes = small_config(toy, n_heads=4, n_kv_heads=2)
    weights = random_weights(MoondreamConfig.from_dict(sizes), 7)  # one that finds 1 to 3 of many things
    subject, seen = open_subject(write_checkpoint(tmp_path / "few", weights, sizes)), Counter[str]()
    tasks: list[Task] = ["point", "detect"]
    for picture, word, task in itertools.product((0, 1, 3, 4), "abcdefg", tasks):
        prompt = Prompt(word, task=task, max_objects=4)
        row = subject.expected(picture, prompt)
        n = len(row.trace) - 1
        if row.finish == "length" or row.sure(1e-3) < len(row.gaps) or n == 0:
            continue
        seen[task] += 1
        for limit, finish in ((n, "length"), (n + 1, "eos")):
            got = said(subject, replace(prompt, max_objects=limit), picture)
            assert (len(got.points) + len(got.boxes), got.finish) == (n, finish)
    assert min(seen[task] for task in tasks) >= 2, seen


def test_a_grounding_token_belongs_to_the_chunk_it_opens(pointing: Subject) -> None:
    """Offsets count ids here: one place off, and they differ."""
    subject, rng, seen = pointing, random.Random(2), Counter[str]()
    encoded = subject.model.encode_image([subject.picture(n) for n in range(3)])
    for n in range(27):
        picture = n % 3
        ids = subject.plain.prompt(
            Prompt(subject.text([rng.randrange(10, 512) for _ in range(3)]), task="reason"),
            subject.encode,
            blind=False,
        )
        row = subject.plain.think(subject.see(picture), ids, 12)
        if row.sure(1e-3) < len(row.gaps):
            seen["near tie"] += 1
            continue
        thoughts, spots, answer = subject.model.reason_ids(encoded[picture], ids, 12)
        assert (thoughts, answer) == (row.thoughts, row.ids)
        expected, end = [], 0
        for tokens, coords in row.chunks:
            start, end = end, end + len(tokens)
            if len(coords) >= 2:
                points = [(coords[i], coords[i + 1]) for i in range(0, len(coords) - 1, 2)]
                expected.append({"start_idx": start, "end_idx": end, "points": points})
                seen["opened"] += bool(start) and tokens[0] in (GROUND, END_GROUND)
                seen["followed"] += end < len(thoughts)
                seen["odd"] += len(coords) % 2
        assert [{**spot, "points": list(spot["points"])} for spot in spots] == expected
    assert min(seen["opened"], seen["followed"], seen["odd"]) >= 2, seen
    assert seen["near tie"] <= 4


def test_key_heads_are_shared_by_neighbours(toy_dir: Path, tmp_path: Path) -> None:
    """Fewer key heads are as many as query heads, each of them repeated in place: 0 0 1 1, and not 0 1 0 1."""
    toy = json.loads((toy_dir / "config.json").read_text())
    few = small_config(toy, n_heads=4, n_kv_heads=2)
    config = MoondreamConfig.from_dict(few)
    weights = random_weights(config, 11)
    many = small_config(toy, n_heads=4, n_kv_heads=4)
    d = config.text.head_dim

    def widened(order: list[int]) -> dict[str, torch.Tensor]:
        wide = dict(weights)
        for name in [name for name in weights if "text" in name and "qkv" in name]:
            q, k, v = weights[name].split([4 * d, 2 * d, 2 * d])
            k, v = (t.unflatten(0, (2, d))[order].flatten(0, 1) for t in (k, v))
            wide[name] = torch.cat((q, k, v)).contiguous()
        return wide

    prompts = tuple(Prompt(text, max_tokens=12, draft="x") for text in ("Is it?", "a", "what else"))
    answers = []
    for name, tensors, sizes in (
        ("few", weights, few),
        ("neighbours", widened([0, 0, 1, 1]), many),
        ("tiled", widened([0, 1, 0, 1]), many),
    ):
        subject = open_subject(write_checkpoint(tmp_path / name, tensors, sizes))
        groups = subject.model.answer([Request(subject.picture(n), prompts) for n in (0, 4)])
        answers.append([got.text for group in groups for got in group])
    assert answers[0] == answers[1]
    assert answers[0] != answers[2]
