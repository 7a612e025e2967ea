import pytest

from streamqa.bench.products import (
    Product,
    Shape,
    Work,
    of_pass,
    of_prefill,
    of_projector,
    of_steps,
    of_vision,
    of_work,
    total_flop,
)
from streamqa.model.moondream.config import MoondreamConfig

FULL = MoondreamConfig()
TERA, GIGA = 1e12, 1e9


def work(**changes: float) -> Work:
    given = {"crops": 1, "frames": 1, "questions": 4, "prompt_rows": 17, "answer_tokens": 3, "accepted": True}
    return Work(**(given | changes))  # type: ignore[arg-type]  # of mixed types on purpose


def test_the_parts_of_a_frame_cost_what_their_shapes_say() -> None:
    """Figures of the cost model, worked out by hand from the released sizes."""
    assert total_flop(of_vision(FULL.vision, 1)) / TERA == pytest.approx(0.666, abs=5e-4)
    attention = [p for p in of_vision(FULL.vision, 1) if p.shape.kind == "attention"]
    assert total_flop(attention) / TERA == pytest.approx(0.066, abs=5e-4)
    assert total_flop(of_projector(FULL.vision, 1)) / TERA == pytest.approx(0.052, abs=5e-4)
    assert total_flop(of_prefill(FULL.text, 730, 24)) / TERA == pytest.approx(1.868, abs=5e-4)


def test_nine_crops_cost_nine_towers_and_one_decoder() -> None:
    one, nine = of_work(FULL, work()), of_work(FULL, work(crops=9))
    assert total_flop(nine) - total_flop(one) == total_flop(of_vision(FULL.vision, 8))
    assert total_flop(of_vision(FULL.vision, 9)) == 9 * total_flop(of_vision(FULL.vision, 1))


def test_a_question_and_a_step_cost_next_to_nothing() -> None:
    """A 16-token prompt 41 GFLOP + 0.21 for the head, a step 2.57 + 0.21, attention on top."""
    text = [work(questions=q, prompt_rows=16, answer_tokens=0) for q in (1, 2)]
    added = total_flop(of_pass(FULL, text[1])) - total_flop(of_pass(FULL, text[0]))
    assert added / GIGA == pytest.approx(41 + 0.21, rel=0.05)
    step = total_flop(of_steps(FULL, work(questions=1, answer_tokens=2, accepted=False)))
    assert step / GIGA == pytest.approx(2.57 + 0.21, rel=0.1)


def test_nothing_behind_the_last_keys_and_values_of_the_prefix_is_counted() -> None:
    """One question of one row: 23 layers of the prefix, keys and values of the last, and that row."""
    packed = total_flop(of_pass(FULL, work(questions=1, prompt_rows=1, answer_tokens=0)))
    prefix = total_flop(of_prefill(FULL.text, 730, 23)) + 2 * 730 * 4096 * 2048
    row = total_flop(of_steps(FULL, work(questions=1, prompt_rows=1, answer_tokens=2, accepted=False)))
    assert packed - prefix == pytest.approx(row, rel=0.01)


def test_accepted_drafts_are_rows_and_others_are_steps() -> None:
    accepted, decoded = work(answer_tokens=16), work(answer_tokens=16, accepted=False)
    assert (accepted.rows, accepted.choices, accepted.steps) == (17 + 15, 16, 0)
    assert (decoded.rows, decoded.choices, decoded.steps) == (17, 1, 15)
    assert work(answer_tokens=0, accepted=False).steps == 0
    linear = [
        total_flop([p for p in of_work(FULL, w) if p.shape.kind == "linear"]) for w in (accepted, decoded)
    ]
    assert linear[0] == linear[1]


def test_questions_that_are_no_whole_number_are_spread() -> None:
    kestrel = work(frames=39, questions=1.66)
    assert kestrel.prompts == 64
    assert set(kestrel.per_frame) == {1, 2}
    assert work(frames=8, questions=4).per_frame == [4] * 8


def test_every_frame_of_a_batch_counts() -> None:
    one, eight = total_flop(of_work(FULL, work())), total_flop(of_work(FULL, work(frames=8)))
    assert eight == 8 * one


@pytest.mark.parametrize("wrong", [{"crops": 0}, {"frames": 0}, {"questions": 0.1}, {"answer_tokens": -1}])
def test_work_without_work_is_a_mistake(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="work needs"):
        work(**wrong)


def test_an_empty_product_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no empty side"):
        Shape("linear", 0, 1, 1)
    assert Product("x", Shape("attention", 2, 3, 4, 5), 6).flop == 2 * 2 * 3 * 4 * 5 * 6
