"""Answers under way, told step by step: no model, no tensor."""

from typing import Any

import pytest

from streamqa.model.moondream.config import MoondreamConfig
from streamqa.model.moondream.runs import Chunk, ObjectsRun, ReasonRun, TextRun, grounding

EOS, ANSWER, COORD, SIZE, GROUND, END_GROUND = 0, 3, 5, 6, 7, 9
SPECIAL = MoondreamConfig().tokenizer


def test_a_draft_holds_as_far_as_the_choices_agree() -> None:
    cases: list[tuple[list[int], list[int], int, list[int], str, bool]] = [
        # draft, choices, held, ids, finish, goes on
        ([], [50], 0, [50], "length", True),
        ([50, 51], [50, 51, 52], 2, [50, 51, 52], "length", True),
        ([50, 51], [50, 60, 61], 1, [50, 60], "length", True),
        ([50, 51], [60, 61, 62], 0, [60], "length", True),
        ([50, 51], [50, 51, EOS], 2, [50, 51], "eos", False),
        ([50, EOS, 52], [50, EOS, 70, 71], 1, [50], "eos", False),
        ([50, 51, 52, 53, 54], [50, 51, 52, 53, 54, 55], 4, [50, 51, 52, 53, 54], "length", False),
    ]
    for draft, choices, held, ids, finish, goes_on in cases:
        run = TextRun(SPECIAL, 5)
        assert run.verify(draft, [(token, -0.5) for token in choices]) == held
        assert (run.ids, run.decoded.finish, run.feeds is not None) == (ids, finish, goes_on)
        assert run.decoded.logprob == pytest.approx(-0.5)
        if goes_on:
            assert run.feeds is not None
            assert run.feeds.ids == (ids[-1],)


def test_a_draft_needs_a_choice_after_its_end() -> None:
    with pytest.raises(ValueError, match=r"n \+ 1"):
        TextRun(SPECIAL, 5).verify([50], [(50, 0.0)])


def _thoughts(tokens: list[Any], think: int = 20) -> ReasonRun:
    """Feed tokens and coordinates (floats) as they are asked for."""
    run = ReasonRun(SPECIAL, think, 5)
    for item in tokens:
        if isinstance(item, float):
            assert run.wants == "coord"
            run.on_coord(item)
        else:
            assert run.wants == "token"
            run.on_token(item, 0.0)
        if run.feeds is not None:
            run.fed()
    return run


def test_grounding_tokens_open_the_new_chunk() -> None:
    run = _thoughts([50, GROUND, COORD, 0.25, COORD, 0.5, COORD, 0.75, END_GROUND, 51, ANSWER, EOS])
    chunks = run.reasoned.chunks
    assert [chunk.ids for chunk in chunks] == [[50], [GROUND, COORD, COORD, COORD], [END_GROUND, 51]]
    assert grounding(chunks, len) == [{"start_idx": 1, "end_idx": 5, "points": [(0.25, 0.5)]}]


def test_bans_follow_the_phase() -> None:
    run = ReasonRun(SPECIAL, 9, 9)
    assert run.banned == ()
    run.on_token(50, 0.0)
    run.fed()
    assert run.banned == (EOS, SIZE)
    run.on_token(ANSWER, 0.0)
    assert run.feeds is not None
    assert run.feeds.ids == (3,)  # the suffix that opens the answer; what ended the thoughts is not fed
    run.fed()
    assert run.banned == ()
    run.on_token(60, 0.0)
    run.fed()
    assert run.banned == (ANSWER,)


def test_the_last_thought_is_fed_with_the_suffix() -> None:
    run = ReasonRun(SPECIAL, 1, 9)
    run.on_token(COORD, 0.0)
    run.on_coord(0.25)
    assert run.feeds is not None
    assert (run.feeds.ids, run.feeds.coords) == ((COORD, 3), (0.25,))


def test_a_point_takes_two_feeds_and_a_box_three() -> None:
    for kind, per_object in (("point", 2), ("detect", 3)):
        run, feeds = ObjectsRun(SPECIAL, 3, kind), 0  # type: ignore[arg-type]  # a Literal from a loop
        while run.wants is not None:
            if run.wants == "token":
                run.on_token(50, 0.0)
            elif run.wants == "coord":
                run.on_coord(0.5)
            else:
                run.on_size(0.25, 0.5)
            if run.feeds is not None:
                feeds += 1
                run.fed()
        assert (len(run.found), run.full) == (3, True)
        assert feeds == 3 * per_object - 1  # nothing is read after the last one, so it is not fed


def test_odd_coordinate_is_dropped() -> None:
    assert Chunk([5, 5, 5], [0.1, 0.2, 0.3]).points == [(0.1, 0.2)]


def test_offsets_count_characters() -> None:
    chunks = [Chunk([1, 2], []), Chunk([3], [0.1, 0.2]), Chunk([4, 5, 6], [0.3, 0.4])]
    spots = grounding(chunks, lambda ids: 10 * len(ids))
    assert [(s["start_idx"], s["end_idx"]) for s in spots] == [(20, 30), (30, 60)]
