import pytest

from streamqa.bench.grid import APPROXIMATE, KESTREL, Cell, Selection, cells
from streamqa.errors import ConfigError


def test_a_cpu_measures_the_cells_that_figures_are_promised_for() -> None:
    rows = cells(Selection(), gpu=False)
    for crops, questions, tokens in ((1, 4, 3), (1, 4, 16), (1, 16, 3), (9, 4, 16)):
        for acceptance in (1.0, 0.0):
            assert Cell(crops, questions, tokens, 1, acceptance) in rows
    assert Cell(1, 1, 3, 1, 1.0) in rows  # with 16 questions: the slope
    assert {row.frames_in_flight for row in rows} == {1}


def test_closed_questions_are_one_row_whatever_the_drafts() -> None:
    rows = cells(Selection(crops=(1,), questions=(4,), answer_tokens=(0,)), gpu=False)
    assert rows == [Cell(1, 4, 0, 1, 0.0)]


def test_the_whole_grid() -> None:
    """2 crops x 3 questions x 3 frames, of each 1 closed row and 2 lengths x 2 drafts."""
    assert len(cells(Selection(whole=True), gpu=False)) == 2 * 3 * 3 * 5
    on_gpu = cells(Selection(), gpu=True)
    assert on_gpu[-1] == KESTREL
    assert len(on_gpu) == 2 * 3 * 3 * 5 + 1


def test_given_axes_select_rows_and_may_go_beyond_the_grid() -> None:
    rows = cells(
        Selection(crops=(9,), questions=(2,), answer_tokens=(3, 5), draft_acceptance=(1.0,)), gpu=False
    )
    assert rows == [Cell(9, 2, 3, 1, 1.0), Cell(9, 2, 5, 1, 1.0)]
    narrowed = cells(Selection(questions=(4,)), gpu=False)
    assert {row.crops for row in narrowed} == {1, 9}
    assert {row.frames_in_flight for row in narrowed} == {1}
    assert {row.frames_in_flight for row in cells(Selection(questions=(4,)), gpu=True)} == {1, 4, 8}


def test_extra_rows_are_asked_for() -> None:
    rows = cells(
        Selection(crops=(1, 9), questions=(4,), answer_tokens=(3,), kestrel=True, approximate=True), False
    )
    assert rows[-1] == KESTREL
    fast = [row for row in rows if row.kind == "detail-fast"]
    assert {row.crops for row in fast} == {9}  # a picture of one crop cannot be made smaller
    assert fast[0].work(5).crops == 1
    assert {row.crops for row in rows if row.kind == "int8"} == {1, 9}
    assert {row.draft_acceptance for row in rows if row.kind in APPROXIMATE} == {1.0}
    on_gpu = cells(Selection(approximate=True), gpu=True)
    assert {row.kind for row in on_gpu} == {"exact", "kestrel-shaped", "detail-fast", "fp8"}


@pytest.mark.parametrize(
    "wrong", [Selection(crops=(2,)), Selection(draft_acceptance=(0.5,)), Selection(questions=(0,))]
)
def test_rows_that_do_not_exist_are_refused(wrong: Selection) -> None:
    with pytest.raises(ConfigError):
        cells(wrong, gpu=False)
