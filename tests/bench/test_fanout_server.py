import json

from streamqa.bench.fanout_server import memory_bytes, template


def test_a_message_has_400_bytes() -> None:
    assert len(json.dumps(template(), separators=(",", ":"))) == 400


def test_memory_is_that_of_this_process() -> None:
    assert 10 * 2**20 < memory_bytes() < 10 * 2**30
