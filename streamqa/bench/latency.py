"""How late an answer was, beside the model. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from streamqa.bench.fixed import Call
from streamqa.bench.subscriber import Seen

_MS = 1_000_000  # in nanoseconds


class Busy:
    """When the model worked."""

    def __init__(self, calls: Iterable[Call], utc_offset_ns: int) -> None:
        """`calls`: all of a run, one at a time; `utc_offset_ns`: wall clock - monotonic clock.

        Raises:
            ValueError: no calls, so there was no answer.
        """
        self._calls = sorted(calls, key=lambda call: call.end_ns)
        self._ends = [call.end_ns for call in self._calls]
        self._utc_offset_ns = utc_offset_ns
        if not self._calls:
            raise ValueError("the model was never called")

    def beyond_ns(self, answer: Seen) -> int:
        """From the frame's decoding to the parsed answer, less the time that the model worked until the answer.

        That is, on the frame itself and on those before it. What the model did after the answer counts against us.
        The wire cuts `answered_at` to the millisecond: the call that ended in it says when exactly.
        """
        cut_ns = answer.answered_utc_ns - self._utc_offset_ns
        answered_ns = self._ends[max(0, bisect_right(self._ends, cut_ns + _MS) - 1)]
        received_ns = answered_ns - round(answer.total_ms * _MS)
        busy_ns = 0
        for call in self._calls[bisect_right(self._ends, received_ns) :]:
            if call.begin_ns >= answered_ns:
                break
            busy_ns += min(call.end_ns, answered_ns) - max(call.begin_ns, received_ns)
        return answer.seen_ns - received_ns - busy_ns
