"""What a reading client makes of the bytes that it is sent: counted, checked and, where wanted, timed. Pure."""

from __future__ import annotations

import struct

ANSWER = b'{"type":"answer","seq":'  # how the records that are counted begin, of all servers
STAMP = b'"text":"'  # followed by the monotonic time of publishing, in ns


class Reader:
    """The frames of one connection. Control frames, hello and heartbeats are passed over."""

    __slots__ = ("_rest", "_timed", "answers", "in_order", "last_seq", "latencies_ns")

    def __init__(self, timed: bool) -> None:
        """`timed`: also how late each answer came, and whether its number follows the last one's."""
        self._rest = b""
        self._timed = timed
        self.answers = 0
        self.last_seq: int | None = None
        self.in_order = True
        self.latencies_ns: list[int] = []

    def feed(self, data: bytes, now_ns: int) -> None:
        """Bytes that came at `now_ns` on the monotonic clock."""
        data = self._rest + data if self._rest else data
        at, end = 0, len(data)
        while end - at >= 2:
            size, head = data[at + 1] & 0x7F, 2
            if size == 126:
                head = 4
                if end - at < head:
                    break
                size = int.from_bytes(data[at + 2 : at + 4], "big")
            elif size == 127:
                head = 10
                if end - at < head:
                    break
                (size,) = struct.unpack_from("!Q", data, at + 2)
            if end - at < head + size:
                break
            if data.startswith(ANSWER, at + head):
                self.answers += 1
                if self._timed:
                    self._time(data, at + head, at + head + size, now_ns)
            at += head + size
        self._rest = data[at:]

    def _time(self, data: bytes, start: int, end: int, now_ns: int) -> None:
        seq_at = start + len(ANSWER)
        seq = int(data[seq_at : data.index(b",", seq_at)])
        if self.last_seq is not None and seq != self.last_seq + 1:
            self.in_order = False
        self.last_seq = seq
        stamp_at = data.index(STAMP, start, end) + len(STAMP)
        self.latencies_ns.append(now_ns - int(data[stamp_at : data.index(b'"', stamp_at)]))
