from itertools import pairwise

import numpy as np
import pytest

from streamqa.engine.storyboard import CELL_PX, MOST, Storyboard, grid, scaled
from streamqa.types import NS_PER_S

STRIP = 22


def coloured(level: int, width: int = 640, height: int = 360) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def cells(image: np.ndarray, count: int, width: int = 378, height: int = 213) -> list[int]:
    """The grey level in the middle of each cell."""
    columns = {1: 1, 2: 2, 3: 2, 4: 2}.get(count, 3)
    found = []
    for place in range(count):
        row, column = divmod(place, columns)
        top, left = row * (height + STRIP + 4) + STRIP, column * (width + 4)
        cell = image[top : top + height, left : left + width]
        assert (cell == cell[0, 0]).all()  # no label lies over it
        found.append(int(cell[0, 0, 0]))
    return found


@pytest.mark.parametrize(
    ("count", "shape"), [(1, (1, 1)), (2, (1, 2)), (3, (2, 2)), (5, (2, 3)), (9, (3, 3))]
)
def test_the_oldest_is_first_and_each_has_its_cell(count: int, shape: tuple[int, int]) -> None:
    image = grid([coloured(20 + 20 * n) for n in range(count)], list(range(count)))
    assert cells(image, count) == [20 + 20 * n for n in range(count)]
    rows, columns = shape
    assert image.shape == (rows * (213 + STRIP + 4) - 4, columns * 382 - 4, 3)
    assert image.dtype == np.uint8


def test_strips_say_which_one_it_is_and_when() -> None:
    pictures = [coloured(90)] * 3
    image = grid(pictures, [1.0, 3.0, 5.0])
    strips = [image[top : top + STRIP, left : left + 378] for top, left in ((0, 0), (0, 382), (239, 0))]
    assert all(strip.max() > 240 for strip in strips)
    assert len({strip.tobytes() for strip in strips}) == 3
    # Only how long before the newest counts, not when that was.
    assert np.array_equal(image, grid(pictures, [101.0, 103.0, 105.0]))
    assert not np.array_equal(image, grid(pictures, [1.0, 4.0, 5.0]))


def test_of_many_some_are_shown_evenly_and_the_newest_always() -> None:
    pictures = [coloured(n) for n in range(41)]
    assert cells(grid(pictures, list(range(41))), 9) == [0, 5, 10, 15, 20, 25, 30, 35, 40]
    assert cells(grid(pictures, list(range(41)), most=1), 1) == [40]
    assert cells(grid(pictures, list(range(41)), most=2), 2) == [0, 40]
    assert cells(grid(pictures[:11], list(range(11))), 9)[-1] == 10


@pytest.mark.parametrize(
    ("size", "cell"),
    [((640, 360), (378, 213)), ((360, 640), (213, 378)), ((100, 50), (100, 50)), ((5000, 2), (378, 1))],
)
def test_cells_keep_their_aspect_and_are_never_scaled_up(
    size: tuple[int, int], cell: tuple[int, int]
) -> None:
    small = scaled(coloured(70, *size))
    assert small.shape == (cell[1], cell[0], 3)
    assert (small == 70).all()


def test_pictures_of_several_sizes_and_endless_times_stay_bounded() -> None:
    pictures = [coloured(50, *size) for size in ((1, 1), (4000, 3), (3, 4000), (640, 360))]
    image = grid(pictures, [-1e300, 0.0, 1.0, 2.0])
    assert max(image.shape) <= 2 * (CELL_PX + STRIP + 4)
    nine = grid([coloured(1, 900, 900)] * 9, [1e9 * n for n in range(9)])
    assert max(nine.shape) <= 3 * (CELL_PX + STRIP + 4)


def test_a_label_has_room_beside_a_small_picture() -> None:
    image = grid([coloured(9, 8, 8)] * 2, [0.0, 7.5])
    assert image[:STRIP].max() > 240
    assert image.shape[1] > 2 * 60


@pytest.mark.parametrize(("count", "times", "most"), [(0, 0, 9), (2, 1, 9), (1, 1, 0)])
def test_what_makes_no_grid_is_refused(count: int, times: int, most: int) -> None:
    with pytest.raises(ValueError, match="no grid"):
        grid([coloured(1)] * count, [0.0] * times, most)


def test_a_storyboard_holds_its_window() -> None:
    board = Storyboard(5 * NS_PER_S)
    for second in range(20):
        board.add(second * NS_PER_S, coloured(second))
        held = list(range(max(0, second - 4), second + 1))
        assert cells(board.picture(), len(held)) == held


def test_a_long_window_is_spread_over_a_bounded_number() -> None:
    board = Storyboard(60 * NS_PER_S)
    for second in range(200):
        board.add(second * NS_PER_S, coloured(second))
    held = cells(board.picture(), MOST)
    assert held[-1] == 199
    assert held[0] <= 199 - 50
    assert {b - a for a, b in pairwise(held)} <= {6, 7}


def test_a_window_of_nothing_is_the_newest_frame() -> None:
    board = Storyboard(0)
    for second in range(3):
        board.add(second * NS_PER_S, coloured(second))
    assert cells(board.picture(), 1) == [2]
    board.add(2 * NS_PER_S, coloured(77))  # of the same moment: the later one
    assert cells(board.picture(), 1) == [77]


def test_a_kept_picture_is_small_and_its_own() -> None:
    board = Storyboard(NS_PER_S)
    image = coloured(5, 3840, 2160)
    board.add(0, image)
    image[:] = 200
    assert cells(board.picture(), 1) == [5]


def test_a_storyboard_refuses_what_cannot_be() -> None:
    board = Storyboard(NS_PER_S)
    with pytest.raises(ValueError, match="no grid"):
        board.picture()
    board.add(5, coloured(1))
    with pytest.raises(ValueError, match="went back"):
        board.add(4, coloured(1))
    for window, most in ((-1, 9), (1, 0)):
        with pytest.raises(ValueError, match="storyboard needs"):
            Storyboard(window, most)
