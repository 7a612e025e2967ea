import struct

import pytest

from streamqa.bench.fanout_frames import ANSWER, Reader


def frame(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes([0x81, size]) + payload
    if size < 2**16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + struct.pack("!Q", size) + payload


def answer(seq: int, stamp: int, size: int = 0) -> bytes:
    return frame(ANSWER + b'%d,"source":"gate","text":"%d","reason":"%s"}' % (seq, stamp, b"-" * size))


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64, 10**6])
def test_frames_are_counted_however_they_are_cut(piece: int) -> None:
    data = (
        frame(b'{"type":"hello"}')
        + answer(1, 100)
        + answer(2, 150, 300)
        + answer(3, 160, 70_000)
        + frame(b"")
    )
    reader = Reader(timed=True)
    for at in range(0, len(data), piece):
        reader.feed(data[at : at + piece], 200)
    assert (reader.answers, reader.in_order, reader.last_seq) == (3, True, 3)
    assert reader.latencies_ns == [100, 50, 40]


def test_a_hole_is_seen() -> None:
    reader = Reader(timed=True)
    reader.feed(answer(1, 0) + answer(3, 0), 0)
    assert not reader.in_order
