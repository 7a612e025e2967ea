import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.capture.gaps import Gaps, Missing

MS = 1_000_000
NOTHING = Missing(0, 0.0)


def missing(times_ms: list[int], longest_ms: int | None = None) -> Missing:
    gaps = Gaps(None if longest_ms is None else longest_ms * MS)
    for time_ms in times_ms:
        gaps.add(time_ms * MS)
    return gaps.found()


def even(count: int, fps: float = 15) -> list[int]:
    """As Matroska writes them: in whole milliseconds."""
    return [round(1000 * i / fps) for i in range(count)]


@pytest.mark.parametrize("fps", [1, 15, 29.97, 59.94])
def test_an_even_stream_lacks_nothing(fps: float) -> None:
    assert missing(even(300, fps)) == NOTHING


@given(st.integers(20, 300), st.data())
def test_each_picture_that_is_taken_out_is_counted(count: int, data: st.DataObject) -> None:
    times = even(count)
    out = data.draw(st.sets(st.integers(1, count - 2), max_size=count // 20))
    found = missing([time for at, time in enumerate(times) if at not in out])
    assert found.pictures == len(out)
    assert found.seconds == pytest.approx(len(out) / 15, abs=0.01 * len(out) + 1e-9)


def test_pictures_in_the_order_of_decoding() -> None:
    times = even(90)
    shuffled = [
        times[0],
        *(t for at in range(1, 89, 4) for t in (times[at + 3], times[at + 1], times[at], times[at + 2])),
    ]
    assert missing(shuffled) == NOTHING


def test_at_a_variable_rate_nobody_knows() -> None:
    rng, t, times = random.Random(1), 0, []
    for _ in range(200):
        t += rng.choice((20, 100, 400))
        times.append(t)
    assert missing(times) == NOTHING
    assert missing([0, 40, 80, 400]) == NOTHING


def test_a_jump_of_the_timestamps_is_no_hole() -> None:
    glued = even(60) + [time + 3_600_000 for time in even(60)]
    assert missing(glued, 5000) == NOTHING
    assert missing(glued).pictures > 50_000
    assert missing(even(60) + even(60), 5000) == NOTHING


def test_what_is_remembered_is_bounded() -> None:
    gaps = Gaps()
    for i in range(20_000):
        gaps.add(i * i * MS)
    assert gaps.found() == NOTHING
    assert len(gaps._distances) <= 4096
