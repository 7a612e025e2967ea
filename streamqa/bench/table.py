"""Results of `streamqa bench engine` as the tables that people read. No torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from streamqa.errors import ConfigError

BEGIN, END = "<!-- streamqa bench table -->", "<!-- end of table -->"
RESULTS = Path(__file__).parent / "results"
_HEAD = (
    "Crops | Questions | Answer tokens | In flight | Drafts | Frames/s | Answers/s | p50, p95 ms | TFLOP/s"
    " | % of ceiling (linear) | × baseline"
)


def markdown(results: Sequence[Mapping[str, Any]]) -> str:
    """A caption and a table for each result, and a line for what an added question costs."""
    return "\n\n".join(_one(result) for result in results)


def read(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Results from their files.

    Raises:
        ConfigError: a file cannot be read, or is no result of `bench engine`.
    """
    found = []
    for path in paths:
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            markdown([result])  # what cannot be shown is no result
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            raise ConfigError(
                f"{path}: not a result of `streamqa bench engine -o FILE`: {problem!r}"
            ) from problem
        found.append(result)
    return found


def committed() -> list[Path]:
    """The engine's results in this package, oldest first."""
    return sorted(RESULTS.glob("engine-*.json"))


def result_name(result: Mapping[str, Any]) -> str:
    """`engine-<date>-<machine>.json`."""
    where = result["machine"]
    chip = where["processor"] if where["device"] == "cpu" else where["device"]
    words = re.sub(r"\((R|TM)\)|@.*|\b(CPU|Processor)\b", " ", chip, flags=re.IGNORECASE)
    slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") or "machine"
    return f"engine-{where['measured_at'][:10]}-{slug}-{where['cores']}-cores.json"


def _one(result: Mapping[str, Any]) -> str:
    columns = _HEAD.count("|") + 1
    lines = [_caption(result), "", f"| {_HEAD} |", "|" + "---|" * columns]
    lines += [f"| {' | '.join(_cells(row))} |" for row in result["rows"]]
    told = [_slope(slope) for slope in result["slope"]]
    told += [_quality(row) for row in result["rows"] if row.get("quality")]
    told += [_equivalence(found) for found in result["equivalence"]]
    return "\n".join([*lines, "", *(f"- {line}" for line in told)]).rstrip()


def _caption(result: Mapping[str, Any]) -> str:
    where = result["machine"]
    chip = "" if where["device"] == "cpu" else f"{where['device']}, "
    dtypes = ", ".join(dict.fromkeys(row["dtype"] for row in result["rows"]))
    return (
        f"{chip}{where['processor']}, {where['cores']} cores, {where['threads']} threads, torch {where['torch']},"
        f" {dtypes}, random weights of {where['size']} size, {where['measured_at'][:10]},"
        f" medians of {where['rounds']} rounds:"
    )


def _cells(row: Mapping[str, Any]) -> list[str]:
    marks = ([] if row["kind"] == "exact" else [row["kind"]]) + (["noisy"] if row["noisy"] else [])
    tokens = f"{row['answer_tokens']}" if row["answer_tokens"] else "scored"
    drafts = f"{row['draft_acceptance']:.0%}" if row["answer_tokens"] else "–"
    return [
        str(row["crops"]) + (f" ({', '.join(marks)})" if marks else ""),
        f"{row['questions']:g}",
        tokens,
        str(row["frames_in_flight"]),
        drafts,
        f"{row['frames_per_s']:.3g}",
        f"{row['answers_per_s']:.3g}",
        f"{row['p50_ms']:.0f}, {row['p95_ms']:.0f}",
        f"{row['tflops']:.3g}",
        f"{row['percent_of_ceiling']:.0f} ({row['percent_of_ceiling_linear']:.0f})",
        f"{row['baseline_ratio']:.1f}",
    ]


def _slope(slope: Mapping[str, Any]) -> str:
    asked = slope["questions"]
    return (
        f"An added question costs {slope['percent_of_a_frame']:.1f} % of a frame with {asked[0]:g}"
        f" ({asked[0]:g} to {asked[-1]:g} questions, {_crops(slope)}, {slope['answer_tokens']} answer tokens,"
        f" drafts {slope['draft_acceptance']:.0%}, {slope['frames_in_flight']} in flight)."
    )


def _quality(row: Mapping[str, Any]) -> str:
    found = row["quality"]
    moved = found["max_score_moved"]
    scored = "" if moved is None else f", scores moved by up to {moved:.3f}"
    return (
        f"{row['kind']}, {_crops(row)}, {row['questions']:g} questions, {row['answer_tokens']} answer tokens:"
        f" {found['changed']} of {found['answers']} answers changed{scored}; {found['note']}."
    )


def _equivalence(found: Mapping[str, Any]) -> str:
    by = f", decided by up to {max(found['flip_margins']):g}" if found["flips"] else ""
    return (
        f"{found['dtype']}, {_crops(found)}: {found['flips']} of {found['tokens']} tokens are not the baseline's{by}"
        f" (between the two likeliest lies {found['median_margin']:.2g} in the median)."
    )


def _crops(of: Mapping[str, Any]) -> str:
    return "1 crop" if of["crops"] == 1 else f"{of['crops']} crops"
