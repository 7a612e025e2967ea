"""Recent frames: which was the newest at a moment, what is kept and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from streamqa.capture.ring import Ring
from streamqa.errors import NotThere
from streamqa.testing import make_frame
from streamqa.types import NEWEST, NS_PER_S, Frame, Moment

AT = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)
START_NS = 1_000 * NS_PER_S


def frame(second: float, **fields: Any) -> Frame:
    known: dict[str, Any] = {
        "index": round(second),
        "fill": round(second) * 10 % 250,
        "captured_at": AT + timedelta(seconds=second),
        "received_ns": START_NS + round(second * NS_PER_S),
    }
    return make_frame("gate", second, **(known | fields))


def filled(seconds: int, **options: Any) -> Ring:
    ring = Ring("gate", options.pop("horizon_ns", 60 * NS_PER_S), **options)
    for second in range(seconds):
        ring.add(frame(second))
    return ring


@pytest.mark.parametrize(
    ("moment", "index"),
    [
        (NEWEST, 9),
        (Moment(ago_ns=0), 9),
        (Moment(ago_ns=NS_PER_S), 8),
        (Moment(ago_ns=round(3.5 * NS_PER_S)), 5),
        (Moment(t_ns=4 * NS_PER_S), 4),
        (Moment(t_ns=round(4.9 * NS_PER_S)), 4),
        (Moment(t_ns=12 * NS_PER_S), 9),
        (Moment(at=AT + timedelta(seconds=2.5)), 2),
    ],
)
def test_the_frame_that_was_the_newest_at_a_moment(moment: Moment, index: int) -> None:
    found = filled(10).at(moment, START_NS + 9 * NS_PER_S)
    assert found.index == index
    assert found.image.shape == (24, 32, 3)
    assert abs(int(found.image.mean()) - index * 10) <= 1  # as JPEG, but the picture of that moment


def test_what_is_not_kept_is_said_with_what_is() -> None:
    ring = filled(100)
    now_ns = START_NS + 99 * NS_PER_S
    assert ring.at(Moment(ago_ns=59 * NS_PER_S), now_ns).index == 40
    with pytest.raises(NotThere, match=r"the oldest is of t 39.0 s, 60.0 s ago"):
        ring.at(Moment(ago_ns=80 * NS_PER_S), now_ns)
    with pytest.raises(NotThere, match="newest frame is of t 99"):
        ring.at(Moment(t_ns=200 * NS_PER_S), now_ns)


def test_no_frame_yet() -> None:
    with pytest.raises(NotThere, match="no frame yet"):
        Ring("gate", NS_PER_S).at(NEWEST, 0)


def test_switched_off_it_keeps_the_newest_only() -> None:
    ring = filled(5, horizon_ns=0)
    assert ring.at(NEWEST, START_NS).index == 4
    with pytest.raises(NotThere):
        ring.at(Moment(ago_ns=2 * NS_PER_S), START_NS + 4 * NS_PER_S)


def test_it_is_bounded_in_bytes() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (240, 320, 3), np.uint8)
    ring = Ring("gate", 3600 * NS_PER_S, most_bytes=500_000)
    for second in range(40):
        ring.add(frame(second % 20, t_ns=second * NS_PER_S, index=second, image=noise))
    assert 100_000 < ring._bytes <= 500_000
    assert ring._bytes == sum(len(kept.jpeg) for kept in ring._kept)


def test_at_most_four_a_second_are_compressed() -> None:
    ring = Ring("gate", 60 * NS_PER_S)
    for n in range(60):
        ring.add(frame(n / 30))
    assert len(ring._kept) == 8
