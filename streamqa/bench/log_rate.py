"""How fast the answer log takes answers, one in each transaction with its words indexed, and gives them back."""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from streamqa.records import Answer
from streamqa.sinks.log import AnswerLog
from streamqa.types import NS_PER_S, Decision, Reading, utc_now

_PAGE_BYTES = 256 * 1024


def an_answer(number: int, said: str = "Two people are standing at the gate") -> Answer:
    """An answer like those of a camera, about 700 bytes as JSON."""
    t_ns = number * NS_PER_S
    return Answer(
        source=f"camera-{number % 16}",
        question="person",
        kind="text",
        decision=Decision(said, 0.93, "ok", "", t_ns, 1, 1),
        reading=Reading(said, 0.93, "ok", text=said),
        frame=number,
        t_ns=t_ns,
        captured_at=utc_now(),
        clock="rtcp",
        answered_at=utc_now(),
        skipped=0,
        changed=number % 10 == 0,
        queue_ms=12.0,
        model_ms=61.0,
        total_ms=80.0,
        model="moondream2@2025-06-21",
        ask="Who is at the gate?",
    )


def measure(count: int = 6_000, large: int = 100_000) -> dict[str, Any]:
    """Append `count` answers one by one, then up to `large` in all, and read them; rates are per second."""
    with tempfile.TemporaryDirectory() as folder, closing(AnswerLog(Path(folder) / "a.db")) as log:
        took_ms = []
        began_s = time.perf_counter()
        for number in range(count):
            one_s = time.perf_counter()
            log.append([an_answer(number)])
            took_ms.append(1000 * (time.perf_counter() - one_s))
        single_s = time.perf_counter() - began_s
        for number in range(count, large, 500):
            log.append([an_answer(n) for n in range(number, min(number + 500, large))])
        began_s = time.perf_counter()
        after = read = 0
        while True:
            page = log.page(after, 10_000, most_bytes=_PAGE_BYTES)
            read += len(page.rows)
            if page.rows:
                after = page.rows[-1][0]
            if page.is_last:
                break
        read_s = time.perf_counter() - began_s
    cuts = statistics.quantiles(took_ms, n=100)
    return {
        "answers_per_s": count / single_s,
        "append_p50_ms": cuts[49],
        "append_p99_ms": cuts[98],
        "records_read": read,
        "read_s": read_s,
    }
