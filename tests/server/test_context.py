from dataclasses import fields

from streamqa.server.context import Limits


def test_every_limit_is_one() -> None:
    limits = Limits()
    assert all(getattr(limits, limit.name) > 0 for limit in fields(limits))
    assert limits.heartbeat_s <= 15  # promised on the wire
    assert limits.stop_s + 2 <= 5  # stopping takes 5 s at most
