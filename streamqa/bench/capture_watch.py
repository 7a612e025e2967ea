"""A process that watches cameras for `streamqa bench capture`: the line's capture, and nobody who asks a model.

    python -m streamqa.bench.capture_watch

Each line on its standard input is a command, answered by one line of JSON, until the input ends:

    watch NAME URL     watch one more camera; answered when its first frame was handed over
    measure SECONDS    what was handed over in so many seconds from now, and what that cost
"""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import closing
from typing import Any, NamedTuple

from streamqa.bench.capture_clips import read_number
from streamqa.capture.buffer import FrameBuffer
from streamqa.capture.sampler import Sampler
from streamqa.capture.source import SourceSpec
from streamqa.capture.supervisor import Ends, Supervisor
from streamqa.errors import StreamQAError
from streamqa.metrics import Metrics
from streamqa.pipeline import WATCH_S
from streamqa.records import SourceStatus
from streamqa.types import NS_PER_S, Frame

FIRST_FRAME_S = 30.0  # for a camera's first frame to come
_LOOK_UP_S = 0.1


class Taken(NamedTuple):
    """A frame that was handed over; times of the monotonic clock are comparable between processes."""

    source: str
    number: int  # of its picture in the clip
    t_ns: int
    clock: str
    received_ns: int
    delay_ns: int
    taken_ns: int  # when it was handed over


class Watch:
    """Cameras being watched."""

    def __init__(self, every_ns: int = NS_PER_S) -> None:
        """`every_ns`: a frame of each camera per so much time."""
        self._every_ns = every_ns
        self._metrics = Metrics()
        self._buffer = FrameBuffer(self._metrics)
        self._supervisors: dict[str, Supervisor] = {}
        self._states: list[str] = []
        self._changed = threading.Condition()
        self._taken: list[Taken] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._take, name="taker", daemon=True)
        self._thread.start()

    def add(self, name: str, url: str, first_frame_s: float = FIRST_FRAME_S) -> None:
        """Watch one more; returns once its first frame was handed over.

        Raises:
            StreamQAError: none came in time.
        """
        spec = SourceSpec(name, url)
        ends = Ends(self._buffer, self._report, self._metrics)
        added = Supervisor(spec, Sampler([self._every_ns]), ends)
        added.start()
        with self._changed:
            self._supervisors[name] = added
            if not self._changed.wait_for(lambda: self._has(name), first_frame_s):
                raise StreamQAError(f"bench: no frame of {name}: {'; '.join(self._states[-3:])}")

    def measure(self, seconds: float) -> dict[str, Any]:
        """What was handed over in so many seconds from now, the CPU time of this process, and what was lost."""
        with self._changed:
            self._taken.clear()
            self._states.clear()
        dropped, cpu_s, began_ns = self._count("frames_dropped"), time.process_time(), time.monotonic_ns()
        self._stop.wait(seconds)
        wall_s, cpu_s = (time.monotonic_ns() - began_ns) / NS_PER_S, time.process_time() - cpu_s
        with self._changed:
            return {
                "wall_s": wall_s,
                "cpu_s": cpu_s,
                "frames": list(self._taken),
                "dropped": self._count("frames_dropped") - dropped,
                "reconnects": self._count("reconnects"),  # since the beginning
                "states": list(self._states),
                "threads": threading.active_count(),
            }

    def close(self) -> None:
        """Disconnect all of them."""
        for supervisor in self._supervisors.values():
            supervisor.stop(0)
        for supervisor in self._supervisors.values():
            supervisor.stop()
        self._stop.set()
        self._buffer.close()
        self._thread.join()

    def _has(self, name: str) -> bool:
        return any(frame.source == name for frame in self._taken)

    def _report(self, status: SourceStatus) -> None:
        with self._changed:
            self._states.append(f"{status.source} {status.state} {status.reason}".strip())

    def _count(self, what: str) -> int:
        value, name = self._metrics.registry.get_sample_value, f"streamqa_{what}_total"
        return round(sum(value(name, {"source": source}) or 0 for source in self._supervisors))

    def _take(self) -> None:
        check_s = time.monotonic()
        while not self._stop.is_set():
            frames = self._buffer.take(len, WATCH_S)
            taken_ns = time.monotonic_ns()
            if frames:
                found = [_taken(frame, taken_ns) for frame in frames]
                with self._changed:
                    self._taken += found
                    self._changed.notify_all()
            elif self._buffer.exhausted:  # then nobody waits in `take`
                self._stop.wait(_LOOK_UP_S)
            if time.monotonic() >= check_s:  # as often as the line does
                check_s = time.monotonic() + WATCH_S
                with self._changed:
                    watched = list(self._supervisors.values())
                for supervisor in watched:
                    supervisor.check()


def _taken(frame: Frame, taken_ns: int) -> Taken:
    number = read_number(frame.image)
    return Taken(frame.source, number, frame.t_ns, frame.clock, frame.received_ns, frame.delay_ns, taken_ns)


def main() -> None:
    """The command line."""
    with closing(Watch()) as watch:
        for line in sys.stdin:
            try:
                match line.split():
                    case ["watch", name, url]:
                        watch.add(name, url)
                        answer: dict[str, Any] = {"watching": name}
                    case ["measure", seconds]:
                        answer = watch.measure(float(seconds))
                    case _:
                        answer = {"error": f"no such command: {line.strip()}"}
            except (StreamQAError, ValueError) as error:
                answer = {"error": str(error)}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
