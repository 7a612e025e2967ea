import io

import pytest
from PIL import Image

from streamqa.evaluate.calibration import BINS, Bin, bins, calibration_error
from streamqa.evaluate.diagram import (
    BAR,
    COLUMNS,
    GAP,
    MOST_PANELS,
    ORIGIN_PX,
    PANEL_PX,
    PLOT_PX,
    WHITE,
    Panel,
    diagram,
)

EMPTY = (Bin(0, 0.0, 0.0),) * BINS


def panel(title: str = "person", **at: Bin) -> Panel:
    found = list(EMPTY)
    for name, one in at.items():
        found[int(name.removeprefix("bin"))] = one
    return Panel(title, tuple(found), calibration_error(found))


def drawn(panels: list[Panel]) -> Image.Image:
    image = Image.open(io.BytesIO(diagram(panels)))
    assert (image.format, image.mode) == ("PNG", "RGB")
    return image


def colour(image: Image.Image, confidence: float, accuracy: float, row: int = 0, column: int = 0) -> object:
    """Of the pixel at a place of a panel's plot."""
    x = column * PANEL_PX[0] + ORIGIN_PX[0] + round(confidence * PLOT_PX)
    y = row * PANEL_PX[1] + ORIGIN_PX[1] - round(accuracy * PLOT_PX)
    return image.getpixel((x, y))


def test_a_bar_is_as_high_as_the_share_that_is_right_and_shows_what_is_missing_to_the_confidence() -> None:
    image = drawn([panel(bin9=Bin(40, 0.93, 0.5), bin6=Bin(10, 0.65, 0.85))])
    assert image.size == PANEL_PX
    assert colour(image, 0.97, 0.47) == BAR
    assert colour(image, 0.97, 0.53) == GAP
    assert colour(image, 0.97, 0.9) == GAP
    assert colour(image, 0.97, 0.95) == WHITE
    assert colour(image, 0.63, 0.83) == BAR
    assert colour(image, 0.63, 0.88) == WHITE
    assert colour(image, 0.25, 0.03) == WHITE  # nothing was as unsure as that


def test_every_panel_has_its_place_its_diagonal_and_a_title() -> None:
    image = drawn([panel(f"q{n}", bin8=Bin(5, 0.85, 0.9)) for n in range(COLUMNS + 1)])
    assert image.size == (COLUMNS * PANEL_PX[0], 2 * PANEL_PX[1])
    for row, column in ((0, 0), (0, 1), (0, 2), (1, 0)):
        assert colour(image, 0.83, 0.5, row, column) == BAR
        assert colour(image, 0.3, 0.3, row, column) != WHITE
        left, top = column * PANEL_PX[0], row * PANEL_PX[1]
        title = image.crop((left, top + 10, left + PANEL_PX[0], top + 50))
        assert len(title.getcolors(10_000) or ()) > 2
    assert colour(image, 0.83, 0.5, 1, 1) == WHITE
    assert (
        image.crop((0, 10, PANEL_PX[0], 30)).tobytes()
        != image.crop((PANEL_PX[0], 10, 2 * PANEL_PX[0], 30)).tobytes()
    )


def test_the_same_panels_are_the_same_bytes() -> None:
    tops = [(0.5 + n / 200, n % 3 > 0) for n in range(100)]
    panels = [Panel("person\x1b[31m " + "long " * 20, bins(tops), 0.25), Panel("says", EMPTY, None)]
    assert diagram(panels) == diagram(panels)


def test_there_is_an_end_to_what_is_drawn() -> None:
    image = drawn([panel()] * (MOST_PANELS + 3))
    assert image.size == (COLUMNS * PANEL_PX[0], MOST_PANELS // COLUMNS * PANEL_PX[1])
    with pytest.raises(ValueError, match="nothing"):
        diagram([])
    with pytest.raises(ValueError, match="10 bins"):
        Panel("q", EMPTY[1:], None)
