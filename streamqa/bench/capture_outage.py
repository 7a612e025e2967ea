"""Cameras that fail: how soon that is told, how soon they are back, and what many reconnects leave behind.

    python -m streamqa.bench.capture_outage CLIP TIMES RECONNECTS

The measuring is that of `outage`, in a process of its own: what another part of the bench left in memory would hide
what grows. It prints the outages and the growth as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from streamqa.bench import outage
from streamqa.bench.figures import Figure, Target
from streamqa.bench.outage import Growth, Outage
from streamqa.bench.processes import run_counted

_WARM_UP = 10  # reconnects before the growth is measured: whatever is made once
_MB = 1e6
_TOLD = {"killed": Target("<=", 1.0), "black hole": Target("<=", 6.0)}
_BACK = dict.fromkeys(_TOLD, Target("<=", 2.5))
_MEMORY_MB, _FLAT = Target("<=", 20.0), Target("<=", 0)
_OUTAGE_S, _RECONNECT_S = 90.0, 10.0  # at the very longest, for each


def measure(clip: Path, times: int, reconnects: int) -> tuple[list[Outage], Growth | None]:
    """Each fault `times` times, and so many reconnects (0: no growth is measured), in a process of its own.

    Raises:
        StreamQAError: something that was waited for did not come.
    """
    command = [sys.executable, "-m", "streamqa.bench.capture_outage", str(clip), str(times), str(reconnects)]
    limit_s = 60.0 + 3 * times * _OUTAGE_S + (_WARM_UP + reconnects) * _RECONNECT_S
    told = json.loads(run_counted(command, limit_s).output)
    growth = None if told["growth"] is None else Growth(**told["growth"])
    return [Outage(**one) for one in told["outages"]], growth


def figures(outages: Sequence[Outage], growth: Growth | None) -> list[Figure]:
    """The slowest of each fault, and the growth."""
    found = []
    for fault in dict.fromkeys(one.fault for one in outages):
        same = [one for one in outages if one.fault == fault]
        told, back = max(one.told_s for one in same), max(one.back_s for one in same)
        found.append(Figure(f"camera {fault}: told after, at most", "s", (told,), _TOLD.get(fault)))
        found.append(Figure(f"camera {fault}: {_back(fault)}, at most", "s", (back,), _BACK.get(fault)))
    if growth is not None:
        name = f"{growth.reconnects} reconnects"
        found += [
            Figure(f"{name}: memory", "MB", (growth.rss_bytes / _MB,), _MEMORY_MB),
            Figure(f"{name}: file descriptors", "more", (growth.descriptors,), _FLAT),
            Figure(f"{name}: threads", "more", (growth.threads,), _FLAT),
        ]
    return found


def _back(fault: str) -> str:
    """What the time of coming back is measured from."""
    return (
        "live again after it moves" if fault == "frozen" else "a frame after the camera took the connection"
    )


def as_json(outages: Sequence[Outage], growth: Growth | None) -> dict[str, Any]:
    """All that was measured."""
    return {
        "outages": [asdict(one) for one in outages],
        "growth": None if growth is None else asdict(growth),
    }


def main(arguments: Sequence[str]) -> None:
    """The command line."""
    clip, times, reconnects = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    faults: list[Callable[..., Outage]] = [outage.killed, outage.black_holed, outage.frozen]
    found, growth = list[Outage](), None
    if times:
        with outage.watched(clip) as (camera, watcher):
            for _ in range(times):
                found += [fault(camera, watcher) for fault in faults]
    if reconnects:
        with outage.watched(clip, join="keyframe") as (camera, watcher):
            growth = outage.reconnects(camera, watcher, reconnects, _WARM_UP)
    print(json.dumps(as_json(found, growth)))


if __name__ == "__main__":
    main(sys.argv[1:])
