import pytest

from streamqa.bench.grid import Cell
from streamqa.bench.plain import PlainAnswer
from streamqa.bench.products import Product, Shape
from streamqa.bench.rounds import Attempt, Settled
from streamqa.bench.rows import About, Samples, as_row, slopes

CELL = Cell(1, 4, 3, 2, 1.0)
ANSWER = PlainAnswer((7, 8, 9), (1.0, 1.25, 1.5, 1.75))


def samples() -> Samples:
    """Rounds 0 and 1 were noisy, 2 and 3 are the ones that count."""
    return Samples(
        calls={CELL: {0: [9.0], 1: [1.0], 2: [2.0, 4.0], 3: [3.0, 3.0]}},
        encodes={1: dict.fromkeys(range(4), 5.0)},
        questions={12: dict.fromkeys(range(4), ANSWER)},
    )


def test_a_row_is_what_its_rounds_say() -> None:
    work = CELL.work(5)
    flop = Product("x", Shape("linear", 1000, 1000, 1000), 3)
    about = About(work, [flop], ceiling_s=2.4, ceiling_linear_s=1.8, more={"dtype": "bf16"})
    row = as_row(CELL, Settled(Attempt((2, 3), (3.0, 3.0)), 1), samples(), about)
    assert row["frames_per_s"] == pytest.approx(2 / 3, abs=1e-4)
    assert row["answers_per_s"] == pytest.approx(8 / 3, abs=1e-3)
    assert (row["p50_ms"], row["p95_ms"]) == (3000.0, 3850.0)
    assert row["tflops"] == 0.002
    assert (row["percent_of_ceiling"], row["percent_of_ceiling_linear"]) == (80.0, 60.0)
    assert (row["best_ms"], row["percent_of_ceiling_at_best"]) == (2000.0, 120.0)
    assert row["baseline_ratio"] == 8.0  # 2 pictures x 5 s + 8 questions x 1.75 s, over 3 s
    assert row["baseline_ratio_to_last"] == 7.33
    assert (row["noisy"], row["reruns"], row["rounds"]) == (False, 1, 2)
    assert row["dtype"] == "bf16"


def test_slopes_pair_the_rounds_of_rows_that_differ_in_questions_only() -> None:
    few, many, other = Cell(1, 1, 3, 1, 1.0), Cell(1, 16, 3, 1, 1.0), Cell(1, 16, 3, 1, 0.0)
    calls = {few: {0: [10.0], 1: [20.0]}, many: {0: [13.0], 1: [26.0], 5: [99.0]}, other: {0: [50.0]}}
    found = slopes([many, other, few], Samples(calls=calls))
    assert len(found) == 1
    assert found[0]["questions"] == [1, 16]
    assert found[0]["percent_of_a_frame"] == 2.0
    assert found[0]["draft_acceptance"] == 1.0
