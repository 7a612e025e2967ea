import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamqa.model.moondream.rows import Grouping, Plan, Spread

CPU = torch.device("cpu")


@pytest.mark.parametrize("counts", [[2, 2, 2], [1, 3, 2], [0, 4, 0, 1], [1]])
def test_spread_and_gather_are_inverse(counts: list[int]) -> None:
    grouping = Grouping.of(np.array(counts), CPU)
    x = torch.randn(sum(counts), 3, 5)
    dense = grouping.spread(x)
    assert dense.shape == (len(counts), 3, max(counts), 5)
    start = 0
    for group, count in enumerate(counts):
        assert torch.equal(dense[group, :, :count].transpose(0, 1), x[start : start + count])
        start += count
    assert torch.equal(grouping.gather(dense), x)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=8).filter(any),
    st.integers(0, 4),
    st.integers(0, 4),
    st.integers(0, 9),
)
def test_padding_moves_no_row(counts: list[int], groups: int, longer: int, rows: int) -> None:
    total = sum(counts)
    spread = Spread(np.array(counts), len(counts) + groups, max(counts) + longer, total + rows)
    assert spread.rows.shape == ((len(counts) + groups) * (max(counts) + longer),)
    assert spread.places.shape == (total + rows,)
    # Each real row is found again, in its own group and at its own place there.
    assert spread.rows[spread.places[:total]].tolist() == list(range(total))
    owner = np.repeat(np.arange(len(counts)), counts)
    assert (spread.places[:total] // spread.longest == owner).all()
    # What repeats in a group with rows is its own.
    grid = spread.rows.reshape(spread.n_groups, spread.longest)
    for group, count in enumerate(counts):
        if count:
            assert set(owner[grid[group]]) == {group}
    assert ((spread.rows >= 0) & (spread.rows < total)).all()


def test_what_is_not_finite_stays_in_its_group() -> None:
    grouping = Grouping.of(np.array([1, 3]), CPU)
    x = torch.ones(4, 1, 1)
    x[0] = float("nan")
    assert grouping.spread(x)[1].isfinite().all()


class Fork:
    """Two branches, of two rows and of one."""

    depths = np.array([1, 2, 1])
    sees = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], dtype=bool)


def test_trees_have_positions_of_their_branch() -> None:
    plan = Plan(np.array([0, 2]), np.array([5, 1]), [Fork(), None], 10)
    assert plan.slot_R.tolist() == [0, 1, 2, 3, 4, 2]
    assert plan.position_R.tolist() == [10, 11, 12, 13, 12, 12]
    assert plan.sight_NTS is not None
    assert plan.sight_NTS[0].astype(int).tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]
    assert plan.sight_NTS[1, 0].tolist() == [True, True, True, False, False]


def test_one_row_each_after_equal_lengths_sees_all() -> None:
    assert Plan(np.array([3, 3]), np.array([1, 1]), [], 0).sight_NTS is None
    assert Plan(np.array([3, 2]), np.array([1, 1]), [], 0).sight_NTS is not None
