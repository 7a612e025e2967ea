"""The clocks of simulated cameras and machines, driven by scripts and by chance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.capture.clock import WallWatch

S = 10**9
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def walls(steps: list[float], slew: float = 0.0) -> list[float | None]:
    """What a watch says, told once a second, while the wall clock is set by `steps`, one for each second."""
    watch = WallWatch()
    wall, said = NOON, []
    for second, step_s in enumerate(steps):
        wall += timedelta(seconds=1 + slew + step_s)
        said.append(watch.step(second * S, wall))
    return said


@pytest.mark.parametrize("step_s", [1.2, -1.2, 3600.0, -3600.0])
def test_a_wall_clock_that_was_set_is_told_once_with_its_size(step_s: float) -> None:
    said = walls([0, 0, step_s, 0, 0])
    assert said[:2] == said[3:] == [None, None]
    assert said[2] == pytest.approx(step_s)


@given(st.lists(st.floats(-0.9, 0.9), min_size=2, max_size=30))
def test_small_corrections_are_not_told(steps: list[float]) -> None:
    assert set(walls(steps)) == {None}


def test_a_clock_that_is_slewed_is_never_told() -> None:
    assert set(walls([0.0] * 5000, slew=500e-6)) == {None}


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_every_step_is_told_with_its_own_size(steps: list[float]) -> None:
    for said, step_s in list(zip(walls(steps), steps, strict=True))[1:]:
        if abs(abs(step_s) - 1) > 1e-3:
            assert (said is not None) == (abs(step_s) > 1)
        if said is not None:
            assert said == pytest.approx(step_s, abs=1e-4)
