from dataclasses import fields

import pytest

from streamqa.server.context import Limits


def test_every_limit_is_one() -> None:
    limits = Limits()
    assert all(getattr(limits, limit.name) > 0 for limit in fields(limits))
    assert limits.heartbeat_s <= 15  # promised on the wire
    assert limits.stop_s + 2 <= 5  # stopping takes 5 s at most


def test_the_rest_between_writes_follows_from_what_they_take_up_to_a_bound() -> None:
    limits = Limits(coalesce_s=0.02, write_share=0.2)
    assert limits.rest_s(0.0001) == pytest.approx(0.0004)
    assert limits.rest_s(0.01) == 0.02
    assert limits.rest_s(0.0) == 0
