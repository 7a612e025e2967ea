"""A rendered clip's truth as labels: from `streamqa scene … --truth truth.jsonl` to what `streamqa calibrate` reads.

python -m streamqa.evaluate.truth_labels samples/gate.truth.jsonl gate.mp4 > samples/gate.labels.csv
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from streamqa.evaluate.labels import Truth, labels_text
from streamqa.types import NS_PER_S

QUESTIONS = ("person", "people", "car", "cars", "gate", "light", "daytime", "fire")
"""Those of `configs/demo.yaml`."""

_NS_PER_MS = NS_PER_S // 1000

Row = tuple[str, int, int, str, Truth]


def truth_rows(lines: Iterable[str], source: str, questions: Sequence[str] = QUESTIONS) -> Iterator[Row]:
    """A row for each stretch of frames in which a question has one answer; none where it cannot be told (null).

    Args:
        lines: one JSON object for each frame, `t_s` and `values` by question, in order of time.
        source: how the clip is named from where the labels lie.
        questions: which of the questions, in the order of the rows.
    """
    frames = [json.loads(line) for line in lines]
    times_ns = [_ms(frame["t_s"]) for frame in frames]
    end_ns = times_ns[-1] + (times_ns[1] if len(times_ns) > 1 else NS_PER_S)  # the last frame stands as long
    for question in questions:
        begin = 0
        for index in range(1, len(frames) + 1):
            value = _value(frames[begin], question)
            if index < len(frames) and _value(frames[index], question) == value:
                continue
            if value is not None:
                yield (
                    source,
                    times_ns[begin],
                    times_ns[index] if index < len(frames) else end_ns,
                    question,
                    value,
                )
            begin = index


def _value(frame: Mapping[str, Mapping[str, Truth | None]], question: str) -> Truth | None:
    return frame["values"][question]


def _ms(t_s: float) -> int:
    """Down to whole milliseconds: never after the frame, and after the one before it."""
    return int(t_s * 1000 + 1e-6) * _NS_PER_MS


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    truth, source = sys.argv[1:] if arguments is None else arguments
    lines = Path(truth).read_text(encoding="utf-8").splitlines()
    sys.stdout.write(labels_text(truth_rows(lines, source)))


if __name__ == "__main__":
    main()
